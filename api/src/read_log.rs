//! The record of reads, in the table `audit_reads`: who read which patients and events, and when.
//!
//! [`ReadRecording`] determines which reads over HTTP are recorded, and when their entries are durable. If an
//! entry cannot be recorded, the data is not returned. One transaction writes all waiting entries, so
//! concurrent reads share a connection and a commit.
//!
//! Entries are added and never changed. A stream has an entry for its beginning, and an entry for its end
//! with the position that it reached.
//!
//! Each process that records has a chain. The entries of a transaction are a link of that chain, in the table
//! `audit_read_links` ([`verify`]). [`prune`] deletes the entries of old links, and keeps the links.
//! [`published`] makes the heads of the chains the entries of a published log.

mod chain;
pub mod heads;
pub mod metrics;
pub mod prune;
pub mod published;
mod queue;
mod record;
pub mod verify;
mod writer;

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use eventstore::{Clock, Database, Dialect, Position, Session};
use uuid::{ContextV7, Uuid};

use crate::ids::new_id_in_order;
use chain::{COLUMNS, Entry};
use queue::Queue;
pub(crate) use queue::Room;
pub use record::{
    NotRecorded, ReadKind, ReadOutcome, ReadRecord, ReadRecording, ReadsWanted, RecordedRead, Via,
};
use writer::ChainWriter;

/// Default of the maximum number of entries that wait to be written. It is larger than the largest page of
/// the list, whose entries are written together.
pub const CAPACITY: usize = 8192;
/// Bits of a UUIDv7 that contain the microseconds within the millisecond.
const MICROSECONDS: usize = 10;

/// Options of the record of reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLogOptions {
    /// Which reads over HTTP are recorded.
    pub recording: ReadRecording,
    /// Maximum number of entries that wait to be written. If pages are recorded, a page with more patients is
    /// never returned.
    pub capacity: usize,
}

impl Default for ReadLogOptions {
    fn default() -> Self {
        Self {
            recording: ReadRecording::default(),
            capacity: CAPACITY,
        }
    }
}

/// The record of reads. Cheap to clone.
#[derive(Clone)]
pub struct ReadLog {
    database: Database,
    clock: Arc<dyn Clock>,
    recording: ReadRecording,
    /// Orders the entries of this process. Several entries may be created within one millisecond.
    order: Arc<Mutex<ContextV7>>,
    queue: Queue,
}

impl ReadLog {
    /// Starts the record of reads in `database`.
    #[must_use]
    pub fn start(database: Database, clock: Arc<dyn Clock>, options: ReadLogOptions) -> Self {
        let writer = ChainWriter::new(database.clone(), Arc::clone(&clock));
        Self {
            database,
            clock,
            recording: options.recording,
            order: Arc::new(Mutex::new(
                ContextV7::new().with_additional_precision_bits(MICROSECONDS),
            )),
            queue: Queue::start(writer, options.capacity),
        }
    }

    /// Records a read, regardless of [`ReadRecording`]. The entry is durable when this returns.
    ///
    /// # Errors
    ///
    /// [`NotRecorded`].
    pub async fn record(&self, read: ReadRecord) -> Result<(), NotRecorded> {
        let room = self.queue.reserve(1)?;
        self.queue.write(self.entries([read]), room).await
    }

    /// Records a read of past states or of events over HTTP, unless nothing is recorded. The entry is durable
    /// when this returns.
    pub(crate) async fn record_past(&self, read: ReadRecord) -> Result<(), NotRecorded> {
        if self.recording == ReadRecording::Off {
            return Ok(());
        }
        self.record(read).await
    }

    /// Reserves room for the entries of a read of current states over HTTP. Returns `None` if these reads are
    /// not recorded.
    pub(crate) fn reserve(&self, entries: usize) -> Result<Option<Room>, NotRecorded> {
        match self.recording {
            ReadRecording::Off | ReadRecording::Past => Ok(None),
            ReadRecording::All | ReadRecording::Strict => self.queue.reserve(entries).map(Some),
        }
    }

