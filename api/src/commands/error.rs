//! Errors of commands, from the errors of cqrs-es, the append queue and the log.

use chrono::NaiveDate;
use cqrs_es::AggregateError;
use domain::PatientError;
use eventstore::{AppendError, Timestamp};
use uuid::Uuid;

/// Reason why a command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// An active patient has this email.
    #[error("the email is taken")]
    EmailTaken,
    /// The key was used for another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyKeyReused,
    /// A registration with this key is in progress.
    #[error("a registration with this key is in progress")]
    InProgress,
    /// The patient does not exist.
    #[error("no such patient")]
    NotFound,
    /// The patient was deleted.
    #[error("the patient was deleted")]
    Deleted,
    /// The patient was erased.
    #[error("the patient was erased")]
    Erased,
    /// The patient has a hold, so it cannot be erased.
    #[error("the patient must be kept until the end of {until} (UTC), because it has a hold")]
    Held {
        /// Last day of the hold.
        until: NaiveDate,
    },
    /// The retention period of the patient has not ended, so it cannot be erased.
    #[error("{}", retained(*until))]
    Retained {
        /// End of the period; `None` if the patient is not deleted, so the period has not started.
        until: Option<Timestamp>,
    },
    /// The log is unencrypted, so no patient can be erased or held.
    #[error("the log is unencrypted")]
    LogInClear,
    /// The patient's current sequence is not an expected sequence.
    #[error("the patient is at sequence {actual}")]
    SequenceMismatch {
        /// Current sequence of the patient.
        actual: u64,
    },
    /// The append queue is full.
    #[error("overloaded")]
    Overloaded,
    /// The process is shutting down.
    #[error("shutting down")]
    ShuttingDown,
    /// Earlier commands for the same patient took too long, or every attempt conflicted with a command of
    /// another process.
    #[error("too many commands for the patient are in progress")]
    Contended,
    /// The clock of this process is wrong. Nothing was written.
    #[error("the clock of this process is wrong")]
    ClockWrong,
    /// The log is damaged. Nothing was written.
    #[error("the log is damaged")]
    LogDamaged,
    /// An event of the patient cannot be read. Nothing was written.
    #[error("an event of the patient cannot be read")]
    Unreadable,
    /// The keyring of this process does not open the log. Nothing was written.
    #[error("the keyring does not open the log")]
    KeyringUnusable,
    /// The database is unreachable. Nothing was written.
    #[error("the database is unreachable")]
    Unavailable,
    /// The database is read-only. Nothing was written.
    #[error("the database is read-only")]
    ReadOnly,
    /// The database file was deleted or replaced. Nothing was written.
    #[error("the database file was deleted or replaced")]
    DatabaseFileLost,
    /// The event may or may not have been written.
    #[error("the outcome is unknown")]
    OutcomeUnknown,
    /// Defect, or unreadable log. Logged where it was detected.
    #[error("internal error")]
    Internal,
}

fn retained(until: Option<Timestamp>) -> String {
    match until {
        Some(until) => format!("the patient must be kept until {until}, the end of its retention period"),
        None => {
            "the patient must be kept: the retention period starts when the patient is deleted".to_owned()
        }
    }
}

/// Reason why cqrs-es did not execute a command.
pub(super) enum Refused {
    Business(PatientError),
    Conflict,
    /// The claim rules of the log have changed.
    OtherClaims,
    Failed(CommandError),
}

impl From<Refused> for CommandError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Failed(error) => error,
            Refused::Conflict | Refused::OtherClaims => Self::Contended,
            Refused::Business(PatientError::NotFound) => Self::NotFound,
            Refused::Business(PatientError::Deleted) => Self::Deleted,
            Refused::Business(PatientError::Erased) => Self::Erased,
            Refused::Business(PatientError::Held { until }) => Self::Held { until },
            Refused::Business(PatientError::SequenceMismatch { actual }) => Self::SequenceMismatch { actual },
            Refused::Business(PatientError::AlreadyRegistered) => Self::Internal,
        }
    }
}

/// Classifies an error of cqrs-es, and logs it if it is unexpected.
pub(super) fn refused(id: Uuid, error: AggregateError<PatientError>) -> Refused {
    let failed = |error| Refused::Failed(error);
    match error {
        AggregateError::UserError(error) => Refused::Business(error),
        AggregateError::AggregateConflict => Refused::Conflict,
        AggregateError::DatabaseConnectionError(error) => {
            tracing::error!(patient.id = %id, %error, "a patient's events could not be read");
            let store = error.downcast_ref::<eventstore::Error>();
            // mysql-es and sqlite-es report a lost connection by errors of their own.
            failed(store.map_or(CommandError::Unavailable, unavailable))
        }
        // The text of this error would quote the payload.
        AggregateError::DeserializationError(_) => {
            tracing::error!(patient.id = %id, "a patient's events have an unknown format");
            failed(CommandError::Unreadable)
        }
        AggregateError::UnexpectedError(error)
            if error
                .downcast_ref::<eventstore::Error>()
                .is_some_and(eventstore::Error::is_erased) =>
        {
            failed(CommandError::Erased)
        }
        AggregateError::UnexpectedError(error) => {
            if let Some(error) = error.downcast_ref::<AppendError>() {
                if matches!(error, AppendError::OtherClaims) {
                    return Refused::OtherClaims;
                }
                return failed(append_failed(id, error));
            }
            tracing::error!(patient.id = %id, %error, "a patient's events could not be read");
            let store = error.downcast_ref::<eventstore::Error>();
            failed(store.map_or(CommandError::Unavailable, unavailable))
        }
    }
}

/// Classifies an error of an append, and logs it if it is unexpected.
pub(super) fn append_failed(id: Uuid, error: &AppendError) -> CommandError {
    match error {
        AppendError::ClaimTaken => CommandError::EmailTaken,
        AppendError::Overloaded => CommandError::Overloaded,
        AppendError::ShutDown => CommandError::ShuttingDown,
        AppendError::Sealing(error) if error.is_erased() => CommandError::Erased,
        AppendError::Sealing(error) => {
            tracing::error!(patient.id = %id, %error, "an append was rejected");
            unavailable(error)
        }
        AppendError::OtherFormat | AppendError::RetiredKey => {
            tracing::error!(patient.id = %id, %error, "an append was rejected");
            CommandError::KeyringUnusable
        }
        AppendError::Unavailable(error) => unavailable(error),
        AppendError::ClockWrong(_) => CommandError::ClockWrong,
        AppendError::Damaged(cause) => {
            // The damage is logged once for the whole log, without the affected patients.
            tracing::error!(patient.id = %id, error = %cause, "an append was rejected");
            CommandError::LogDamaged
        }
        AppendError::InDoubt(_) | AppendError::Failed => CommandError::OutcomeUnknown,
        error => {
            tracing::error!(patient.id = %id, %error, "an append was rejected");
            CommandError::Internal
        }
    }
}

/// Classifies an error of the log before anything was written.
pub(super) fn unavailable(error: &eventstore::Error) -> CommandError {
    match error {
        eventstore::Error::ReadOnly(_) => CommandError::ReadOnly,
        eventstore::Error::FileLost { .. } => CommandError::DatabaseFileLost,
        eventstore::Error::Damaged { .. }
        | eventstore::Error::MissingHead
        | eventstore::Error::MissingFormat => CommandError::LogDamaged,
        eventstore::Error::Sealing(error) if error.is_of_one_event() => CommandError::LogDamaged,
        eventstore::Error::Sealing(_) => CommandError::KeyringUnusable,
        _ => CommandError::Unavailable,
    }
}
