//! Claims of patients. They keep the emails of active patients unique, by the rule of the log.

use domain::{
    EmailUniqueness, PATIENT_ERASED, PatientDetails, PatientEvent, email_claim_key, evolve,
    older_email_claim_key,
};
use eventstore::{Claim, ClaimRules, ClaimRulesError, HeldClaim, NewEvent, Sealing};

/// State of the claims of a sealed log, stored as the version of the claim rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimScheme {
    /// The log was unencrypted, and may still have claims whose hashes have no secret. The rule is
    /// [`EmailUniqueness::Email`].
    Upgrading,
    /// Patients hold the claims of this rule.
    Rule(EmailUniqueness),
    /// The rule is being changed.
    Changing {
        /// The rule that applies to all patients.
        from: EmailUniqueness,
        /// The rule that applies to new values, and later to all patients.
        to: EmailUniqueness,
    },
}

/// The log has claims of a scheme that this program does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log has claims of the unknown version {0}: it needs a newer program")]
pub struct UnknownScheme(i64);

impl Default for ClaimScheme {
    fn default() -> Self {
        Self::Rule(EmailUniqueness::default())
    }
}

impl ClaimScheme {
    /// Returns the number that the log stores: 1 while the log is upgraded, 2 to 4 for a rule, and two of
    /// these digits for a change.
    #[must_use]
    pub const fn version(self) -> i64 {
        const fn digit(rule: EmailUniqueness) -> i64 {
            match rule {
                EmailUniqueness::Email => 2,
                EmailUniqueness::EmailAndName => 3,
                EmailUniqueness::Off => 4,
            }
        }
        match self {
            Self::Upgrading => 1,
            Self::Rule(rule) => digit(rule),
            Self::Changing { from, to } => 10 * digit(from) + digit(to),
        }
    }

    /// Returns the scheme with a version.
    ///
    /// # Errors
    ///
    /// [`UnknownScheme`].
    pub fn of(version: i64) -> Result<Self, UnknownScheme> {
        let rules = EmailUniqueness::ALL;
        let changes = rules
            .into_iter()
            .flat_map(|from| rules.map(|to| Self::Changing { from, to }));
        [Self::Upgrading]
            .into_iter()
            .chain(rules.map(Self::Rule))
            .chain(changes.filter(|change| !matches!(change, Self::Changing { from, to } if from == to)))
            .find(|scheme| scheme.version() == version)
            .ok_or(UnknownScheme(version))
    }

    /// Returns the rule that applies to all patients.
    #[must_use]
    pub const fn rule(self) -> EmailUniqueness {
        match self {
            Self::Upgrading => EmailUniqueness::Email,
            Self::Rule(rule) | Self::Changing { from: rule, .. } => rule,
        }
    }
}

/// The kind of claim that a rule reserves.
const fn kind(rule: EmailUniqueness) -> &'static str {
    match rule {
        EmailUniqueness::Email | EmailUniqueness::Off => "patient.email",
        EmailUniqueness::EmailAndName => "patient.email+name",
    }
}

/// Claim rules for email addresses: an active patient holds the claim on its address or, by the rule of the
/// log, on its address and name.
///
/// In a sealed log, claims are hashes with a secret of the keyring, so the address cannot be guessed from the
/// table of claims. In an unencrypted log, they are hashes of the address without a secret.
#[derive(Debug, Clone)]
pub struct EmailClaims {
    /// The sealing of the log, and the scheme of its claims; `None` for an unencrypted log.
    sealed: Option<(Sealing, ClaimScheme)>,
    /// The claims that patients hold or may hold.
    accepted: Accepted,
}

/// Which claims [`EmailClaims`] accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepted {
    /// The claims of the scheme.
    Scheme,
    /// Only the claims of this rule.
    Only(EmailUniqueness),
    /// The claims of the rule `required` and, if they are still there, the claims of the rule `optional`.
    Both {
        required: EmailUniqueness,
        optional: EmailUniqueness,
    },
}

impl EmailClaims {
    /// Creates the rules for a log with this sealing, or for an unencrypted log.
    ///
    /// # Errors
    ///
    /// [`UnknownScheme`].
    pub fn of(sealing: Option<Sealing>) -> Result<Self, UnknownScheme> {
        let sealed = sealing.map(|sealing| {
            let scheme = ClaimScheme::of(sealing.claims())?;
            Ok((sealing, scheme))
        });
        Ok(Self {
            sealed: sealed.transpose()?,
            accepted: Accepted::Scheme,
        })
    }

    /// Creates rules that accept only the claims of the rule that applies. With these rules,
    /// [`rebuild`](eventstore::claim::table::rebuild()) deletes all other claims. `scheme` is the scheme of
    /// the log during the rebuild.
    #[must_use]
    pub const fn only(sealing: Sealing, scheme: ClaimScheme) -> Self {
        Self {
            sealed: Some((sealing, scheme)),
            accepted: Accepted::Only(scheme.rule()),
        }
    }

