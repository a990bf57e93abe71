//! Reading the log from one end to the other, in constant memory and ahead of whoever takes it.
//!
//! A task reads and another takes, so that database, network and the taker's work go on at the same time.
//! Each page is a statement of its own: one that ran for the whole of a long log would keep the database from
//! clearing away what is old.

use tokio::sync::mpsc;

use crate::chain::{self, NotCanonical, Texts};
use crate::clock::Timestamp;
use crate::database::{BlockSize, Database, Row, Session};
use crate::error::Result;
use crate::event::{Hash, Position, RecordedEvent};
use crate::json::strict_json;

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

/// The rows after `after` up to `to`, in blocks, in the order of their positions. Positions that are missing
/// are passed over. An error is the last item.
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

/// An event as its row holds it: borrowed, with its JSON not read yet. The only way from a row to an event,
/// so that all readers accept the same rows.
#[derive(Debug)]
pub(crate) struct StoredEvent<'a> {
    pub(crate) position: Position,
    pub(crate) hash: Hash,
    texts: Texts<'a>,
    sequence: u64,
    pub(crate) recorded_at: Timestamp,
}

/// What is unreadable in a row.
pub(crate) type Unreadable = &'static str;

const PAYLOAD: Unreadable = "its payload is not JSON as an append writes it";
const METADATA: Unreadable = "its metadata is not JSON as an append writes it";

impl<'a> StoredEvent<'a> {
    pub(crate) fn of(row: &'a Row) -> Result<Self, Unreadable> {
        let text = |column, unreadable| {
            let bytes = row.bytes(column).ok().flatten().ok_or(unreadable)?;
            std::str::from_utf8(bytes).map_err(|_| unreadable)
        };
        let sequence: i64 = row.get(3).map_err(|_| "its sequence is not a number")?;
        let recorded_at: Timestamp = row.get(8).map_err(|_| "its recorded_at is not a number")?;
        if !recorded_at.is_recordable() {
            return Err("its recorded_at is not within the years 1 to 9999");
        }
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
            sequence: u64::try_from(sequence)
                .ok()
                .filter(|sequence| *sequence > 0)
                .ok_or("its sequence is not a number from 1")?,
            recorded_at,
            hash: link(row, 9)?,
        })
    }

    /// The event itself, with its JSON read.
    pub(crate) fn read(&self) -> Result<RecordedEvent, Unreadable> {
        let texts = &self.texts;
        Ok(RecordedEvent {
            position: self.position,
            aggregate_type: texts.aggregate_type.to_owned(),
            aggregate_id: texts.aggregate_id.to_owned(),
            sequence: self.sequence,
            event_type: texts.event_type.to_owned(),
            event_version: texts.event_version.to_owned(),
            payload: strict_json(texts.payload).map_err(|_| PAYLOAD)?,
            metadata: strict_json(texts.metadata).map_err(|_| METADATA)?,
            recorded_at: self.recorded_at,
            hash: self.hash,
        })
    }

    /// The link that follows `previous` if the event is recorded at `position`: the same as
    /// [`chain::Canonical`] gives, from text to text.
    pub(crate) fn link(
        &self,
        previous: &Hash,
        position: Position,
        scratch: &mut Vec<u8>,
    ) -> Result<Hash, Unreadable> {
        scratch.clear();
        self.texts.write(scratch).map_err(|column| match column {
            NotCanonical::Name => "it cannot be written as JSON",
            NotCanonical::Metadata => METADATA,
            NotCanonical::Payload => PAYLOAD,
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
