//! The published log of the record: the heads of its chains are the entries of a log of their own.
//!
//! An entry is the hash of a link that was the head of its chain when the entry was added. The hash covers
//! all earlier links of the chain and their entries. The entries of a chain follow each other in order of
//! their links.
//!
//! The process that signs the checkpoints of this log adds the entries. It finds the chains with new links by
//! the time of the links, and reads all chains when it begins and once a day, because the clock of a process
//! that writes links can be wrong.

mod verify;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventstore::database::Value;
use eventstore::{Clock, Database, Dialect, Hash, Result, Row, Session, Timestamp};
use serde::Serialize;
use tlog::{LogTables, MeteredLog, SignedLog};

use super::writer::hash;

pub use verify::{KeptRoot, verify};

/// The tables of the log.
pub const TABLES: LogTables = LogTables {
    entries: "audit_read_heads",
    tiles: "read_log_tiles",
};

/// Number of chains in a page.
const PAGE: usize = 500;
/// Maximum number of chains with new links that are found by the time of the links.
const MOVED: usize = 10_000;
/// Maximum difference between the clocks of two processes. The clock of each process can be five minutes
/// ahead of the clock of the database, or five minutes behind it.
const SLACK: Duration = Duration::from_mins(10);
/// Interval at which all chains are read.
const COMPLETE: Duration = Duration::from_hours(24);

/// The log of the heads, as its signer sees it.
pub struct ReadHeadsLog {
    database: Database,
    clock: Arc<dyn Clock>,
    scanned: Mutex<Option<Scanned>>,
}

/// Which links have been looked at.
#[derive(Debug, Clone, Copy)]
struct Scanned {
    /// When the last scan began.
    begun: Timestamp,
    /// When all chains were last read, by the monotonic clock.
    complete: Duration,
}

/// The last link of a chain.
struct Head {
    chain: String,
    number: i64,
    hash: Hash,
    /// Number of the last published link of the chain, or 0.
    published: i64,
}

impl ReadHeadsLog {
    /// Creates the log of the heads of the record in `database`.
    #[must_use]
    pub fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self {
            database,
            clock,
            scanned: Mutex::default(),
        }
    }

    /// Adds the heads of the chains that have new links.
    async fn extend(&self) -> Result<()> {
        let (begun, now) = (self.clock.now(), self.clock.monotonic());
        let scanned = *self.scanned.lock().unwrap_or_else(PoisonError::into_inner);
        let scanned = scanned.filter(|scanned| now.saturating_sub(scanned.complete) < COMPLETE);
        let since = scanned.map(|scanned| before(scanned.begun, SLACK));
        let moved = match since {
            Some(since) => {
                let moved = self.moved(since).await?;
                (moved.len() < MOVED).then_some(moved)
            }
            None => None,
        };
        let complete = match (&moved, scanned) {
            (Some(_), Some(scanned)) => scanned.complete,
            _ => now,
        };
        if let Some(moved) = moved {
            for page in moved.chunks(PAGE) {
                self.add(page).await?;
            }
        } else {
            let mut after = String::new();
            loop {
                let page = self.page(&after).await?;
                let Some(last) = page.last() else { break };
                after.clone_from(&last.chain);
                self.add(&page).await?;
            }
        }
        let scanned = Scanned { begun, complete };
        *self.scanned.lock().unwrap_or_else(PoisonError::into_inner) = Some(scanned);
        Ok(())
    }

    /// Returns the heads of the chains with links since a time.
    async fn moved(&self, since: Timestamp) -> Result<Vec<Head>> {
        let (forced, named) = match self.database.dialect() {
            Dialect::MySql => (" FORCE INDEX (audit_read_links_recorded)", ""),
            Dialect::Sqlite => ("", " INDEXED BY audit_read_links_recorded"),
        };
        let chains = format!(
            "SELECT chain, MAX(number) AS number FROM audit_read_links{forced}{named} WHERE recorded_at >= ? \
             GROUP BY chain LIMIT {MOVED}"
        );
        let mut connection = self.database.reader().await?;
        let rows = connection.query(&heads(&chains)).bind(since).fetch_all().await?;
        rows.iter().map(Head::of).collect()
    }

    /// Returns the heads of the next chains after a chain.
    async fn page(&self, after: &str) -> Result<Vec<Head>> {
        let chains = format!(
            "SELECT chain, MAX(number) AS number FROM audit_read_links WHERE chain > ? GROUP BY chain \
             ORDER BY chain LIMIT {PAGE}"
        );
        let mut connection = self.database.reader().await?;
        let rows = connection.query(&heads(&chains)).bind(after).fetch_all().await?;
        rows.iter().map(Head::of).collect()
    }

    /// Adds the heads that are newer than the published link of their chain, in one transaction. Two
    /// processes cannot add an entry at the same position.
    async fn add(&self, heads: &[Head]) -> Result<()> {
        let new: Vec<_> = heads.iter().filter(|head| head.number > head.published).collect();
        if new.is_empty() {
            return Ok(());
        }
        let mut transaction = self.database.begin().await?;
        let last = last_position(&mut transaction).await?;
        let rows = new.iter().zip(last.saturating_add(1)..).map(|(head, position)| {
            [
                Value::Integer(position),
                Value::Text(head.chain.as_str().into()),
                Value::Integer(head.number),
                Value::from(head.hash.0.to_vec()),
            ]
        });
        let insert = "INSERT INTO audit_read_heads (position, chain, number, hash) VALUES";
        transaction.insert(insert, rows).await?;
        transaction.commit().await
    }
}

