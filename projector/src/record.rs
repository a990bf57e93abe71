//! The state of a patient from which all projections make their rows.

use cqrs_es::Aggregate;
use domain::{Patient, PatientDetails, PatientEvent};
use eventstore::projection::ReadError;
use eventstore::{RecordedEvent, Timestamp};

/// Aggregate type of patients, as stored in the log.
pub const AGGREGATE_TYPE: &str = Patient::TYPE;

/// An active patient, with the facts about its events that the tables contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientRecord {
    /// The patient's details.
    pub details: PatientDetails,
    /// Sequence of the patient's last event.
    pub sequence: u64,
    /// When the patient was registered.
    pub registered_at: Timestamp,
}

/// Parses a stored event.
///
/// # Errors
///
/// [`domain::StoredEventError`].
pub fn read(event: &RecordedEvent) -> Result<PatientEvent, ReadError> {
    Ok(PatientEvent::from_stored(
        &event.event_type,
        &event.event_version,
        &event.payload,
    )?)
}

/// Returns the patient's record after an event, or `None` if the patient is not active after it.
#[must_use]
pub fn evolve(
    before: Option<PatientRecord>,
    event: PatientEvent,
    recorded: &RecordedEvent,
) -> Option<PatientRecord> {
    let (details, registered_at) = before
        .map(|before| (before.details, before.registered_at))
        .unzip();
    let details = domain::evolve(details, event)?;
    Some(PatientRecord {
        details,
        sequence: recorded.sequence,
        registered_at: registered_at.unwrap_or(recorded.recorded_at),
    })
}
