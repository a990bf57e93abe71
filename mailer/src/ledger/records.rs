//! The ledger's contents as shown to operators, without personal data.

use eventstore::{Position, Timestamp};
use serde::{Serialize, Serializer};

use super::workers::WorkerStatus;

/// State of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// Waiting for its first attempt.
    Pending,
    /// Being sent.
    Sending,
    /// Sent.
    Sent,
    /// Waiting for a retry.
    Failed,
    /// Not known to be sent, and not retried automatically.
    Dead,
    /// Cancelled before it was sent.
    Cancelled,
}

impl DeliveryState {
    /// All states.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Sending,
        Self::Sent,
        Self::Failed,
        Self::Dead,
        Self::Cancelled,
    ];

    /// Name of the state in the ledger.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the state with that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Filter for deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveriesWanted {
    /// Only deliveries in this state.
    pub state: Option<DeliveryState>,
    /// Only deliveries for the patient with this id.
    pub patient: Option<String>,
}

/// Status of the ledger, as `GET /mail` returns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerStatus {
    /// Number of deliveries in each state, in the order of [`DeliveryState::ALL`].
    #[serde(rename = "mails", serialize_with = "by_state")]
    pub counts: [(DeliveryState, u64); 6],
    /// Creation time of the oldest delivery that is waiting or being sent.
    pub oldest_waiting: Option<Timestamp>,
    /// Due time of the delivery that has been due longest.
    pub oldest_due: Option<Timestamp>,
    /// Number of deliveries that are due later than the longest possible pause, because a clock was wrong.
    pub due_too_late: u64,
    /// Active workers.
    #[serde(rename = "mailers")]
    pub workers: Vec<WorkerStatus>,
}

/// Summary of the unfinished deliveries: pending, being sent, or waiting for a retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedDeliveries {
    /// Number of deliveries in each state that is not final.
    pub counts: [(DeliveryState, u64); 3],
    /// Creation time of the oldest of these deliveries.
    pub oldest: Option<Timestamp>,
    /// Due time of the delivery that has been due longest.
    pub oldest_due: Option<Timestamp>,
    /// Number of deliveries that are due later than the longest possible pause, because a clock was wrong.
    pub due_too_late: u64,
}

/// A delivery as shown to operators, without personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryRecord {
    /// Position of the event that caused the delivery. Together with the template, identifies the delivery.
    #[serde(rename = "id")]
    pub position: Position,
    /// Name of the template.
    #[serde(rename = "mail")]
    pub template: String,
    /// Id of the patient.
    #[serde(rename = "patient_id")]
    pub aggregate_id: String,
    /// Name of the state.
    pub state: String,
    /// Number of attempts since the last manual retry.
    pub attempts: u32,
    /// Time from which a worker may lease the delivery.
    #[serde(rename = "next")]
    pub due_at: Option<Timestamp>,
    /// Reason why the last attempt did not send the email.
    pub last_error: Option<String>,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
}

/// A finished attempt, without personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptRecord {
    /// Position of the event that caused the delivery.
    #[serde(rename = "id")]
    pub position: Position,
    /// Name of the template.
    #[serde(rename = "mail")]
    pub template: String,
    /// Number of the attempt since the last manual retry, from 1.
    pub attempt: u32,
    /// Start time.
    pub started_at: Timestamp,
    /// End time.
    pub ended_at: Timestamp,
    /// One of `sent`, `failed`, `dead`, `unknown` and `lost`.
    pub outcome: String,
    /// Reason for the failure.
    pub error: Option<String>,
}

/// The deliveries caused by one event, and all finished attempts to send them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventDeliveries {
    /// The deliveries. Empty if the event caused no delivery.
    #[serde(rename = "mails")]
    pub deliveries: Vec<DeliveryRecord>,
    /// The attempts, ordered by start time.
    pub attempts: Vec<AttemptRecord>,
}

/// Serializes the counts as an object with one member per state.
fn by_state<S: Serializer>(
    counts: &[(DeliveryState, u64)],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().map(|(state, count)| (state.name(), count)))
}
