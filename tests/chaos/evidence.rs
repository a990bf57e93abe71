//! The oracle's evidence: the clients' observations, and the contents of the database and the mail sink
//! afterwards.

mod sealed;
mod sql;

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

pub(crate) use sealed::{Keyring, SubjectKey};
pub(crate) use sql::Sql;

use crate::record::{Changes, Details, Observation};

/// A row of the log.
#[expect(clippy::struct_field_names, reason = "the columns' names")]
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Event {
    pub(crate) position: u64,
    pub(crate) aggregate_type: String,
    pub(crate) aggregate_id: String,
    pub(crate) sequence: u64,
    pub(crate) event_type: String,
    pub(crate) event_version: String,
    /// JSON text as the database returns it.
    pub(crate) payload: String,
    /// The payload with the personal data opened; `None` if it does not open.
    #[serde(skip)]
    pub(crate) opened: Option<Value>,
    pub(crate) metadata: String,
    pub(crate) recorded_at: i64,
    /// The hash, in hexadecimal.
    pub(crate) hash: String,
}

impl Event {
    pub(crate) fn id(&self) -> Option<Uuid> {
        self.aggregate_id.parse().ok()
    }

    /// The details in the event, if it is a registration.
    pub(crate) fn registers(&self) -> Option<Details> {
        let opened = self.opened.as_ref().filter(|_| self.is_registration())?;
        Details::deserialize(opened).ok()
    }

    /// The changes in the event, if it is an amendment.
    pub(crate) fn amends(&self) -> Option<Changes> {
        let opened = self.opened.as_ref().filter(|_| self.is_amendment())?;
        Changes::deserialize(opened).ok()
    }

    pub(crate) fn is_registration(&self) -> bool {
        self.event_type == "PatientRegistered"
    }

    pub(crate) fn is_amendment(&self) -> bool {
        self.event_type == "PatientAmended"
    }

    pub(crate) fn deletes(&self) -> bool {
        self.event_type == "PatientDeleted"
    }

    pub(crate) fn erases(&self) -> bool {
        self.event_type == "PatientErased"
    }

    /// Whether this event directly precedes `next` in the append of one request.
    pub(crate) fn is_in_one_append_with(&self, next: &Self) -> bool {
        let of = |event: &Self| (event.aggregate_id.clone(), event.request_id(), event.recorded_at);
        self.position + 1 == next.position && of(self) == of(next)
    }

    /// The id of the request that wrote the event.
    pub(crate) fn request_id(&self) -> Option<String> {
        let metadata: Value = serde_json::from_str(&self.metadata).ok()?;
        Some(metadata["request_id"].as_str()?.to_owned())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Head {
    pub(crate) position: u64,
    pub(crate) hash: String,
    pub(crate) recorded_at: i64,
}

/// A row of the read table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Row {
    pub(crate) id: Uuid,
    #[serde(flatten)]
    pub(crate) details: Details,
    pub(crate) sequence: u64,
    pub(crate) registered_at: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Claim {
    pub(crate) claim: String,
    pub(crate) aggregate_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) name: String,
    pub(crate) position: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Lease {
    pub(crate) name: String,
    /// The owner of the lease, in the form ROLE@HOST:PID:RANDOM.
    pub(crate) owner: String,
    /// Seconds until expiry at the time of the read, negative if the lease has expired.
    pub(crate) left: f64,
}

/// A row of the mail ledger, with the outcome of each attempt.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Delivery {
    pub(crate) position: u64,
    pub(crate) template: String,
    pub(crate) aggregate_id: String,
    pub(crate) state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) position: u64,
    pub(crate) template: String,
    pub(crate) outcome: String,
    /// Microseconds since 1970.
    pub(crate) started_at: i64,
}

/// A mark in a column of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    /// The table and the column.
    pub(crate) place: String,
    pub(crate) mark: String,
}

/// A patient in a read table, in any generation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Listed {
    pub(crate) table: String,
    pub(crate) id: Uuid,
}

/// The progress of an erasure at the end of the run, as the API reports it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Progress {
    pub(crate) id: Uuid,
    pub(crate) position: u64,
    pub(crate) complete: bool,
}

/// An email in the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) recipient: String,
    pub(crate) message_id: String,
    /// When the server stored the email, in microseconds since 1970.
    pub(crate) at: i64,
}

/// Memory and descriptors of a role's process, under load before the first fault and at rest after the last
/// one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) role: String,
    pub(crate) memory: u64,
    pub(crate) descriptors: usize,
}

/// All evidence.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    /// When the run began, in microseconds since 1970.
    pub(crate) began_at: i64,
    pub(crate) observations: Vec<Observation>,
    pub(crate) log: Vec<Event>,
    pub(crate) head: Option<Head>,
    pub(crate) rows: Vec<Row>,
    /// The patients in all read tables.
    pub(crate) listed: Vec<Listed>,
    pub(crate) claims: Vec<Claim>,
    /// The keyring file at the end of the run.
    pub(crate) keyring: Keyring,
    pub(crate) keys: Vec<SubjectKey>,
    /// The marks in all columns of all tables.
    pub(crate) found: Vec<Found>,
    /// The progress of the erasures that clients requested.
    pub(crate) progress: Vec<Progress>,
    pub(crate) checkpoints: Vec<Checkpoint>,
    pub(crate) leases: Vec<Lease>,
    /// Names of subscriptions with a recorded failure.
    pub(crate) failures: Vec<String>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) mails: Vec<Arrived>,
    /// Pids of the running processes.
    pub(crate) running: Vec<u32>,
    pub(crate) before: Vec<Usage>,
    pub(crate) after: Vec<Usage>,
    /// Seconds from the end of the last fault until everything worked; `None` if that never happened.
    pub(crate) recovered_after: Option<f64>,
    /// Violations that the test itself observed: a process that exited by itself, or did not exit after
    /// SIGTERM.
    pub(crate) incidents: Vec<String>,
}
