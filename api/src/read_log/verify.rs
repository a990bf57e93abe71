//! Verifying the chains of the record.
//!
//! Two cursors read the links and the entries page by page in the same order, in one snapshot, so the memory
//! does not grow with the record.

mod cursor;

use std::fmt;

use eventstore::{Database, Hash, Result, Session, Timestamp, Transaction};
use serde::Serialize;

use super::chain::{EntriesDigest, Link};
use super::heads::{ReadHead, TrustedRead};
use super::record::ReadKind;
use super::writer::hash;
use cursor::{ChainedEntry, Cursor};

/// Maximum number of faults in a report.
const MOST_FAULTS: usize = 20;
/// Maximum number of prunings in a report.
const MOST_PRUNINGS: usize = 20;
/// Maximum number of entries without a chain, but with a link, that are counted.
const MOST_WITHOUT_CHAIN: i64 = 1000;
/// Number of entries that are counted together.
const COUNTED: i64 = 100_000;

/// Result of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReadsVerified {
    /// Whether there are no faults.
    pub fits: bool,
    /// Number of entries with a chain.
    pub entries: u64,
    /// Number of links.
    pub links: u64,
    /// Number of chains.
    pub chains: u64,
    /// Number of links whose entries were pruned.
    pub pruned: u64,
    /// Number of entries of the published log.
    pub published: u64,
    /// Number of entries without a chain. Programs of earlier versions write them.
    pub unchained: i64,
    /// Number of faults.
    pub fault_count: u64,
    /// The first faults.
    pub faults: Vec<ReadFault>,
    /// Number of recorded prunings.
    pub pruning_count: u64,
    /// The first recorded prunings.
    pub prunings: Vec<Pruning>,
    /// The last link of each chain.
    pub heads: Vec<ReadHead>,
}

/// A recorded pruning of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pruning {
    /// Id of the chain.
    pub chain: String,
    /// Number of the last link that was pruned.
    pub to: Option<i64>,
    /// The operator, as recorded.
    pub actor: String,
    /// Time of the pruning, as recorded.
    pub recorded_at: Timestamp,
}

/// A difference between the record and its chains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReadFault {
    /// Id of the chain.
    pub chain: String,
    /// Number of the link, unless an entry has no number.
    pub link: Option<i64>,
    /// Id of the entry, if the fault is known to concern one entry.
    pub entry: Option<String>,
    /// What is wrong.
    #[serde(flatten)]
    pub problem: ReadProblem,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum ReadProblem {
    /// The link was deleted.
    #[error("the link is missing")]
    LinkMissing,
    /// A column of the link was altered, or the link was added.
    #[error("the link was altered or added")]
    LinkAltered,
    /// The link continues another link than its predecessor.
    #[error(
        "the link does not continue the link before it: the chain was forked, or the earlier link replaced"
    )]
    Forked,
    /// Entries were deleted.
    #[error("{found} of {expected} entries are there: entries were deleted")]
    EntriesDeleted {
        /// Number of entries in the table.
        found: i64,
        /// Number of entries in the link.
        expected: i64,
    },
    /// Entries were added.
    #[error("{found} entries are there, but the link has {expected}: entries were added")]
    EntriesAdded {
        /// Number of entries in the table.
        found: i64,
        /// Number of entries in the link.
        expected: i64,
    },
    /// An entry was altered.
    #[error("an entry of the link was altered")]
    EntryAltered,
    /// The link of an entry does not exist.
    #[error("the entry has no link: the entry was added, or its link was deleted")]
    EntryWithoutLink,
    /// An entry of the published log is missing.
    #[error("the entry {position} of the published log is missing")]
    HeadMissing {
        /// Position of the entry.
        position: i64,
    },
    /// A link whose hash was published is missing.
    #[error("the link is missing, but its hash is the entry {position} of the published log")]
    PublishedMissing {
        /// Position of the entry.
        position: i64,
    },
    /// A link has another hash than its entry in the published log.
    #[error(
        "the link differs from the entry {position} of the published log, or the entry was added or moved"
    )]
    PublishedDiffers {
        /// Position of the entry.
        position: i64,
    },
    /// The published log has another root than the one that was signed or kept.
    #[error("the published log does not have the root of {size} entries that was signed or kept")]
    PublishedRoot {
        /// Number of entries.
        size: u64,
    },
    /// A trusted link does not exist.
    #[error("the trusted link is missing: links were deleted, or it belongs to another record")]
    TrustedMissing,
    /// A trusted link has another hash.
    #[error(
        "the hash differs from the trusted hash: the chain was rewritten, or the trusted link is mistyped"
    )]
    TrustedDiffers,
}

