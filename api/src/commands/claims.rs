//! What patients claim: the email of an active patient is unique.

use std::error::Error;

use cqrs_es::persist::SerializedEvent;
use domain::{PatientEvent, email_claim_key, older_email_claim_key};
use eventstore::{Claim, ClaimChange, ClaimRules};

/// The kind of claim.
const EMAIL: &str = "patient.email";

/// The claim on an email.
pub(crate) fn email_claim(email: &str) -> Claim {
    Claim::on(EMAIL, &email_claim_key(email))
}

/// The claim on an email that an older program may have made, where it is another one than today.
pub(crate) fn older_email_claim(email: &str) -> Option<Claim> {
    older_email_claim_key(email).map(|key| Claim::on(EMAIL, &key))
}

/// A registration takes the claim on its email, a deletion gives it back.
#[derive(Debug, Clone, Copy, Default)]
pub struct EmailClaims;

impl ClaimRules for EmailClaims {
    fn changes(&self, event: &SerializedEvent) -> Result<Vec<ClaimChange>, Box<dyn Error + Send + Sync>> {
        let change = match PatientEvent::from_stored(&event.event_type, &event.event_version, &event.payload)?
        {
            PatientEvent::PatientRegistered { email, .. } => ClaimChange::Take(email_claim(&email)),
            PatientEvent::PatientDeleted {} => ClaimChange::ReleaseAll,
        };
        Ok(vec![change])
    }

    fn older(&self, event: &SerializedEvent) -> Option<Claim> {
        match PatientEvent::from_stored(&event.event_type, &event.event_version, &event.payload).ok()? {
            PatientEvent::PatientRegistered { email, .. } => older_email_claim(&email),
            PatientEvent::PatientDeleted {} => None,
        }
    }
}
