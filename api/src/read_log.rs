//! The record of reads, in the table `audit_reads`: who read which histories and events, and when.
//!
//! An entry is durable before the data that was read is returned. If the entry cannot be recorded, the data
//! is not returned. One statement writes all waiting entries, so concurrent reads share a connection and a
//! commit.
//!
//! Entries are added and never changed. A stream has an entry for its beginning, and an entry for its end
//! with the position that it reached.

use std::sync::{Arc, Mutex};

use eventstore::database::Value;
use eventstore::{
    BatchWorker, Clock, Coalescer, Database, Dialect, Position, Rejected, Row, Session, Timestamp,
};
use serde::Serialize;
use tokio_util::task::TaskTracker;
use utoipa::ToSchema;
use uuid::{ContextV7, Uuid};

use crate::ids::new_id_in_order;

/// Maximum number of entries that wait to be written.
const CAPACITY: usize = 1024;
/// Maximum number of entries that are written together.
const LARGEST: usize = 100;
const COLUMNS: &str = "id, recorded_at, actor, via, request_id, kind, outcome, patient_id, event_type, \
                       after_position, to_position";
/// Bits of a UUIDv7 that contain the microseconds within the millisecond.
const MICROSECONDS: usize = 10;

/// Origin of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// An HTTP request.
    Http {
        /// The request's id.
        request_id: Uuid,
    },
    /// The command line.
    Command,
}

impl Via {
    /// Name of the origin, as used in the record.
    const fn name(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http",
            Self::Command => "command",
        }
    }

    const fn request_id(&self) -> Option<Uuid> {
        match self {
            Self::Http { request_id } => Some(*request_id),
            Self::Command => None,
        }
    }
}

/// Kind of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadKind {
    /// The events of a patient.
    History,
    /// A current or past state of a patient: the state after an event, or at a time.
    State,
    /// A page of the feed.
    Events,
    /// The feed as NDJSON, up to a fixed end.
    Lines,
    /// The live feed.
    Stream,
    /// An export from the command line.
    Export,
    /// A proof from the command line. A proof contains an event.
    Proof,
}

impl ReadKind {
    /// Names of all kinds.
    pub const NAMES: [&'static str; 7] = ["history", "state", "events", "lines", "stream", "export", "proof"];

    /// Returns the name used in the record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::History => "history",
            Self::State => "state",
            Self::Events => "events",
            Self::Lines => "lines",
            Self::Stream => "stream",
            Self::Export => "export",
            Self::Proof => "proof",
        }
    }
}

/// Outcome of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOutcome {
    /// The data was returned.
    Given,
    /// There was nothing to read.
    NotFound,
    /// A stream of data began.
    Begun,
    /// A stream ended at the position in the entry.
    Ended,
}

impl ReadOutcome {
    /// Names of all outcomes.
    pub const NAMES: [&'static str; 4] = ["given", "not_found", "begun", "ended"];

    /// Returns the name used in the record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::NotFound => "not_found",
            Self::Begun => "begun",
            Self::Ended => "ended",
        }
    }
}

/// A read to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRecord {
    /// The reader.
    pub actor: String,
    /// Origin of the read.
    pub via: Via,
    /// Kind of the read.
    pub kind: ReadKind,
    /// Outcome of the read.
    pub outcome: ReadOutcome,
    /// The patient, if the read is limited to one patient.
    pub patient: Option<Uuid>,
    /// The event type, if the read is limited to one type.
    pub event_type: Option<String>,
    /// Position, or sequence within a history, after which the read begins.
    pub after: Option<u64>,
    /// Position, or sequence within a history, of the last event that the read covers.
    pub to: Option<u64>,
}

