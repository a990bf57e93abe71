//! How a patient refuses a command.

/// A business rule that a command broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatientError {
    /// A registration for a patient who is already registered.
    #[error("the patient is already registered")]
    AlreadyRegistered,
    /// A command for a patient who was never registered.
    #[error("there is no such patient")]
    NotFound,
    /// A command for a patient who was deleted. An id is never used again.
    #[error("the patient was deleted")]
    Deleted,
    /// The caller has seen another state of the patient than the present one.
    #[error("the patient was expected at sequence {expected} but is at {actual}")]
    SequenceMismatch {
        /// The sequence that the command named.
        expected: u64,
        /// The sequence of the patient's last event.
        actual: u64,
    },
}
