//! The record of reads: who read what of histories and of the log, and when. The table `audit_reads`.
//!
//! An entry is durable before what was read is handed out; what cannot be recorded is not handed out. Entries
//! that wait are written together, with one statement, so that many readers cost one commit at a time and one
//! connection.
//!
//! Entries are added and never changed: a stream has one when it begins, and one when it ends that says how
//! far it came.

use std::sync::{Arc, Mutex};

use eventstore::database::Value;
use eventstore::{Batch, Clock, Coalescer, Database, Dialect, Position, Rejected, Row, Session, Timestamp};
use serde::Serialize;
use tokio_util::task::TaskTracker;
use utoipa::ToSchema;
use uuid::{ContextV7, Uuid};

use crate::observe::new_id_in_order;

/// Entries that may wait to be written.
const CAPACITY: usize = 1024;
/// Entries that are written together.
const LARGEST: usize = 100;
const COLUMNS: &str = "id, recorded_at, actor, via, request_id, kind, outcome, patient_id, event_type, \
                       after_position, to_position";
/// The bits of a UUIDv7 that tell the microseconds of its millisecond apart.
const MICROSECONDS: usize = 10;

/// How a read came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// By a request, with its id.
    Http {
        /// The request's id.
        request_id: String,
    },
    /// By the command line.
    Command,
}

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadKind {
    /// The events of a patient.
    History,
    /// A patient as it was.
    State,
    /// A page of the feed.
    Events,
    /// The feed as lines, to an end that is known.
    Lines,
    /// The feed, live.
    Stream,
    /// An export by the command line.
    Export,
    /// A proof by the command line, which holds an event.
    Proof,
}

impl ReadKind {
    /// The names of all kinds.
    pub const NAMES: [&'static str; 7] = ["history", "state", "events", "lines", "stream", "export", "proof"];

    /// Its name in the record.
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

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOutcome {
    /// It was handed out.
    Given,
    /// There was nothing of that kind.
    NotFound,
    /// It begins to be handed out.
    Begun,
    /// As much of it was handed out as the entry says.
    Ended,
}

impl ReadOutcome {
    /// The names of all outcomes.
    pub const NAMES: [&'static str; 4] = ["given", "not_found", "begun", "ended"];

    /// Its name in the record.
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

/// A read, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Who reads.
    pub actor: String,
    /// How.
    pub via: Via,
    /// What.
    pub kind: ReadKind,
    /// What comes of it.
    pub outcome: ReadOutcome,
    /// Of one patient only.
    pub patient: Option<Uuid>,
    /// Events of one type only.
    pub event_type: Option<String>,
    /// The position, or in a history the sequence, after which it begins.
    pub after: Option<u64>,
    /// The position, or in a history the sequence, up to which it goes.
    pub to: Option<u64>,
}

/// A read that was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecordedRead {
    /// A UUIDv7, in the order of time.
    #[schema(format = Uuid, example = "01a20cb5-3049-75e2-a5d3-40cf90fe63b4")]
    pub id: String,
    /// When.
    #[schema(value_type = String, format = DateTime, example = "2026-11-24T08:38:50.699142Z")]
    pub recorded_at: Timestamp,
    /// Who read: the name of an access token, `issuer#subject` of a JWT, or `user@host` of the command line.
    #[schema(example = "audit@example.com")]
    pub actor: String,
    /// `http`, or `command`: the command line.
    #[schema(example = "http")]
    pub via: String,
    /// The id of the request.
    #[schema(example = "01a20c52-84f4-7444-83a5-f001d7d34c61")]
    pub request_id: Option<String>,
    /// `history`, `state`, `events`, `lines`, `stream`, `export` or `proof`.
    #[schema(example = "history")]
    pub kind: String,
    /// `given`; `not_found`; `begun` and `ended` of what is handed out piece by piece.
    #[schema(example = "given")]
    pub outcome: String,
    /// Of this patient only.
    #[schema(format = Uuid, example = "01a20c52-84f4-752b-9b94-14a23061549a")]
    pub patient_id: Option<String>,
    /// Events of this type only.
    #[schema(example = "PatientRegistered")]
    pub event_type: Option<String>,
    /// After this position; in a history or state, this sequence.
    #[schema(minimum = 0, example = 0)]
    pub after: Option<i64>,
    /// Up to this position; in a history or state, this sequence.
    #[schema(minimum = 0, example = 2)]
    pub to: Option<i64>,
}

/// Why a read was not recorded, and must not be handed out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotRecorded {
    /// Too many wait to be recorded.
    #[error("too many reads wait to be recorded")]
    Overloaded,
    /// The process is shutting down.
    #[error("shutting down")]
    ShuttingDown,
    /// Nobody knows whether it was recorded.
    #[error("recording the read failed")]
    Failed,
    /// The database could not be written.
    #[error("the read could not be recorded: {0}")]
    Store(Arc<eventstore::Error>),
}

/// Which entries are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadsWanted {
    /// Those after this one.
    pub after: Option<Uuid>,
    /// Those about this patient alone.
    pub patient: Option<Uuid>,
    /// Those by this actor.
    pub actor: Option<String>,
}

