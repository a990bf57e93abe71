//! Commands of a patient.

use crate::Registration;

/// A request to change one patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatientCommand {
    /// Registers a patient under an id that has no events yet.
    RegisterPatient(Registration),
    /// Deletes a registered patient.
    DeletePatient {
        /// Sequence of the last event that the caller has seen, starting at 1. With `None`, the patient is
        /// deleted regardless of its current sequence.
        expected_sequence: Option<u64>,
    },
}
