//! Claims of patients. They keep the email of each active patient unique.

use domain::{PatientEvent, email_claim_key, evolve, older_email_claim_key};
use eventstore::{Claim, ClaimRules, ClaimRulesError, HeldClaim, NewEvent};

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

/// Claim rules for email addresses: an active patient holds the claim on its address.
#[derive(Debug, Clone, Copy, Default)]
pub struct EmailClaims;

impl ClaimRules for EmailClaims {
    fn held(&self, events: &[NewEvent]) -> Result<Vec<HeldClaim>, ClaimRulesError> {
        let mut details = None;
        for event in events {
            let event = PatientEvent::from_stored(&event.event_type, &event.event_version, &event.payload)?;
            details = evolve(details, event);
        }
        let held = details.map(|details| HeldClaim {
            claim: email_claim(&details.email),
            older: older_email_claim(&details.email),
        });
        Ok(held.into_iter().collect())
    }
}
