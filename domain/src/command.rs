//! Commands of a patient.

use chrono::NaiveDate;

use crate::{Amendment, ErasureReason, ErasureScope, Hold, Import, Registration};

/// A request to change one patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatientCommand {
    /// Registers a patient under an id that has no events yet.
    RegisterPatient(Registration),
    /// Registers a patient of another service, under an id that has no events yet.
    ImportPatient(Box<Import>),
    /// Changes details of a registered patient. If they already have the requested values, no event is
    /// recorded.
    AmendPatient {
        /// The requested values.
        amendment: Amendment,
        /// Accepted sequences of the patient's last event, starting at 1. With `None`, the patient is changed
        /// regardless of its current sequence.
        expected_sequences: Option<Vec<u64>>,
    },
    /// Deletes a registered patient.
    DeletePatient {
        /// Accepted sequences of the patient's last event, starting at 1. With `None`, the patient is deleted
        /// regardless of its current sequence.
        expected_sequences: Option<Vec<u64>>,
    },
    /// Erases a patient, and deletes it first if it is active. The command is rejected if the patient has a
    /// hold that applies `today`.
    ErasePatient {
        /// Reason for the erasure.
        reason: ErasureReason,
        /// Which of the patient's events become unreadable.
        scope: ErasureScope,
        /// Current day, in UTC.
        today: NaiveDate,
    },
    /// Protects a patient, active or deleted, from erasure. If the patient already has this hold, no event is
    /// recorded.
    HoldPatient(Hold),
    /// Releases the hold of a patient. Without a hold, no event is recorded.
    ReleaseHold,
}
