//! Comparison of the claims table with the log.
//!
//! The table and the log are read in order of aggregate id, one page at a time, so memory use does not grow
//! with their size.

mod page;
mod rebuild;
mod verify;

use serde::Serialize;

use super::ClaimRules;
use crate::error::{Error, Result};

pub use rebuild::{Rebuilt, rebuild};
pub use verify::{ClaimsVerified, verify};

/// Number of rows read at a time.
const PAGE: u32 = 1000;
/// Maximum number of differences that are listed.
const NAMED: usize = 10;

/// Fails if the claim rules of the log have another version than `rules`.
fn check_version(rules: &dyn ClaimRules, found: i64) -> Result<()> {
    match rules.version() {
        Some(version) if version != found => Err(Error::OtherClaims),
        _ => Ok(()),
    }
}

/// The problem with a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum ClaimProblem {
    /// The aggregate has taken a claim that has no holder in the table.
    Missing,
    /// The aggregate has taken a claim, but the table assigns it to another aggregate that has not taken it.
    HeldBy {
        /// Id of the other aggregate.
        holder: String,
    },
    /// Two aggregates have taken the same claim, so both have the same value.
    Shared {
        /// Id of the other aggregate.
        with: String,
    },
    /// The table assigns the aggregate a claim that it has not taken, or has released.
    Unexpected,
}

impl std::fmt::Display for ClaimProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("its claim is missing"),
            Self::HeldBy { holder } => write!(f, "its claim is held by {holder}"),
            Self::Shared { with } => write!(f, "{with} has the same value"),
            Self::Unexpected => f.write_str("it holds a claim that is not its own"),
        }
    }
}

/// An aggregate with an incorrect claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClaimMismatch {
    /// Id of the aggregate.
    pub aggregate_id: String,
    /// The problem with the claim.
    #[serde(flatten)]
    pub problem: ClaimProblem,
}

/// The number of differences, and the first few differences.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ClaimMismatches {
    /// Total number of differences.
    pub count: u64,
    /// The first differences.
    pub first: Vec<ClaimMismatch>,
}

impl ClaimMismatches {
    fn add(&mut self, mismatch: ClaimMismatch) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(mismatch);
        }
    }
}
