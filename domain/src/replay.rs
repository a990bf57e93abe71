//! Reconstruction of past states of a patient.

use cqrs_es::Aggregate;
use serde_json::Value;

use crate::{Patient, PatientEvent, StoredEventError};

/// End of a replay. The event at the end is included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until<T> {
    /// Replays all events.
    Now,
    /// Replays up to the event with this sequence.
    Sequence(u64),
    /// Replays all events recorded at or before this time.
    Moment(T),
}

/// The parts of a recorded event that a replay needs. `T` is the time type of the recording clock.
#[derive(Clone, PartialEq, Eq)]
pub struct ReplayEvent<T> {
    /// Number of the event among the patient's events, starting at 1.
    pub sequence: u64,
    /// When the event was recorded.
    pub recorded_at: T,
    /// Stored event type.
    pub event_type: String,
    /// Stored version of the event.
    pub event_version: String,
    /// Stored payload.
    pub payload: Value,
}

impl<T: PartialOrd> Until<T> {
    /// Whether the replay includes an event.
    #[must_use]
    pub fn includes(&self, sequence: u64, recorded_at: &T) -> bool {
        match self {
            Self::Now => true,
            Self::Sequence(last) => sequence <= *last,
            Self::Moment(moment) => recorded_at <= moment,
        }
    }
}

impl Patient {
    /// Applies the events that `until` includes. All events must belong to one patient, be in order of
    /// sequence, and follow the events already applied. A long history can therefore be replayed page by
    /// page, starting from [`Patient::default`].
    ///
    /// Events after `until` are not parsed. Past states stay available even if later events are too new for
    /// this program.
    ///
    /// # Errors
    ///
    /// Same as [`PatientEvent::from_stored`].
    pub fn replay<T: PartialOrd>(
        &mut self,
        events: impl IntoIterator<Item = ReplayEvent<T>>,
        until: &Until<T>,
    ) -> Result<(), StoredEventError> {
        for event in events
            .into_iter()
            .take_while(|event| until.includes(event.sequence, &event.recorded_at))
        {
            self.apply(PatientEvent::from_stored(
                &event.event_type,
                &event.event_version,
                &event.payload,
            )?);
        }
        Ok(())
    }
}