/// A recorded read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecordedRead {
    /// Id of the entry: a UUIDv7, ordered by time.
    #[schema(format = Uuid, example = "01a20cb5-3049-75e2-a5d3-40cf90fe63b4")]
    pub id: String,
    /// Time at which the read was recorded.
    #[schema(value_type = String, format = DateTime, example = "2026-11-24T08:38:50.699142Z")]
    pub recorded_at: Timestamp,
    /// The reader: the name of an access token, `issuer#subject` of a JWT, or `user@host` for the command
    /// line.
    #[schema(example = "audit@example.com")]
    pub actor: String,
    /// `http`, or `command` for the command line.
    #[schema(example = "http")]
    pub via: String,
    /// Id of the HTTP request.
    #[schema(example = "01a20c52-84f4-7444-83a5-f001d7d34c61")]
    pub request_id: Option<String>,
    /// `history`, `state`, `events`, `lines`, `stream`, `export` or `proof`.
    #[schema(example = "history")]
    pub kind: String,
    /// `given` or `not_found`; for data that is streamed, `begun` and then `ended`.
    #[schema(example = "given")]
    pub outcome: String,
    /// The patient, if the read was limited to one patient.
    #[schema(format = Uuid, example = "01a20c52-84f4-752b-9b94-14a23061549a")]
    pub patient_id: Option<String>,
    /// The event type, if the read was limited to one type.
    #[schema(example = "PatientRegistered")]
    pub event_type: Option<String>,
    /// Position after which the read began; for a history or a state, a sequence.
    #[schema(minimum = 0, example = 0)]
    pub after: Option<i64>,
    /// Last position that the read covers; for a history or a state, a sequence.
    #[schema(minimum = 0, example = 2)]
    pub to: Option<i64>,
}

/// Reason why a read was not recorded. Its data must not be returned.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotRecorded {
    /// Too many reads are waiting to be recorded.
    #[error("too many reads are waiting to be recorded")]
    Overloaded,
    /// The process is shutting down.
    #[error("shutting down")]
    ShuttingDown,
    /// It is unknown whether the read was recorded.
    #[error("recording the read failed")]
    Failed,
    /// The database write failed.
    #[error("the read could not be recorded: {0}")]
    Store(Arc<eventstore::Error>),
}

/// Filter for entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadsWanted {
    /// Only entries after the entry with this id.
    pub after: Option<Uuid>,
    /// Only reads that are limited to this patient.
    pub patient: Option<Uuid>,
    /// Only reads by this actor.
    pub actor: Option<String>,
}

/// The record of reads. Cheap to clone.
#[derive(Clone)]
pub struct ReadLog {
    database: Database,
    clock: Arc<dyn Clock>,
    /// Orders the entries of this process. Several entries may be created within one millisecond.
    order: Arc<Mutex<ContextV7>>,
    queue: Coalescer<Inserts>,
    ending: TaskTracker,
}

impl ReadLog {
    /// Starts the record of reads in `database`.
    #[must_use]
    pub fn start(database: Database, clock: Arc<dyn Clock>) -> Self {
        let inserts = Inserts(database.clone());
        Self {
            database,
            clock,
            order: Arc::new(Mutex::new(
                ContextV7::new().with_additional_precision_bits(MICROSECONDS),
            )),
            queue: Coalescer::start([inserts], CAPACITY, LARGEST),
            ending: TaskTracker::new(),
        }
    }

    /// Records a read. The entry is durable when this returns.
    ///
    /// # Errors
    ///
    /// [`NotRecorded`].
    pub async fn record(&self, read: ReadRecord) -> Result<(), NotRecorded> {
        let entry = Entry {
            id: new_id_in_order(self.clock.as_ref(), self.order.as_ref()),
            at: self.clock.now(),
            read,
        };
        match self.queue.ask(entry).await {
            Ok(recorded) => recorded.map_err(NotRecorded::Store),
            Err(Rejected::Overloaded) => Err(NotRecorded::Overloaded),
            Err(Rejected::ShutDown) => Err(NotRecorded::ShuttingDown),
            Err(Rejected::Failed) => Err(NotRecorded::Failed),
        }
    }

