//! Errors of appends.

use std::sync::Arc;

use crate::coalesce::Rejected;
use crate::error::Error;

/// The reason why an append failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The aggregate does not have the number of events that the append expected.
    #[error("conflict: expected {expected} events, found {actual}")]
    Conflict {
        /// Expected number of events.
        expected: u64,
        /// Actual number of events.
        actual: u64,
    },
    /// The events were prepared for another format of the log, for example because the log was sealed
    /// meanwhile. Nothing was written.
    #[error("the events were prepared for another format of the log")]
    OtherFormat,
    /// The claims were prepared by rules of another version than the log's. Nothing was written.
    #[error("the claim rules of the log have changed")]
    OtherClaims,
    /// The new data key is wrapped with a retired wrapping key: this process has an older keyring. Nothing
    /// was written.
    #[error("the wrapping key is retired: this process has an older keyring")]
    RetiredKey,
    /// Another aggregate holds a claim that the append takes.
    #[error("a claim is taken")]
    ClaimTaken,
    /// The queue is full; nothing was written.
    #[error("overloaded: too many appends are waiting")]
    Overloaded,
    /// The process is shutting down; nothing was written.
    #[error("shutting down")]
    ShutDown,
    /// The log is damaged where the append would continue; nothing was written.
    #[error("the append was rejected: {0}")]
    Damaged(Arc<Error>),
    /// The clock of this process disagrees with its reference clock; nothing was written.
    #[error("the append was rejected: {0}")]
    ClockWrong(Arc<Error>),
    /// The personal data of the aggregate could not be sealed; nothing was written.
    #[error("the append was rejected: {0}")]
    Sealing(Arc<Error>),
    /// The database rejected the append or was unavailable; nothing was written.
    #[error("the log is unavailable: {0}")]
    Unavailable(Arc<Error>),
    /// The connection was lost at the commit, and the database has not answered since. It is unknown whether
    /// the append was written.
    #[error("it is unknown whether the log was written: {0}")]
    InDoubt(Arc<Error>),
    /// The batch ended without a result, which is a bug. It is unknown whether the append was written.
    #[error("the append ended without an answer")]
    Failed,
    /// The append is invalid and can never succeed.
    #[error("invalid append: {0}")]
    Invalid(&'static str),
}

impl AppendError {
    /// Returns a short name for metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "conflict",
            Self::OtherFormat => "other_format",
            Self::OtherClaims => "other_claims",
            Self::RetiredKey => "retired_key",
            Self::ClaimTaken => "claim_taken",
            Self::Overloaded => "overloaded",
            Self::ShutDown => "shutting_down",
            Self::Damaged(_) => "damaged",
            Self::ClockWrong(_) => "clock_wrong",
            Self::Sealing(_) => "sealing",
            Self::Unavailable(_) => "unavailable",
            Self::InDoubt(_) => "in_doubt",
            Self::Failed => "failed",
            Self::Invalid(_) => "invalid",
        }
    }
}

impl AppendError {
    /// Converts an error of the log into the error of an append that wrote nothing.
    pub(crate) fn unwritten(error: Arc<Error>) -> Self {
        match &*error {
            Error::ClockWrong { .. } => Self::ClockWrong(error),
            Error::Sealing(_) => Self::Sealing(error),
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
