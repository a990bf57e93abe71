//! Writes entries and their link in one transaction.

use std::sync::Arc;

use eventstore::database::{Script, in_list, padded};
use eventstore::{Clock, Database, Hash, Result, Row, Session};

use super::chain::{COLUMNS, ChainEnd, Entry, Link};
use crate::ids::new_id;

/// Maximum number of rows in a statement.
const ROWS: usize = 100;

/// The chain of this process.
pub(super) struct ChainWriter {
    database: Database,
    clock: Arc<dyn Clock>,
    chain: String,
    end: Option<ChainEnd>,
    /// Whether `end` is the end of the chain. After a failed write, it must be read again.
    certain: bool,
}

impl ChainWriter {
    /// Begins a chain. It exists in the database from its first entries on.
    pub(super) fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        let chain = new_id(clock.as_ref()).to_string();
        Self {
            database,
            clock,
            chain,
            end: None,
            certain: true,
        }
    }

    /// Writes entries as the next link.
    pub(super) async fn write(&mut self, entries: &[&Entry]) -> Result<()> {
        match self.append(entries).await {
            // The number of the link is taken: pruning has added a link to this chain.
            Err(error) if error.is_of_data() => self.append(entries).await,
            written => written,
        }
    }

    async fn append(&mut self, entries: &[&Entry]) -> Result<()> {
        if !self.certain {
            self.end = chain_end(&mut self.database.reader().await?, &self.chain).await?;
            self.certain = true;
        }
        let link = Link::after(self.end, &self.chain, self.clock.now(), entries);
        self.certain = false;
        insert(&self.database, &link, entries).await?;
        self.certain = true;
        self.end = Some(link.end());
        Ok(())
    }

    /// Returns the ids that the table has.
    pub(super) async fn known(&self, ids: &[&str]) -> Result<Vec<String>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!("SELECT id FROM audit_reads WHERE id IN ({})", in_list(ids.len()));
        // On SQLite, another process may be writing. On MySQL, any connection reads what is committed.
        let mut connection = self.database.writer().await?;
        let rows = connection.query(&sql).bind_all(padded(ids)).fetch_all().await?;
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// Inserts a link and its entries, which must be in order of id.
pub(super) async fn insert(database: &Database, link: &Link, entries: &[&Entry]) -> Result<()> {
    let insert = format!("INSERT INTO audit_reads ({COLUMNS}, chain, link) VALUES ");
    let rows = |entries: &[&Entry]| {
        let mut script = Script::new(database.dialect());
        if !entries.is_empty() {
            script
                .statement(&insert)
                .rows(entries.iter().map(|entry| entry.row(link)));
        }
        script
    };
    let mut connection = database.writer().await?;
    let (mut transaction, _) = connection.begin_with(|script| link.insert(script)).await?;
    let mut parts = entries.chunks(ROWS);
    let last = parts.next_back().unwrap_or_default();
    for part in parts {
        transaction.run(rows(part)).await?;
    }
    transaction.commit_with(rows(last)).await
}

/// Returns the end of a chain.
pub(super) async fn chain_end(session: &mut impl Session, chain: &str) -> Result<Option<ChainEnd>> {
    let row = session
        .query("SELECT number, hash FROM audit_read_links WHERE chain = ? ORDER BY number DESC LIMIT 1")
        .bind(chain)
        .fetch_optional()
        .await?;
    row.map(|row| {
        Ok(ChainEnd {
            number: row.get(0)?,
            hash: hash(&row, 1)?,
        })
    })
    .transpose()
}

/// Reads a hash. A value that is not 32 bytes long was altered, and is read as a hash that no link has.
pub(super) fn hash(row: &Row, column: usize) -> Result<Hash> {
    let bytes: Vec<u8> = row.get(column)?;
    Ok(Hash(bytes.try_into().unwrap_or([0xff; 32])))
}
