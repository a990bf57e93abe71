//! The entries of the record of reads.

use std::sync::Arc;

use eventstore::{Row, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Which reads over HTTP are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadRecording {
    /// No reads.
    Off,
    /// Reads of past states and of events. Each entry is durable before the data is returned.
    #[default]
    Past,
    /// All reads of patients. The entries of reads of current states wait in a queue and are written after
    /// the response.
    All,
    /// Like [`ReadRecording::All`], but every entry is durable before the data is returned.
    Strict,
}

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
    /// An export from the command line, with the personal data opened.
    OpenExport,
    /// A proof from the command line, or a certificate of erasure. Both contain an event.
    Proof,
    /// The current state of a patient.
    Patient,
    /// A page of the list of patients.
    List,
    /// A search for patients.
    Search,
    /// The deletion of old entries of a chain.
    Prune,
}

impl ReadKind {
    /// Names of all kinds.
    pub const NAMES: [&'static str; 12] = [
        "history",
        "state",
        "events",
        "lines",
        "stream",
        "export",
        "open_export",
        "proof",
        "patient",
        "list",
        "search",
        "prune",
    ];

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
            Self::OpenExport => "open_export",
            Self::Proof => "proof",
            Self::Patient => "patient",
            Self::List => "list",
            Self::Search => "search",
            Self::Prune => "prune",
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
    /// Entries were deleted.
    Pruned,
}

impl ReadOutcome {
    /// Names of all outcomes.
    pub const NAMES: [&'static str; 5] = ["given", "not_found", "begun", "ended", "pruned"];

    /// Returns the name used in the record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::NotFound => "not_found",
            Self::Begun => "begun",
            Self::Ended => "ended",
            Self::Pruned => "pruned",
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
    /// The patient, if the read is limited to one patient, or a patient on a page.
    pub patient: Option<Uuid>,
    /// The event type, if the read is limited to one type.
    pub event_type: Option<String>,
    /// Position, or sequence within a history, after which the read begins.
    pub after: Option<u64>,
    /// Position, or sequence within a history, of the last event that the read covers; for a pruning, the
    /// last link whose entries were deleted.
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
    /// `history`, `state`, `events`, `lines`, `stream`, `export`, `proof`, `patient`, `list`, `search` or
    /// `prune`.
    #[schema(example = "history")]
    pub kind: String,
    /// `given` or `not_found`; for data that is streamed, `begun` and then `ended`; for a pruning, `pruned`.
    #[schema(example = "given")]
    pub outcome: String,
    /// The patient, if the read was limited to one patient, or a patient on the page that was read.
    #[schema(format = Uuid, example = "01a20c52-84f4-752b-9b94-14a23061549a")]
    pub patient_id: Option<String>,
    /// The event type, if the read was limited to one type.
    #[schema(example = "PatientRegistered")]
    pub event_type: Option<String>,
    /// Position after which the read began; for reads of one patient, a sequence.
    #[schema(minimum = 0, example = 0)]
    pub after: Option<i64>,
    /// Last position that the read covers; for reads of one patient, a sequence; for a pruning, the number of
    /// the last link whose entries were deleted.
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
    /// Only entries after the entry with this id, in the order of the list.
    pub after: Option<Uuid>,
    /// Whether the newest entry comes first.
    pub newest_first: bool,
    /// Only reads of this patient.
    pub patient: Option<Uuid>,
    /// Only reads by this actor.
    pub actor: Option<String>,
}

impl RecordedRead {
    pub(super) fn of(row: &Row) -> eventstore::Result<Self> {
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