    /// Creates the rules with which [`rebuild`](eventstore::claim::table::rebuild()) gives all patients the
    /// claims of the rule `to`, and keeps the claims of the rule `from`.
    #[must_use]
    pub const fn taking(sealing: Sealing, from: EmailUniqueness, to: EmailUniqueness) -> Self {
        Self {
            sealed: Some((sealing, ClaimScheme::Changing { from, to })),
            accepted: Accepted::Both {
                required: to,
                optional: from,
            },
        }
    }

    /// Returns the rule that applies.
    pub(crate) fn rule(&self) -> EmailUniqueness {
        self.sealed
            .as_ref()
            .map_or(EmailUniqueness::Email, |(_, scheme)| scheme.rule())
    }

    /// Returns the claim on an email, under the rule [`EmailUniqueness::Email`].
    pub(crate) fn claim(&self, email: &str) -> Claim {
        match &self.sealed {
            Some((sealing, _)) => keyed(sealing, EmailUniqueness::Email, &domain::mailbox_key(email)),
            None => Claim::on(kind(EmailUniqueness::Email), &email_claim_key(email)),
        }
    }

    /// Returns the claims on an email that older schemes took instead, if they differ from the current claim
    /// and the log may have them.
    pub(crate) fn older(&self, email: &str) -> Vec<Claim> {
        let plain = match &self.sealed {
            Some((_, ClaimScheme::Upgrading)) => Some(email_claim_key(email)),
            Some(_) => return Vec::new(),
            None => None,
        };
        plain
            .into_iter()
            .chain(older_email_claim_key(email))
            .map(|key| Claim::on(kind(EmailUniqueness::Email), &key))
            .collect()
    }

    /// Returns the claims of a patient with these details.
    pub(super) fn of_details(&self, details: &PatientDetails) -> Vec<HeldClaim> {
        let Some((sealing, scheme)) = &self.sealed else {
            return vec![HeldClaim {
                older: self.older(&details.email),
                ..HeldClaim::new(self.claim(&details.email))
            }];
        };
        let (required, optional) = match (self.accepted, *scheme) {
            (Accepted::Only(rule), _) | (Accepted::Scheme, ClaimScheme::Rule(rule)) => (rule, None),
            (Accepted::Both { required, optional }, _) => (required, Some(optional)),
            (Accepted::Scheme, ClaimScheme::Upgrading) => (EmailUniqueness::Email, None),
            (Accepted::Scheme, ClaimScheme::Changing { from, to }) => (from, Some(to)),
        };
        let claim = |rule: EmailUniqueness| Some(keyed(sealing, rule, &rule.key(details)?));
        let older = match self.accepted {
            Accepted::Scheme => self.older(&details.email),
            Accepted::Only(_) | Accepted::Both { .. } => Vec::new(),
        };
        let required = claim(required).map(|claim| HeldClaim {
            older,
            ..HeldClaim::new(claim)
        });
        let optional = optional.and_then(claim).map(|claim| HeldClaim {
            optional: true,
            ..HeldClaim::new(claim)
        });
        required.into_iter().chain(optional).collect()
    }
}

fn keyed(sealing: &Sealing, rule: EmailUniqueness, key: &str) -> Claim {
    Claim::keyed(&sealing.keyring(), kind(rule), key)
}

impl ClaimRules for EmailClaims {
    fn held(&self, events: &[NewEvent]) -> Result<Vec<HeldClaim>, ClaimRulesError> {
        let mut details = None;
        for event in events {
            let event = PatientEvent::from_stored(&event.event_type, &event.event_version, &event.payload)?;
            details = evolve(details, event);
        }
        Ok(details
            .as_ref()
            .map_or_else(Vec::new, |details| self.of_details(details)))
    }

    fn version(&self) -> Option<i64> {
        self.sealed.as_ref().map(|(_, scheme)| scheme.version())
    }

    /// Whether the patient is erased. A claim of an erased patient would let an attacker with the keyring
    /// test guessed emails.
    fn releases_all(&self, events: &[NewEvent]) -> bool {
        events.iter().any(|event| event.event_type == PATIENT_ERASED)
    }

    /// Whether the log is being upgraded. Registrations are compared with its plain claims until all plain
    /// claims are replaced.
    fn keeps_earlier_claims(&self) -> bool {
        matches!(self.sealed, Some((_, ClaimScheme::Upgrading)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_scheme_has_a_version_of_its_own() {
        let known: Vec<_> = (0..100)
            .filter_map(|version| ClaimScheme::of(version).ok())
            .collect();
        let versions: BTreeSet<_> = known.iter().map(|scheme| scheme.version()).collect();
        assert_eq!((known.len(), versions.len()), (10, 10));
        for scheme in known {
            assert_eq!(ClaimScheme::of(scheme.version()), Ok(scheme));
        }
        assert_eq!(ClaimScheme::of(22), Err(UnknownScheme(22)));
    }
}
