//! Claims of patients. They keep the email of each active patient unique.

use std::error::Error;

use cqrs_es::persist::SerializedEvent;
use domain::{PatientEvent, email_claim_key, older_email_claim_key};
use eventstore::{Claim, ClaimChange, ClaimRules};

/// The kind of claim that reserves an email address.
const EMAIL: &str = "patient.email";

/// Claim on an email.
pub(crate) fn email_claim(email: &str) -> Claim {
    Claim::on(EMAIL, &email_claim_key(email))
}

/// Claim on an email in the format of older versions, if it differs from the current format.
pub(crate) fn older_email_claim(email: &str) -> Option<Claim> {
    older_email_claim_key(email).map(|key| Claim::on(EMAIL, &key))
}

/// Claim rules for email addresses: a registration takes the claim on its address, and a deletion releases
/// the claim.
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
