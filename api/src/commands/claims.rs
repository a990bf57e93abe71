//! What patients claim: the email of an active patient is unique.

use cqrs_es::persist::SerializedEvent;
use domain::{PatientEvent, email_claim_key};
use eventstore::{Claim, ClaimChange, ClaimRules};

/// A registration takes the claim on its email, a deletion gives it back.
pub(super) struct EmailClaims;

impl ClaimRules for EmailClaims {
    fn changes(&self, event: &SerializedEvent) -> Vec<ClaimChange> {
        match PatientEvent::from_stored(&event.event_type, &event.event_version, event.payload.clone()) {
            Ok(PatientEvent::PatientRegistered { email, .. }) => {
                vec![ClaimChange::Take(Claim::on(
                    "patient.email",
                    &email_claim_key(&email),
                ))]
            }
            Ok(PatientEvent::PatientDeleted {}) => vec![ClaimChange::ReleaseAll],
            // The events come from the aggregate, in the shape that `from_stored` reads.
            Err(_) => Vec::new(),
        }
    }
}
