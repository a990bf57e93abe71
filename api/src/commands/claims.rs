//! Claims of patients. They keep the email of each active patient unique.

use domain::{PatientEvent, email_claim_key, evolve, mailbox_key, older_email_claim_key};
use eventstore::{Claim, ClaimRules, ClaimRulesError, HeldClaim, NewEvent, Sealing};

/// The kind of claim that reserves an email address.
const EMAIL: &str = "patient.email";

/// Claim rules for email addresses: an active patient holds the claim on its address.
///
/// In a sealed log, claims are hashes with a secret of the keyring, so the address cannot be guessed from the
/// table of claims. In a log in clear, they are plain hashes.
#[derive(Debug, Clone)]
pub struct EmailClaims {
    sealing: Option<Sealing>,
    accepts_older: bool,
}

impl EmailClaims {
    /// Creates the rules for a log with this sealing, or for a log in clear. A patient may also hold the
    /// claim that an older scheme took.
    #[must_use]
    pub const fn of(sealing: Option<Sealing>) -> Self {
        Self {
            sealing,
            accepts_older: true,
        }
    }

    /// Like [`EmailClaims::of`], but accepts only claims of the current scheme. With these rules,
    /// [`rebuild`](eventstore::claim::table::rebuild()) replaces the claims of older schemes.
    #[must_use]
    pub const fn current(sealing: Sealing) -> Self {
        Self {
            sealing: Some(sealing),
            accepts_older: false,
        }
    }

    /// Returns the claim on an email.
    pub(crate) fn claim(&self, email: &str) -> Claim {
        match &self.sealing {
            Some(sealing) => Claim::keyed(&sealing.keyring(), EMAIL, &mailbox_key(email)),
            None => Claim::on(EMAIL, &email_claim_key(email)),
        }
    }

    /// Returns the claims on an email that older schemes took instead, if they differ from the current claim
    /// and the log may have them.
    pub(crate) fn older(&self, email: &str) -> Vec<Claim> {
        if !self.accepts_older {
            return Vec::new();
        }
        let plain = match &self.sealing {
            Some(sealing) if sealing.has_plain_claims() => Some(email_claim_key(email)),
            Some(_) => return Vec::new(),
            None => None,
        };
        plain
            .into_iter()
            .chain(older_email_claim_key(email))
            .map(|key| Claim::on(EMAIL, &key))
            .collect()
    }
}

impl ClaimRules for EmailClaims {
    fn held(&self, events: &[NewEvent]) -> Result<Vec<HeldClaim>, ClaimRulesError> {
        let mut details = None;
        for event in events {
            let event = PatientEvent::from_stored(&event.event_type, &event.event_version, &event.payload)?;
            details = evolve(details, event);
        }
        let held = details.map(|details| HeldClaim {
            claim: self.claim(&details.email),
            older: self.older(&details.email),
        });
        Ok(held.into_iter().collect())
    }
}
