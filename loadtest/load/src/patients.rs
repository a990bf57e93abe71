//! The registered patients that requests can use.

use std::sync::{Mutex, PoisonError};

/// Maximum number of patients that are kept for further requests: about 100 MB.
const MAX_PATIENTS: usize = 1_000_000;

/// A registered patient.
#[derive(Debug)]
pub(crate) struct Patient {
    pub(crate) id: String,
    /// The `ETag` of the last response, for `If-Match`.
    pub(crate) etag: Option<String>,
}

/// The patients that no request uses at the moment. A request takes its patient and returns it afterward, so
/// no patient is deleted while another request reads it.
#[derive(Debug, Default)]
pub(crate) struct Patients(Mutex<Vec<Patient>>);

impl Patients {
    /// Takes a random patient. Returns `None` if every patient is in use.
    pub(crate) fn take(&self) -> Option<Patient> {
        let mut patients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if patients.is_empty() {
            return None;
        }
        let index = fastrand::usize(0..patients.len());
        Some(patients.swap_remove(index))
    }

    /// Adds a patient. If too many patients are kept, the patient is not used again.
    pub(crate) fn put(&self, patient: Patient) {
        let mut patients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if patients.len() < MAX_PATIENTS {
            patients.push(patient);
        }
    }
}