impl SignedLog for ReadHeadsLog {
    const LEASE: &'static str = "read log signer";

    fn database(&self) -> &Database {
        &self.database
    }

    fn tables(&self) -> LogTables {
        TABLES
    }

    fn metrics(&self) -> MeteredLog {
        MeteredLog::Reads
    }

    async fn size(&self) -> Result<u64> {
        self.extend().await?;
        let last = last_position(&mut self.database.reader().await?).await?;
        Ok(u64::try_from(last).unwrap_or(0))
    }
}

/// The last published link of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PublishedHead {
    /// Number of the link.
    pub number: i64,
    /// Position of the entry with the hash of the link.
    pub position: i64,
}

/// Returns the last published link of a chain, if any.
///
/// # Errors
///
/// [`eventstore::Error::Database`], [`eventstore::Error::Timeout`].
pub async fn last_of(session: &mut impl Session, chain: &str) -> Result<Option<PublishedHead>> {
    let row = session
        .query("SELECT number, position FROM audit_read_heads WHERE chain = ? ORDER BY number DESC LIMIT 1")
        .bind(chain)
        .fetch_optional()
        .await?;
    row.map(|row| {
        Ok(PublishedHead {
            number: row.get(0)?,
            position: row.get(1)?,
        })
    })
    .transpose()
}

/// Returns the query of the heads of chains, from a query of their names and the numbers of their last links.
fn heads(chains: &str) -> String {
    format!(
        "SELECT l.chain, l.number, l.hash, \
         COALESCE((SELECT MAX(p.number) FROM audit_read_heads p WHERE p.chain = l.chain), 0) \
         FROM ({chains}) h JOIN audit_read_links l ON l.chain = h.chain AND l.number = h.number ORDER BY l.chain"
    )
}

impl Head {
    fn of(row: &Row) -> Result<Self> {
        Ok(Self {
            chain: row.get(0)?,
            number: row.get(1)?,
            hash: hash(row, 2)?,
            published: row.get(3)?,
        })
    }
}

/// Returns the position of the last entry, or 0.
async fn last_position(session: &mut (impl Session + ?Sized)) -> Result<i64> {
    let row = session
        .query("SELECT COALESCE(MAX(position), 0) FROM audit_read_heads")
        .fetch_optional()
        .await?;
    row.map_or(Ok(0), |row| row.get(0))
}

fn before(time: Timestamp, duration: Duration) -> Timestamp {
    let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(time.as_micros().saturating_sub(micros))
}
