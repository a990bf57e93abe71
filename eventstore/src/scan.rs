//! Reading the whole log in constant memory, ahead of its consumer.
//!
//! A separate task reads rows while the consumer processes them, so the database, the network and the
//! consumer work in parallel. Each page is a separate statement, because a single statement over a long log
//! would keep the database from purging old row versions.

use tokio::sync::mpsc;

use crate::chain::{self, NotCanonical, Texts};
use crate::clock::Timestamp;
use crate::database::{BlockSize, Database, Row, Session};
use crate::error::Result;
use crate::event::{Hash, Position, RecordedEvent};
use crate::json::strict_json;

/// Number of events read by one statement.
const PAGE: i64 = 8192;
/// Maximum number of blocks that wait for the consumer.
const AHEAD: usize = 4;

/// The columns of an event, in the order in which [`StoredEvent::of`] reads them.
pub(crate) const COLUMNS: &str = "position, aggregate_type, aggregate_id, sequence, event_type, event_version, \
                                  payload, metadata, recorded_at, hash";

/// The columns to read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Columns {
    /// All columns, for [`StoredEvent::of`].
    All,
    /// `position` and `hash`, for [`link`].
    Links,
}

impl Columns {
    const fn sql(self) -> &'static str {
        match self {
            Self::All => COLUMNS,
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

/// Reads the rows after `after` up to `to` in blocks, in order of position. Gaps between positions are not
/// reported. An error is the last item.
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
            // If the receiver was dropped, the error is not needed.
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

/// An event borrowed from its row, with its JSON not parsed yet. All readers convert rows to events through
/// this type, so they accept the same rows.
#[derive(Debug)]
pub(crate) struct StoredEvent<'a> {
    pub(crate) position: Position,
    pub(crate) hash: Hash,
    texts: Texts<'a>,
    sequence: u64,
    pub(crate) recorded_at: Timestamp,
}

/// Why a row cannot be read.
pub(crate) type Unreadable = &'static str;

const PAYLOAD: Unreadable = "its payload is not JSON in the form that appends write";
const METADATA: Unreadable = "its metadata is not JSON in the form that appends write";

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
                aggregate_type: text(1, "its aggregate_type is not text")?,
                aggregate_id: text(2, "its aggregate_id is not text")?,
                event_type: text(4, "its event_type is not text")?,
                event_version: text(5, "its event_version is not text")?,
                payload: text(6, "its payload is not text")?,
                metadata: text(7, "its metadata is not text")?,
            },
            sequence: u64::try_from(sequence)
                .ok()
                .filter(|sequence| *sequence > 0)
                .ok_or("its sequence is not a positive number")?,
            recorded_at,
            hash: link(row, 9)?,
        })
    }

    /// Returns the event, with its JSON parsed.
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
            erased_at: None,
        })
    }

    /// Returns the link that follows `previous` if the event is recorded at `position`. The result is the
    /// same as with [`chain::Canonical`], but is computed directly from the stored text.
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

/// Reads the hash from a column of a row.
pub(crate) fn link(row: &Row, column: usize) -> Result<Hash, Unreadable> {
    row.bytes(column)
        .ok()
        .flatten()
        .and_then(|bytes| bytes.try_into().ok())
        .map(Hash)
        .ok_or("its hash is not 32 bytes")
}
