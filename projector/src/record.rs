//! The state of a patient from which all projections make their rows.

use cqrs_es::Aggregate;
use domain::{Patient, PatientDetails, PatientEvent, evolve};
use eventstore::projection::ReadError;
use eventstore::{AggregateState, RecordedEvent, Timestamp};

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

impl AggregateState for PatientRecord {
    const AGGREGATE_TYPE: &'static str = Patient::TYPE;

    /// `None` if the personal data of the event was erased.
    type Event = Option<PatientEvent>;

    fn read(event: &RecordedEvent) -> Result<Self::Event, ReadError> {
        Ok(event.content(PatientEvent::from_stored)?)
    }

    fn is_self_contained(event: &Self::Event) -> bool {
        event.as_ref().is_none_or(PatientEvent::is_self_contained)
    }

    fn evolve(before: Option<Self>, event: Self::Event, recorded: &RecordedEvent) -> Option<Self> {
        let (details, registered_at) = before
            .map(|before| (before.details, before.registered_at))
            .unzip();
        Some(Self {
            details: evolve(details, event?)?,
            sequence: recorded.sequence,
            registered_at: registered_at.unwrap_or(recorded.recorded_at),
        })
    }
}
