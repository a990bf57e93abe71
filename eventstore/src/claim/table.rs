//! The table of claims, held against the log.
//!
//! Both are read in the order of the aggregates' ids, a page at a time, so that memory does not grow with
//! them.

mod page;
mod rebuild;
mod verify;

use serde::Serialize;

pub use rebuild::{Rebuilt, rebuild};
pub use verify::{ClaimsVerified, verify};

/// Aggregates that are read at a time.
const PAGE: u32 = 1000;
/// Differences that are named.
const NAMED: usize = 10;

/// What is wrong with a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum ClaimProblem {
    /// The aggregate has taken a claim that nobody holds in the table.
    Missing,
    /// The aggregate has taken a claim that another holds in the table, who has not taken it.
    HeldBy {
        /// The id of the other.
        holder: String,
    },
    /// The aggregate has taken a claim that another has taken too: both have the same value.
    Shared {
        /// The id of the other.
        with: String,
    },
    /// The aggregate holds a claim in the table that it has not taken, or has given up.
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

/// An aggregate with a claim that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClaimMisfit {
    /// The aggregate's id.
    pub aggregate_id: String,
    /// What is wrong.
    #[serde(flatten)]
    pub problem: ClaimProblem,
}

/// Differences: how many, and the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ClaimMisfits {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub first: Vec<ClaimMisfit>,
}

impl ClaimMisfits {
    fn add(&mut self, misfit: ClaimMisfit) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(misfit);
        }
    }
}
