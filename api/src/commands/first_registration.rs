//! The registration that an `Idempotency-Key` was first used for.

use domain::{PatientDetails, PatientEvent, Registration, evolve};
use eventstore::Position;
use uuid::Uuid;

use super::{CommandError, Registered};

/// Registration that a key was first used for.
pub(super) struct FirstRegistration {
    pub(super) id: Uuid,
    pub(super) position: Position,
    /// `None` if the patient was erased.
    pub(super) event: Option<PatientEvent>,
}

impl FirstRegistration {
    /// Returns the original result if `details` equal the details of the first registration.
    pub(super) fn again(self, details: &PatientDetails) -> Result<Registered, CommandError> {
        let Self { id, position, event } = self;
        let Some(event) = event else {
            return Err(CommandError::Erased);
        };
        match evolve(None, event) {
            Some(first)
                if first == *details || as_parsed_today(&first).is_some_and(|first| first == *details) =>
            {
                Ok(Registered {
                    id,
                    position,
                    details: first,
                })
            }
            _ => Err(CommandError::IdempotencyKeyReused),
        }
    }
}

/// Returns the details as a current version would record them. Older versions stored the values as they were
/// sent; current versions normalize them.
fn as_parsed_today(details: &PatientDetails) -> Option<PatientDetails> {
    let PatientDetails {
        name,
        email,
        phone,
        document_url,
    } = details;
    Registration::parse(name, email, phone, document_url)
        .ok()
        .map(PatientDetails::from)
}
