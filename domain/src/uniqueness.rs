//! Which active patients may share an email address.

use std::fmt;
use std::str::FromStr;

use crate::values::person_key;
use crate::{PatientDetails, mailbox_key};

/// Which active patients may share an email address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EmailUniqueness {
    /// No patients: each patient has a different address.
    #[default]
    Email,
    /// Patients with different names, such as the members of a family. Two names are equal if they have the
    /// same words in any order, regardless of case and accents.
    EmailAndName,
    /// All patients.
    Off,
}

/// A malformed rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected email, email+name or off")]
pub struct EmailUniquenessError;

impl EmailUniqueness {
    /// All rules.
    pub const ALL: [Self; 3] = [Self::Email, Self::EmailAndName, Self::Off];

    /// Name of the rule in settings and commands.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::EmailAndName => "email+name",
            Self::Off => "off",
        }
    }

    /// Returns the key that two active patients must not share, or `None` if the rule is `off`.
    ///
    /// ```
    /// # use domain::{EmailUniqueness, PatientDetails};
    /// # let patient = |name: &str, email: &str| PatientDetails {
    /// #     name: name.into(), email: email.into(), phone: "123".into(), document_url: "https://example.com".into(),
    /// # };
    /// let rule = EmailUniqueness::EmailAndName;
    /// let ana = rule.key(&patient("Ana Pérez", "perez@example.com"));
    /// assert_eq!(ana, rule.key(&patient("PEREZ, ana", "Perez@example.com")));
    /// assert_ne!(ana, rule.key(&patient("Eva Pérez", "perez@example.com")));
    /// ```
    #[must_use]
    pub fn key(self, details: &PatientDetails) -> Option<String> {
        let mailbox = || mailbox_key(&details.email);
        match self {
            Self::Email => Some(mailbox()),
            Self::EmailAndName => {
                // An address contains no NUL.
                Some(format!("{}\0{}", mailbox(), person_key(&details.name)))
            }
            Self::Off => None,
        }
    }
}

impl fmt::Display for EmailUniqueness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EmailUniqueness {
    type Err = EmailUniquenessError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = Self::ALL.into_iter().find(|rule| rule.name() == text);
        rule.ok_or(EmailUniquenessError)
    }
}
