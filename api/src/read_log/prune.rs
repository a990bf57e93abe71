//! Pruning: deleting the entries of the oldest links of each chain.
//!
//! Before entries of a chain are deleted, an entry of kind `prune` is added to the chain as its next link. It
//! records who prunes, when, and up to which link. [`verify`](super::verify) accepts missing entries up to
//! that link only. The links themselves are kept.

use eventstore::{Clock, Database, Result, Session, Timestamp};
use serde::Serialize;

use super::chain::{Entry, Link};
use super::heads;
use super::record::{ReadKind, ReadOutcome, ReadRecord, Via};
use super::writer::{chain_end, insert};
use crate::ids::new_id;

/// Number of entries after which a statement takes no further link. It deletes all entries of each of its
/// links, so it can delete more entries than this.
const BATCH: i64 = 1000;
/// Maximum number of links that one statement prunes.
const LINKS: i64 = 500;
/// Number of attempts to add a link to a chain whose process is adding links.
const ATTEMPTS: usize = 10;

/// What was pruned, or would be pruned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Number of chains.
    pub chains: u64,
    /// Number of links whose entries are deleted.
    pub links: i64,
    /// Number of entries.
    pub entries: i64,
}

/// The links of a chain to prune.
struct Links {
    from: i64,
    to: i64,
    count: i64,
    entries: i64,
}

/// Deletes the entries of the links that were written before `before`. Without an `actor`, nothing is
/// deleted. If the call is interrupted, another call continues.
///
/// # Errors
///
/// [`eventstore::Error::Database`], [`eventstore::Error::Timeout`].
pub async fn prune(
    database: &Database,
    clock: &dyn Clock,
    before: Timestamp,
    actor: Option<&str>,
) -> Result<Pruned> {
    let mut pruned = Pruned::default();
    let mut after = String::new();
    loop {
        let page = heads::page(&mut database.reader().await?, &after).await?;
        let Some(last) = page.last() else {
            return Ok(pruned);
        };
        after.clone_from(&last.chain);
        for head in &page {
            let Some(links) = prunable(database, &head.chain, before).await? else {
                continue;
            };
            if let Some(actor) = actor {
                mark(database, clock, &head.chain, links.to, actor).await?;
                delete(database, &head.chain, &links).await?;
            }
            pruned.chains += 1;
            pruned.links += links.count;
            pruned.entries += links.entries;
        }
    }
}

/// Returns the links of a chain that were written before `before`, from the first that still has entries. A
/// chain in which only the entries about earlier prunings are older is not changed. Otherwise, each pruning
/// would add an entry to each chain forever.
async fn prunable(database: &Database, chain: &str, before: Timestamp) -> Result<Option<Links>> {
    let mut reader = database.reader().await?;
    let row = reader
        .query(
            "SELECT MIN(link), MAX(CASE WHEN kind <> 'prune' THEN link END) FROM audit_reads WHERE chain = ? \
             AND link < COALESCE((SELECT MIN(number) FROM audit_read_links WHERE chain = ? AND recorded_at >= ?), \
             9223372036854775807)",
        )
        .bind(chain)
        .bind(chain)
        .bind(before)
        .fetch_optional()
        .await?;
    let range: Option<(Option<i64>, Option<i64>)> = row
        .map(|row| Ok::<_, eventstore::Error>((row.get(0)?, row.get(1)?)))
        .transpose()?;
    let Some((Some(from), Some(to))) = range else {
        return Ok(None);
    };
    let row = reader
        .query(
            "SELECT COUNT(*), CAST(COALESCE(SUM(entries), 0) AS SIGNED) FROM audit_read_links \
             WHERE chain = ? AND number BETWEEN ? AND ?",
        )
        .bind(chain)
        .bind(from)
        .bind(to)
        .fetch_optional()
        .await?;
    row.map(|row| {
        Ok(Links {
            from,
            to,
            count: row.get(0)?,
            entries: row.get(1)?,
        })
    })
    .transpose()
}

/// Adds the entry about the pruning to the chain, unless an interrupted pruning has added it.
async fn mark(database: &Database, clock: &dyn Clock, chain: &str, to: i64, actor: &str) -> Result<()> {
    let read = ReadRecord {
        actor: actor.to_owned(),
        via: Via::Command,
        kind: ReadKind::Prune,
        outcome: ReadOutcome::Pruned,
        patient: None,
        event_type: None,
        after: None,
        to: u64::try_from(to).ok(),
    };
    for attempt in 1.. {
        let mut reader = database.reader().await?;
        let marked = reader
            .query(
                "SELECT 1 FROM audit_reads WHERE chain = ? AND link > ? AND kind = 'prune' AND to_position >= ? LIMIT 1",
            )
            .bind(chain)
            .bind(to)
            .bind(to)
            .fetch_optional()
            .await?;
        if marked.is_some() {
            break;
        }
        let end = chain_end(&mut reader, chain).await?;
        drop(reader);
        let at = clock.now();
        let entry = Entry::new(new_id(clock).to_string(), at, read.clone());
        let link = Link::after(end, chain, at, &[&entry]);
        match insert(database, &link, &[&entry]).await {
            // The process of the chain has added a link with this number.
            Err(error) if error.is_of_data() && attempt < ATTEMPTS => {}
            inserted => return inserted,
        }
    }
    Ok(())
}

/// Deletes the entries of whole links, some links at a time.
async fn delete(database: &Database, chain: &str, links: &Links) -> Result<()> {
    let mut from = links.from;
    while from <= links.to {
        let mut writer = database.writer().await?;
        let rows = writer
            .query(
                "SELECT number, entries FROM audit_read_links WHERE chain = ? AND number BETWEEN ? AND ? \
                 ORDER BY number LIMIT ?",
            )
            .bind(chain)
            .bind(from)
            .bind(links.to)
            .bind(LINKS)
            .fetch_all()
            .await?;
        let (mut last, mut entries): (Option<i64>, i64) = (None, 0);
        for row in &rows {
            last = Some(row.get(0)?);
            entries = entries.saturating_add(row.get(1)?);
            if entries >= BATCH {
                break;
            }
        }
        let Some(last) = last else { return Ok(()) };
        writer
            .query("DELETE FROM audit_reads WHERE chain = ? AND link BETWEEN ? AND ?")
            .bind(chain)
            .bind(from)
            .bind(last)
            .execute()
            .await?;
        from = last.saturating_add(1);
    }
    Ok(())
}