    /// Returns a function that records the end of the stream begun by `read`, and the position that it
    /// reached. The entry is written in the background, because the data has already been sent.
    pub(crate) fn at_end(&self, read: ReadRecord) -> impl FnOnce(Position) + Send + Sync + use<> {
        let log = self.clone();
        move |reached: Position| {
            let Ok(runtime) = tokio::runtime::Handle::try_current() else {
                return;
            };
            let ending = log.ending.clone();
            let ended = ReadRecord {
                outcome: ReadOutcome::Ended,
                to: Some(reached.get()),
                ..read
            };
            ending.spawn_on(
                async move {
                    if let Err(error) = log.record(ended).await {
                        tracing::warn!(%error, "the end of a stream could not be recorded");
                    }
                },
                &runtime,
            );
        }
    }

    /// Returns at most `limit` entries, ordered by id.
    ///
    /// # Errors
    ///
    /// [`eventstore::Error::Database`].
    pub async fn list(&self, wanted: &ReadsWanted, limit: u32) -> eventstore::Result<Vec<RecordedRead>> {
        let text = |id: Option<Uuid>| id.map(|id| id.to_string());
        let (after, patient) = (text(wanted.after).unwrap_or_default(), text(wanted.patient));
        let mut sql = format!("SELECT {COLUMNS} FROM audit_reads WHERE id > ?");
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
        sql.push_str(" ORDER BY id LIMIT ?");
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

    /// Records the streams that have ended and all waiting reads, then accepts no more.
    pub async fn shutdown(&self) {
        self.ending.close();
        self.ending.wait().await;
        self.queue.shutdown().await;
    }
}

impl RecordedRead {
    fn of(row: &Row) -> eventstore::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            recorded_at: row.get(1)?,
            actor: row.get(2)?,
            via: row.get(3)?,
            request_id: row.get(4)?,
            kind: row.get(5)?,
            outcome: row.get(6)?,
            patient_id: row.get(7)?,
            event_type: row.get(8)?,
            after: row.get(9)?,
            to: row.get(10)?,
        })
    }
}

struct Entry {
    id: Uuid,
    at: Timestamp,
    read: ReadRecord,
}

/// Writes entries to the database.
struct Inserts(Database);

impl BatchWorker for Inserts {
    type Item = Entry;
    type Answer = Result<(), Arc<eventstore::Error>>;

    async fn run(&mut self, entries: Vec<Entry>) -> Vec<Self::Answer> {
        let inserted = self.insert(&entries).await.map_err(Arc::new);
        if let Err(error) = &inserted {
            tracing::error!(%error, audit.reads = entries.len(), "reads could not be recorded and are rejected");
        }
        entries.iter().map(|_| inserted.clone()).collect()
    }
}

impl Inserts {
    async fn insert(&self, entries: &[Entry]) -> eventstore::Result<()> {
        let number = |number: Option<u64>| number.map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        let text = |id: Uuid| id.to_string();
        let ids: Vec<_> = entries
            .iter()
            .map(|Entry { id, read, .. }| {
                (text(*id), read.patient.map(text), read.via.request_id().map(text))
            })
            .collect();
        let rows = entries
            .iter()
            .zip(&ids)
            .map(|(Entry { at, read, .. }, (id, patient, request_id))| {
                [
                    Value::from(id),
                    (*at).into(),
                    (&read.actor).into(),
                    read.via.name().into(),
                    request_id.as_ref().into(),
                    read.kind.name().into(),
                    read.outcome.name().into(),
                    patient.as_ref().into(),
                    read.event_type.as_ref().into(),
                    number(read.after).into(),
                    number(read.to).into(),
                ]
            });
        let insert = format!("INSERT INTO audit_reads ({COLUMNS}) VALUES");
        self.0.writer().await?.insert(&insert, rows).await
    }
}
