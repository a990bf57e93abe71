//! What can be asked of a patient.

use crate::Registration;

/// A request to change one patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatientCommand {
    /// Register a patient under an id that has no events yet.
    RegisterPatient(Registration),
    /// Delete a registered patient.
    DeletePatient {
        /// The sequence of the last event the caller has seen, from 1; `None` deletes whatever the caller has
        /// seen.
        expected_sequence: Option<u64>,
    },
}