impl fmt::Display for ReadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.chain.as_str() {
            "" => write!(f, "no chain")?,
            chain => write!(f, "chain {chain}")?,
        }
        if let Some(link) = self.link {
            write!(f, ", link {link}")?;
        }
        if let Some(entry) = &self.entry {
            write!(f, ", entry {entry}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl ReadsVerified {
    /// Adds an entry about a pruning to the report.
    fn pruning(&mut self, entry: &ChainedEntry) {
        if entry.read.kind != ReadKind::Prune.name() {
            return;
        }
        self.pruning_count += 1;
        if self.prunings.len() < MOST_PRUNINGS {
            self.prunings.push(Pruning {
                chain: entry.chain.clone(),
                to: entry.read.to,
                actor: entry.read.actor.clone(),
                recorded_at: entry.read.recorded_at,
            });
        }
    }

    pub(super) fn fault(
        &mut self,
        chain: &str,
        link: Option<i64>,
        entry: Option<&str>,
        problem: ReadProblem,
    ) {
        self.fault_count += 1;
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(ReadFault {
                chain: chain.to_owned(),
                link,
                entry: entry.map(ToOwned::to_owned),
                problem,
            });
        }
    }
}

impl Current {
    fn head(self) -> ReadHead {
        ReadHead {
            chain: self.chain,
            number: self.number,
            hash: self.hash,
            recorded_at: self.recorded_at,
        }
    }
}

/// The chain that is being verified.
struct Current {
    chain: String,
    /// Number and hash of the last link.
    number: i64,
    hash: Hash,
    recorded_at: Timestamp,
    /// Number up to which the entries were pruned, once it has been read.
    pruned: Option<i64>,
}

/// Verifies all chains, and compares them with links that were kept.
///
/// # Errors
///
/// [`eventstore::Error::Database`], [`eventstore::Error::Timeout`].
pub async fn verify(database: &Database, trusted: &[TrustedRead]) -> Result<ReadsVerified> {
    let mut snapshot = database.snapshot().await?;
    let mut report = ReadsVerified::default();
    let (mut links, mut entries) = (Cursor::<Link>::default(), Cursor::<ChainedEntry>::default());
    let mut current: Option<Current> = None;
    while let Some(link) = links.next(&mut snapshot).await? {
        let chain = match current.take() {
            Some(current) if current.chain == link.chain => Some(current),
            ended => {
                report.heads.extend(ended.map(Current::head));
                None
            }
        };
        let mut chain = chain.unwrap_or_else(|| {
            report.chains += 1;
            Current {
                chain: link.chain.clone(),
                number: 0,
                hash: Hash::default(),
                recorded_at: Timestamp::default(),
                pruned: None,
            }
        });
        report.links += 1;
        check_link(&mut report, &chain, &link);
        check_entries(&mut report, &mut chain, &link, &mut entries, &mut snapshot).await?;
        chain.number = link.number;
        chain.hash = link.hash;
        chain.recorded_at = link.recorded_at;
        current = Some(chain);
    }
    report.heads.extend(current.map(Current::head));
    while let Some(entry) = entries.next(&mut snapshot).await? {
        without_link(&mut report, &entry);
    }
    for (id, link) in without_chain(&mut snapshot).await? {
        report.entries += 1;
        report.fault("", Some(link), Some(&id), ReadProblem::EntryWithoutLink);
    }
    for kept in trusted {
        check_trusted(&mut report, kept, &mut snapshot).await?;
    }
    report.unchained = unchained(&mut snapshot).await?;
    report.fits = report.fault_count == 0;
    snapshot.rollback().await?;
    Ok(report)
}

fn check_link(report: &mut ReadsVerified, chain: &Current, link: &Link) {
    let next = chain.number.saturating_add(1);
    let mut fault = |number, problem| report.fault(&link.chain, Some(number), None, problem);
    if link.computed_hash() != link.hash || link.number < next {
        fault(link.number, ReadProblem::LinkAltered);
    } else if link.number > next {
        fault(next, ReadProblem::LinkMissing);
    } else if link.previous != chain.hash {
        fault(link.number, ReadProblem::Forked);
    }
}

