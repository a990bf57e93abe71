//! Errors of a patient's commands.

use chrono::NaiveDate;

/// A business rule that a command violates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatientError {
    /// The patient to register is already registered.
    #[error("the patient is already registered")]
    AlreadyRegistered,
    /// The patient was never registered.
    #[error("there is no such patient")]
    NotFound,
    /// The patient was deleted. Ids are never reused.
    #[error("the patient was deleted")]
    Deleted,
    /// The patient was erased.
    #[error("the patient was erased")]
    Erased,
    /// The patient to erase has a hold.
    #[error("the patient must not be erased until after {until}")]
    Held {
        /// Last day of the hold, in UTC.
        until: NaiveDate,
    },
    /// The command does not accept the patient's current sequence.
    #[error("the patient is at sequence {actual}, which was not expected")]
    SequenceMismatch {
        /// Sequence of the patient's last event.
        actual: u64,
    },
}
