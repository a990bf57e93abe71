//! Which parts of a patient's events are personal data.

use domain::{PERSONAL_FIELDS, SEALED_VERSIONS, is_personal};
use eventstore::sealing::{DeclarePersonalData, PersonalData};

/// Declares the personal data of a patient's events, as the domain defines it.
#[derive(Debug, Clone, Copy, Default)]
pub struct PatientData;

impl DeclarePersonalData for PatientData {
    fn of(&self, event_type: &str) -> Option<PersonalData> {
        is_personal(event_type).then_some(PersonalData {
            members: PERSONAL_FIELDS,
            versions: SEALED_VERSIONS,
        })
    }
}