async fn check_entries(
    report: &mut ReadsVerified,
    chain: &mut Current,
    link: &Link,
    entries: &mut Cursor<ChainedEntry>,
    snapshot: &mut Transaction<'_>,
) -> Result<()> {
    let key = (link.chain.as_str(), Some(link.number));
    let (mut digest, mut found) = (EntriesDigest::new(), 0);
    while let Some(entry) = entries.next_if(snapshot, |entry| entry.key() <= key).await? {
        if entry.key() == key {
            digest.add_recorded(&entry.read);
            report.pruning(&entry);
            found += 1;
            report.entries += 1;
        } else {
            without_link(report, &entry);
        }
    }
    let expected = link.entries;
    let problem = if found == 0 && expected > 0 && link.number <= pruned(chain, snapshot).await? {
        report.pruned += 1;
        return Ok(());
    } else if found < expected {
        ReadProblem::EntriesDeleted { found, expected }
    } else if found > expected {
        ReadProblem::EntriesAdded { found, expected }
    } else if digest.finish() != link.digest {
        ReadProblem::EntryAltered
    } else {
        return Ok(());
    };
    report.fault(&link.chain, Some(link.number), None, problem);
    Ok(())
}

fn without_link(report: &mut ReadsVerified, entry: &ChainedEntry) {
    report.entries += 1;
    let id = Some(entry.read.id.as_str());
    report.fault(&entry.chain, entry.link, id, ReadProblem::EntryWithoutLink);
}

/// Returns the number of the last link of a chain whose entries may be missing, or 0 if no entries may be
/// missing. The number is in an entry of a later link of the same chain, and that link is verified as well.
async fn pruned(chain: &mut Current, snapshot: &mut Transaction<'_>) -> Result<i64> {
    if let Some(number) = chain.pruned {
        return Ok(number);
    }
    let row = snapshot
        .query(
            "SELECT COALESCE(MAX(to_position), 0) FROM audit_reads WHERE chain = ? AND kind = 'prune' \
             AND link > to_position",
        )
        .bind(chain.chain.as_str())
        .fetch_optional()
        .await?;
    let number = row.map_or(Ok(0), |row| row.get(0))?;
    chain.pruned = Some(number);
    Ok(number)
}

async fn check_trusted(
    report: &mut ReadsVerified,
    trusted: &TrustedRead,
    snapshot: &mut Transaction<'_>,
) -> Result<()> {
    let chain = trusted.chain.to_string();
    let row = snapshot
        .query("SELECT hash FROM audit_read_links WHERE chain = ? AND number = ?")
        .bind(chain.as_str())
        .bind(trusted.number)
        .fetch_optional()
        .await?;
    let problem = match row {
        None => ReadProblem::TrustedMissing,
        Some(row) if hash(&row, 0)? != trusted.hash => ReadProblem::TrustedDiffers,
        Some(_) => return Ok(()),
    };
    report.fault(&chain, Some(trusted.number), None, problem);
    Ok(())
}

/// Returns the first entries that name a link but no chain, with the number of the link.
async fn without_chain(snapshot: &mut Transaction<'_>) -> Result<Vec<(String, i64)>> {
    let rows = snapshot
        .query("SELECT id, link FROM audit_reads WHERE chain IS NULL AND link IS NOT NULL ORDER BY link, id LIMIT ?")
        .bind(MOST_WITHOUT_CHAIN)
        .fetch_all()
        .await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Counts the entries without a chain. One statement would take too long for a large record.
async fn unchained(snapshot: &mut Transaction<'_>) -> Result<i64> {
    let (mut count, mut after) = (0, String::new());
    loop {
        let row = snapshot
            .query(
                "SELECT COUNT(*), MAX(id) FROM (SELECT id FROM audit_reads WHERE chain IS NULL \
                 AND link IS NULL AND id > ? ORDER BY id LIMIT ?) page",
            )
            .bind(after.as_str())
            .bind(COUNTED)
            .fetch_optional()
            .await?;
        let Some(row) = row else { return Ok(count) };
        let counted: i64 = row.get(0)?;
        count += counted;
        match row.get::<Option<String>, _>(1)? {
            Some(last) if counted == COUNTED => after = last,
            _ => return Ok(count),
        }
    }
}