    /// Whether reads of current states over HTTP are recorded.
    pub(crate) const fn records_current(&self) -> bool {
        matches!(self.recording, ReadRecording::All | ReadRecording::Strict)
    }

    /// Records a read of current states in the room that was reserved for its entries. With
    /// [`ReadRecording::Strict`], the entries are durable when this returns.
    pub(crate) async fn record_in(
        &self,
        room: Room,
        reads: impl IntoIterator<Item = ReadRecord>,
    ) -> Result<(), NotRecorded> {
        let entries = self.entries(reads);
        match self.recording {
            ReadRecording::Strict => self.queue.write(entries, room).await,
            _ => self.queue.leave(entries, room),
        }
    }

    fn entries(&self, reads: impl IntoIterator<Item = ReadRecord>) -> Vec<Entry> {
        let at = self.clock.now();
        let id = || new_id_in_order(self.clock.as_ref(), self.order.as_ref()).to_string();
        reads.into_iter().map(|read| Entry::new(id(), at, read)).collect()
    }

    /// Returns a function that records the end of the stream begun by `read`, and the position that it
    /// reached. The entry is left in the queue, because the data has already been sent.
    pub(crate) fn at_end(&self, read: ReadRecord) -> impl FnOnce(Position) + Send + Sync + use<> {
        let log = self.clone();
        move |reached: Position| {
            if log.recording == ReadRecording::Off {
                return;
            }
            let ended = ReadRecord {
                outcome: ReadOutcome::Ended,
                to: Some(reached.get()),
                ..read
            };
            let room = log.queue.reserve(1);
            if let Err(error) = room.and_then(|room| log.queue.leave(log.entries([ended]), room)) {
                tracing::warn!(%error, "the end of a stream could not be recorded");
            }
        }
    }

    /// Returns at most `limit` entries, ordered by id.
    ///
    /// Every condition and both orders have an index that ends with the id, so a page reads no other entries.
    ///
    /// # Errors
    ///
    /// [`eventstore::Error::Database`].
    pub async fn list(&self, wanted: &ReadsWanted, limit: u32) -> eventstore::Result<Vec<RecordedRead>> {
        let text = |id: Option<Uuid>| id.map(|id| id.to_string());
        let patient = text(wanted.patient);
        // Every id lies between these bounds.
        let (comparison, order, bound) = if wanted.newest_first {
            ("<", "id DESC", "~")
        } else {
            (">", "id", "")
        };
        let after = text(wanted.after).unwrap_or_else(|| bound.to_owned());
        let mut sql = format!("SELECT {COLUMNS} FROM audit_reads WHERE id {comparison} ?");
        if patient.is_some() {
            sql.push_str(" AND patient_id = ?");
        }
        let mut actors = Vec::new();
        if let Some(actor) = wanted.actor.as_deref() {
            actors.push(actor);
            sql.push_str(" AND actor = ?");
            if self.database.dialect() == Dialect::MySql {
                // The column's collation ignores case and accents, which suffices for the index. With a
                // binary collation, programs older than the migration would read bytes where they expect
                // text.
                actors.push(actor);
                sql.push_str(" AND CAST(actor AS BINARY) = CAST(? AS BINARY)");
            }
        }
        let _ = write!(sql, " ORDER BY {order} LIMIT ?");
        let mut connection = self.database.reader().await?;
        let rows = connection
            .query(&sql)
            .bind(after.as_str())
            .bind_all(patient.as_deref().into_iter().chain(actors))
            .bind(i64::from(limit))
            .fetch_all()
            .await?;
        rows.iter().map(RecordedRead::of).collect()
    }

    /// Records all waiting reads, and accepts no more.
    pub async fn shutdown(&self) {
        self.queue.shutdown().await;
    }
}
