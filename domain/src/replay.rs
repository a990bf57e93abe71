//! Replay: a patient as its first events tell it, up to any point of its past.

use cqrs_es::Aggregate;
use serde_json::Value;

use crate::{Patient, PatientEvent, StoredEventError};

/// Up to where a patient's events are replayed; the event that it names is the last one to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until<T> {
    /// All there are.
    Now,
    /// The event with this sequence.
    Sequence(u64),
    /// The last event that was recorded at this moment or before it.
    Moment(T),
}

/// What a replay needs of a recorded event. `T` is a moment of whatever clock recorded it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredEvent<T> {
    /// The event's number within its patient, from 1.
    pub sequence: u64,
    /// When it was recorded.
    pub recorded_at: T,
    /// Its type, as stored.
    pub event_type: String,
    /// The version of its payload's shape, as stored.
    pub event_version: String,
    /// What it says, as stored.
    pub payload: Value,
}

impl<T: PartialOrd> Until<T> {
    /// Whether an event counts.
    #[must_use]
    pub fn takes(&self, sequence: u64, recorded_at: &T) -> bool {
        match self {
            Self::Now => true,
            Self::Sequence(last) => sequence <= *last,
            Self::Moment(moment) => recorded_at <= moment,
        }
    }
}

impl Patient {
    /// Applies those of `events` that `until` takes. They are all of one patient, in the order of their
    /// sequences, and follow those that were applied before: a long history can be replayed page by page,
    /// from [`Patient::default`] on.
    ///
    /// What comes after `until` is not read, so that the past can be told even if this program is too old for
    /// what happened since.
    ///
    /// # Errors
    ///
    /// As [`PatientEvent::from_stored`].
    pub fn replay<T: PartialOrd>(
        &mut self,
        events: impl IntoIterator<Item = StoredEvent<T>>,
        until: &Until<T>,
    ) -> Result<(), StoredEventError> {
        for event in events
            .into_iter()
            .take_while(|event| until.takes(event.sequence, &event.recorded_at))
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
