//! Reading the log from one end to the other, in constant memory and ahead of whoever takes it.
//!
//! A task reads and another takes, so that database, network and the taker's work go on at the same time. Each page is a
//! statement of its own: one that ran for the whole of a long log would keep the database from clearing away what is
//! old.

use tokio::sync::mpsc;

use crate::chain::{self, NotCanonical, Texts};
use crate::database::{BlockSize, Database, Row, Session};
use crate::error::Result;
use crate::event::{Hash, Position};

/// Events that one statement reads.
const PAGE: i64 = 8192;
/// Blocks that may wait to be taken.
const AHEAD: usize = 4;

/// What is read of each event.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Columns {
    /// All of them, as [`StoredEvent::of`] takes them.
    All,
    /// `position` and `hash`, as [`link`] takes them.
    Links,
}

impl Columns {
    const fn sql(self) -> &'static str {
        match self {
            Self::All => crate::log::COLUMNS,
            Self::Links => "position, hash",
        }
    }

    const fn block(self) -> BlockSize {
        match self {
            Self::All => BlockSize {
                rows: 256,
                bytes: 1024 * 1024,
                counted: &[6, 7],
            },
            Self::Links => BlockSize {
                rows: 4096,
                bytes: usize::MAX,
                counted: &[],
            },
        }
    }
}

/// The rows after `after` up to `to`, in blocks, in the order of their positions. Positions that are missing are passed
/// over. An error is the last item.
pub(crate) fn scan(
    database: &Database,
    columns: Columns,
    after: Position,
    to: Position,
) -> mpsc::Receiver<Result<Vec<Row>>> {
    let (sender, blocks) = mpsc::channel(AHEAD);
    let database = database.clone();
    tokio::spawn(async move {
        if let Err(error) = pages(&database, columns, after, to, &sender).await {
            // Whoever has dropped the receiver does not want the error either.
            drop(sender.send(Err(error)).await);
        }
    });
    blocks
}

async fn pages(
    database: &Database,
    columns: Columns,
    after: Position,
    to: Position,
    sender: &mpsc::Sender<Result<Vec<Row>>>,
) -> Result<()> {
    let sql = format!(
        "SELECT {} FROM events WHERE position > ? AND position <= ? ORDER BY position LIMIT {PAGE}",
        columns.sql()
    );
    let mut connection = database.reader().await?;
    let mut after = after;
    while after < to {
        let sent = connection
            .query(&sql)
            .bind(after)
            .bind(to)
            .send_blocks(columns.block(), sender)
            .await?;
        match sent {
            Some(last) => after = last,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// An event as its row holds it, borrowed and not yet taken for JSON.
#[derive(Debug)]
pub(crate) struct StoredEvent<'a> {
    pub(crate) position: Position,
    pub(crate) hash: Hash,
    texts: Texts<'a>,
    sequence: i64,
    pub(crate) recorded_at: i64,
}

/// What cannot be read of a row.
pub(crate) type Unreadable = &'static str;

impl<'a> StoredEvent<'a> {
    pub(crate) fn of(row: &'a Row) -> Result<Self, Unreadable> {
        let text = |column, unreadable| {
            let bytes = row.bytes(column).ok().flatten().ok_or(unreadable)?;
            std::str::from_utf8(bytes).map_err(|_| unreadable)
        };
        Ok(Self {
            position: row.get(0).map_err(|_| "its position is not a number")?,
            texts: Texts {
                aggregate_type: text(1, "its aggregate_type is not a text")?,
                aggregate_id: text(2, "its aggregate_id is not a text")?,
                event_type: text(4, "its event_type is not a text")?,
                event_version: text(5, "its event_version is not a text")?,
                payload: text(6, "its payload is not a text")?,
                metadata: text(7, "its metadata is not a text")?,
            },
            sequence: row.get(3).map_err(|_| "its sequence is not a number")?,
            recorded_at: row.get(8).map_err(|_| "its recorded_at is not a number")?,
            hash: link(row, 9)?,
        })
    }

    /// The link that follows `previous` if the event is recorded at `position`: what [`chain::Canonical`] makes of it,
    /// from text to text.
    pub(crate) fn link(
        &self,
        previous: &Hash,
        position: Position,
        scratch: &mut Vec<u8>,
    ) -> Result<Hash, Unreadable> {
        scratch.clear();
        self.texts.write(scratch).map_err(|column| match column {
            NotCanonical::Name => "it cannot be written as JSON",
            NotCanonical::Metadata => "its metadata is not JSON as an append writes it",
            NotCanonical::Payload => "its payload is not JSON as an append writes it",
        })?;
        chain::write_tail(scratch, position, self.recorded_at, self.sequence);
        Ok(chain::hash(previous, scratch))
    }
}

/// The hash in a row's column.
pub(crate) fn link(row: &Row, column: usize) -> Result<Hash, Unreadable> {
    row.bytes(column)
        .ok()
        .flatten()
        .and_then(|bytes| bytes.try_into().ok())
        .map(Hash)
        .ok_or("its hash is not 32 bytes")
}
