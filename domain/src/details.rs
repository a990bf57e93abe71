//! The details of a patient.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Registration;

/// Details of an active patient. `Debug` omits them, because its output can appear in logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatientDetails {
    /// The patient's name.
    pub name: String,
    /// The patient's email address.
    pub email: String,
    /// The patient's phone number.
    pub phone: String,
    /// URL of the photo of the patient's document.
    pub document_url: String,
}

impl From<Registration> for PatientDetails {
    fn from(registration: Registration) -> Self {
        Self {
            name: registration.name.into(),
            email: registration.email.into(),
            phone: registration.phone.into(),
            document_url: registration.document_url.into(),
        }
    }
}

impl fmt::Debug for PatientDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatientDetails").finish_non_exhaustive()
    }
}