/// The record of reads. Cheap to clone.
#[derive(Clone)]
pub struct ReadLog {
    database: Database,
    clock: Arc<dyn Clock>,
    /// The order of this process's entries, which may come faster than one a millisecond.
    order: Arc<Mutex<ContextV7>>,
    queue: Coalescer<Inserts>,
    ending: TaskTracker,
}

impl ReadLog {
    /// The record in that database.
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

    /// Records a read. When this returns it is durable.
    ///
    /// # Errors
    ///
    /// [`NotRecorded`].
    pub async fn record(&self, read: Read) -> Result<(), NotRecorded> {
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

    /// Records, when it is called, that what `read` began has ended, and how far it came. Nobody waits for
    /// it: by then it was handed out.
    pub(crate) fn at_end(&self, read: Read) -> impl FnOnce(Position) + Send + Sync + use<> {
        let log = self.clone();
        move |reached: Position| {
            let Ok(runtime) = tokio::runtime::Handle::try_current() else {
                return;
            };
            let ending = log.ending.clone();
            let ended = Read {
                outcome: ReadOutcome::Ended,
                to: Some(reached.get()),
                ..read
            };
            ending.spawn_on(
                async move {
                    if let Err(error) = log.record(ended).await {
                        tracing::warn!(%error, "how far a stream came is not recorded");
                    }
                },
                &runtime,
            );
        }
    }

    /// At most `limit` entries, in the order of their ids.
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
                // The column's collation ignores case and accents, which is good enough for the index. A
                // binary collation would have programs of before the migration read bytes where they expect
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

    /// Records what has ended, and what waits; then no more.
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
    read: Read,
}

/// Writes entries.
struct Inserts(Database);

impl Batch for Inserts {
    type Item = Entry;
    type Answer = Result<(), Arc<eventstore::Error>>;

    async fn run(&mut self, entries: Vec<Entry>) -> Vec<Self::Answer> {
        let inserted = self.insert(&entries).await.map_err(Arc::new);
        if let Err(error) = &inserted {
            tracing::error!(%error, audit.reads = entries.len(), "reads could not be recorded, and are refused");
        }
        entries.iter().map(|_| inserted.clone()).collect()
    }
}

impl Inserts {
    async fn insert(&self, entries: &[Entry]) -> eventstore::Result<()> {
        let number = |number: Option<u64>| number.map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        let ids: Vec<_> = entries
            .iter()
            .map(|entry| (entry.id.to_string(), entry.read.patient.map(|id| id.to_string())))
            .collect();
        let rows = entries
            .iter()
            .zip(&ids)
            .map(|(Entry { at, read, .. }, (id, patient))| {
                let (via, request_id) = match &read.via {
                    Via::Http { request_id } => ("http", Some(request_id.as_str())),
                    Via::Command => ("command", None),
                };
                [
                    Value::from(id),
                    (*at).into(),
                    (&read.actor).into(),
                    via.into(),
                    request_id.into(),
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
