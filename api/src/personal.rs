//! Which parts of a patient's events are personal data.

use domain::{PERSONAL_FIELDS, SEALED_VERSION, current_version, is_personal};
use eventstore::sealing::{DeclarePersonalData, PersonalData};

/// Declares the personal data of a patient's events, as the domain defines it.
#[derive(Debug, Clone, Copy, Default)]
pub struct PatientData;

impl DeclarePersonalData for PatientData {
    fn of(&self, event_type: &str) -> Option<PersonalData> {
        let version = current_version(event_type).filter(|_| is_personal(event_type))?;
        Some(PersonalData {
            members: PERSONAL_FIELDS,
            version,
            sealed_version: SEALED_VERSION,
        })
    }
}
