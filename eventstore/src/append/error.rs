//! Why an append was not made.

use std::sync::Arc;

use crate::coalesce::Rejected;
use crate::error::Error;

/// Why an append was not made.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The aggregate has another number of events than the append expected.
    #[error("conflict: expected {expected} events, found {actual}")]
    Conflict {
        /// How many events it was expected to have.
        expected: u64,
        /// How many it has.
        actual: u64,
    },
    /// Another aggregate holds a claim that the append takes.
    #[error("a claim is taken")]
    ClaimTaken,
    /// As many appends wait as may; nothing was written.
    #[error("overloaded: too many appends wait")]
    Overloaded,
    /// The process is shutting down; nothing was written.
    #[error("shutting down")]
    ShutDown,
    /// The log is damaged where the append would have gone on; nothing was written.
    #[error("the append was rejected: {0}")]
    Damaged(Arc<Error>),
    /// The clock of this process is wrong; nothing was written.
    #[error("the append was rejected: {0}")]
    ClockWrong(Arc<Error>),
    /// The database did not take it; nothing was written.
    #[error("the log is unavailable: {0}")]
    Unavailable(Arc<Error>),
    /// The connection was lost at the commit and the database has not come back since: it is open whether it
    /// was written.
    #[error("it is unknown whether the log was written: {0}")]
    InDoubt(Arc<Error>),
    /// The batch ended without an answer: a defect. It is open whether it was written.
    #[error("the append ended without an answer")]
    Failed,
    /// The append can never be made.
    #[error("invalid append: {0}")]
    Invalid(&'static str),
}

impl AppendError {
    /// A word for it, for those who count.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "conflict",
            Self::ClaimTaken => "claim_taken",
            Self::Overloaded => "overloaded",
            Self::ShutDown => "shutting_down",
            Self::Damaged(_) => "damaged",
            Self::ClockWrong(_) => "clock_wrong",
            Self::Unavailable(_) => "unavailable",
            Self::InDoubt(_) => "in_doubt",
            Self::Failed => "failed",
            Self::Invalid(_) => "invalid",
        }
    }
}

impl AppendError {
    /// What an error of the log means for an append of which nothing was written.
    pub(super) fn unwritten(error: Arc<Error>) -> Self {
        match &*error {
            Error::ClockWrong { .. } => Self::ClockWrong(error),
            error_of_log if error_of_log.is_damage() => Self::Damaged(error),
            _ => Self::Unavailable(error),
        }
    }
}

impl From<Rejected> for AppendError {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Overloaded => Self::Overloaded,
            Rejected::ShutDown => Self::ShutDown,
            Rejected::Failed => Self::Failed,
        }
    }
}
