//! What patients claim: the email of an active patient is unique.

use std::error::Error;

use cqrs_es::persist::SerializedEvent;
use domain::{PatientEvent, email_claim_key};
use eventstore::{Claim, ClaimChange, ClaimRules};

/// The claim on an email.
pub(crate) fn email_claim(email: &str) -> Claim {
    Claim::on("patient.email", &email_claim_key(email))
}

/// A registration takes the claim on its email, a deletion gives it back.
pub(super) struct EmailClaims;

impl ClaimRules for EmailClaims {
    fn changes(&self, event: &SerializedEvent) -> Result<Vec<ClaimChange>, Box<dyn Error + Send + Sync>> {
        let change = match PatientEvent::from_stored(&event.event_type, &event.event_version, &event.payload)?
        {
            PatientEvent::PatientRegistered { email, .. } => ClaimChange::Take(email_claim(&email)),
            PatientEvent::PatientDeleted {} => ClaimChange::ReleaseAll,
        };
        Ok(vec![change])
    }
}
