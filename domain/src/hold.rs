//! Holds: periods in which a patient must not be erased.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// A period in which a patient must not be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Last day of the hold, in UTC.
    pub until: NaiveDate,
    /// Reason for the hold.
    pub reason: HoldReason,
}

/// Reason for a hold. The reasons are the exceptions to the right to erasure in article 17(3) of the GDPR,
/// except freedom of expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// The data is needed to establish, exercise or defend a legal claim.
    LegalClaim,
    /// A law requires the data to be kept.
    LegalObligation,
    /// The data is needed for public health.
    PublicHealth,
    /// The data is needed for archiving, research or statistics in the public interest.
    Research,
}

impl Hold {
    /// Whether the hold applies on a day.
    #[must_use]
    pub fn applies_on(&self, day: NaiveDate) -> bool {
        day <= self.until
    }
}

impl HoldReason {
    /// All reasons.
    pub const ALL: [Self; 4] = [
        Self::LegalClaim,
        Self::LegalObligation,
        Self::PublicHealth,
        Self::Research,
    ];

    /// Name of the reason in events and requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LegalClaim => "legal_claim",
            Self::LegalObligation => "legal_obligation",
            Self::PublicHealth => "public_health",
            Self::Research => "research",
        }
    }
}
