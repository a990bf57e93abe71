//! API errors, and their mapping to problem types and HTTP statuses.

pub(crate) mod kinds;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::NaiveDate;
use eventstore::{Position, Timestamp};
use web::RequestError;
use web::headers::etag;
use web::problem::{Kind, Problem};

use crate::commands::CommandError;

/// Maximum number of positions in a detail.
const NAMED: usize = 10;

/// An error of a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum ApiError {
    /// An error that is independent of patients.
    Request(RequestError),
    /// An active patient has this email.
    EmailTaken,
    /// The `Idempotency-Key` was used for another request.
    IdempotencyKeyReused,
    /// A registration with the same `Idempotency-Key` is in progress.
    InProgress,
    /// No patient has or ever had this id.
    PatientNotFound,
    /// The patient was deleted.
    PatientDeleted,
    /// The patient was erased.
    PatientErased,
    /// The patient was not erased.
    NotErased,
    /// These stores still have data of the erased patient.
    ErasureIncomplete(Vec<&'static str>),
    /// The events of the erased patient at these positions stay unencrypted in the log.
    ErasurePartial(Vec<Position>),
    /// The patient has no hold.
    NotHeld,
    /// The patient has a hold until the end of this day, so it cannot be erased.
    PatientHeld(NaiveDate),
    /// The patient cannot be erased until this moment, the end of the retention period; `None` if the patient
    /// is not deleted.
    RetentionPeriod(Option<Timestamp>),
    /// The log is unencrypted, so no patient can be erased or held.
    LogInClear,
    /// The keyring of this process does not open the log.
    KeyringUnusable,
    /// The patient has no event with this sequence.
    NoSuchSequence,
    /// The log is not published.
    LogNotPublished,
    /// No checkpoint has been signed.
    NoCheckpointYet,
    /// No checkpoint of this size has been signed.
    NoSuchCheckpoint,
    /// The tile does not exist, or the newest checkpoint does not cover it.
    NoSuchTile,
    /// The newest checkpoint does not cover the event.
    NotCoveredYet,
    /// The patient was registered after the requested time.
    NotRegisteredYet,
    /// The patient's current sequence, given here, is not the sequence in `If-Match`.
    PreconditionFailed(u64),
    /// There is no projection with this name.
    NoSuchProjection,
    /// There is no rebuild of this generation.
    NoSuchRebuild,
    /// The projection is already being rebuilt. The address of that rebuild is given here.
    RebuildUnderWay(String),
    /// The rebuild's generation is already served, or the rebuild has ended.
    RebuildTooFar,
    /// This process is already verifying a projection.
    VerificationUnderWay,
    /// Neither the projection nor its rebuild has stopped at this event. Contains the position at which one
    /// of them has stopped, if any.
    NotStoppedThere(Option<Position>),
    /// There is no email about this event.
    NoSuchMail,
    /// The email is in this state and cannot be retried.
    NotToBeRetried(&'static str),
    /// The projection did not reach `Min-Position` in time. The position that it has reached is given here.
    NotProjectedYet(Position),
    /// The read table is being filled for the first time.
    NotFilled,
    /// The maximum number of streams is open.
    TooManyStreams,
    /// The caller has the maximum number of streams open. The maximum for one caller is given here.
    TooManyOwnStreams(usize),
    /// The process is shutting down.
    ShuttingDown,
    /// The clock of the process is wrong, so nothing is recorded.
    ClockWrong,
    /// The log, or the row that records where the log ends, was altered.
    LogDamaged,
    /// The stored position of the read table, or the generation that is served, was altered.
    ReadTableDamaged,
    /// The claims table names the wrong patient.
    ClaimsDamaged,
    /// An event of the patient cannot be read.
    PatientUnreadable,
    /// Earlier commands for the same patient took too long, or other commands were repeatedly recorded first.
    Contended,
    /// The database cannot be reached.
    Unavailable,
    /// The database accepts no writes.
    ReadOnly,
    /// The database file was deleted or replaced.
    DatabaseFileLost,
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl ApiError {
    const fn kind(&self) -> &'static Kind {
        match self {
            Self::Request(error) => error.kind(),
            Self::EmailTaken => &kinds::EMAIL_TAKEN,
            Self::IdempotencyKeyReused => &kinds::IDEMPOTENCY_KEY_REUSED,
            Self::InProgress => &kinds::REQUEST_IN_PROGRESS,
            Self::NotFilled => &kinds::READ_TABLE_NOT_FILLED,
            Self::PatientNotFound => &kinds::PATIENT_NOT_FOUND,
            Self::PatientDeleted => &kinds::PATIENT_DELETED,
            Self::PatientErased => &kinds::PATIENT_ERASED,
            Self::NotErased => &kinds::NOT_ERASED,
            Self::NotHeld => &kinds::NOT_HELD,
            Self::PatientHeld(_) => &kinds::PATIENT_HELD,
            Self::RetentionPeriod(_) => &kinds::RETENTION_PERIOD,
            Self::ErasureIncomplete(_) => &kinds::ERASURE_INCOMPLETE,
            Self::ErasurePartial(_) => &kinds::ERASURE_PARTIAL,
            Self::LogInClear => &kinds::LOG_IN_CLEAR,
            Self::KeyringUnusable => &kinds::KEYRING_UNUSABLE,
            Self::NoSuchSequence => &kinds::SEQUENCE_NOT_FOUND,
            Self::LogNotPublished => &kinds::LOG_NOT_PUBLISHED,
            Self::NoCheckpointYet => &kinds::NO_CHECKPOINT_YET,
            Self::NoSuchCheckpoint => &kinds::CHECKPOINT_NOT_FOUND,
            Self::NoSuchTile => &kinds::TILE_NOT_FOUND,
            Self::NotCoveredYet => &kinds::NOT_COVERED_YET,
            Self::NotRegisteredYet => &kinds::NOT_REGISTERED_YET,
            Self::PreconditionFailed(_) => &kinds::PRECONDITION_FAILED,
            Self::NoSuchProjection => &kinds::PROJECTION_NOT_FOUND,
            Self::NoSuchRebuild => &kinds::REBUILD_NOT_FOUND,
            Self::RebuildUnderWay(_) => &kinds::REBUILD_UNDER_WAY,
            Self::RebuildTooFar => &kinds::REBUILD_TOO_FAR,
            Self::VerificationUnderWay => &kinds::VERIFICATION_UNDER_WAY,
            Self::NotStoppedThere(_) => &kinds::NOT_STOPPED_THERE,
            Self::NoSuchMail => &kinds::MAIL_NOT_FOUND,
            Self::NotToBeRetried(_) => &kinds::MAIL_NOT_TO_BE_RETRIED,
            Self::NotProjectedYet(_) => &kinds::NOT_PROJECTED_YET,
            Self::TooManyStreams => &kinds::TOO_MANY_STREAMS,
            Self::TooManyOwnStreams(_) => &kinds::TOO_MANY_OWN_STREAMS,
            Self::ShuttingDown => &kinds::SHUTTING_DOWN,
            Self::ClockWrong => &kinds::CLOCK_WRONG,
            Self::LogDamaged => &kinds::LOG_DAMAGED,
            Self::ReadTableDamaged => &kinds::READ_TABLE_DAMAGED,
            Self::ClaimsDamaged => &kinds::CLAIMS_DAMAGED,
            Self::PatientUnreadable => &kinds::PATIENT_UNREADABLE,
            Self::Contended => &kinds::CONTENDED,
            Self::Unavailable => &kinds::UNAVAILABLE,
            Self::ReadOnly => &kinds::DATABASE_READ_ONLY,
            Self::DatabaseFileLost => &kinds::DATABASE_FILE_LOST,
        }
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        let problem = Self::new(error.kind());
        match error {
            ApiError::Request(error) => error.into(),
            ApiError::NotProjectedYet(projected) => problem.with_member("position", projected.get()),
            ApiError::PatientHeld(until) => problem
                .with_detail(format!("The patient has a hold until the end of {until} (UTC)."))
                .with_member("until", until.to_string()),
            ApiError::RetentionPeriod(Some(until)) => problem
                .with_detail(format!("The retention period of the patient ends at {until}."))
                .with_member("until", until.to_string()),
            ApiError::RebuildUnderWay(place) => problem.with_header(header::LOCATION, place),
            ApiError::NotStoppedThere(Some(stopped)) => problem.with_detail(format!(
                "The projection has not stopped at this position. It has stopped at position {stopped}."
            )),
            ApiError::PreconditionFailed(sequence) => problem
                .with_detail(format!(
                    "The patient's current ETag is \"{sequence}\". Read the patient again before you retry."
                ))
                .with_header(header::ETAG, etag(sequence)),
            ApiError::TooManyOwnStreams(open) => problem.with_detail(format!(
                "This caller has {open} open streams, the maximum per caller. Close a stream first."
            )),
            ApiError::ErasureIncomplete(pending) => problem.with_detail(format!(
                "The erasure is not complete. Still pending: {}. Try again later.",
                pending.join(", ")
            )),
            ApiError::ErasurePartial(positions) => {
                let first: Vec<_> = positions.iter().take(NAMED).map(Position::to_string).collect();
                problem.with_detail(format!(
                    "Events of the patient that stay unencrypted in the log: {}. Their first positions: {}.",
                    positions.len(),
                    first.join(", ")
                ))
            }
            ApiError::NotToBeRetried(state) => problem.with_detail(format!(
                "The email is {state}; only a pending, failed or dead email can be retried."
            )),
            _ => problem,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

/// Maps a database error to an API error. The caller has already logged it.
impl From<&eventstore::Error> for ApiError {
    fn from(error: &eventstore::Error) -> Self {
        match error {
            eventstore::Error::ReadOnly(_) => Self::ReadOnly,
            eventstore::Error::FileLost { .. } => Self::DatabaseFileLost,
            eventstore::Error::Damaged { .. }
            | eventstore::Error::MissingHead
            | eventstore::Error::MissingFormat => Self::LogDamaged,
            eventstore::Error::Sealing(error) if error.is_of_one_event() => Self::LogDamaged,
            eventstore::Error::Sealing(_) => Self::KeyringUnusable,
            eventstore::Error::BadCheckpoint { .. } | eventstore::Error::NoSuchGeneration { .. } => {
                Self::ReadTableDamaged
            }
            eventstore::Error::NotFilled { .. } => Self::NotFilled,
            eventstore::Error::ClockWrong { .. } => Self::ClockWrong,
            _ => Self::Unavailable,
        }
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::EmailTaken => Self::EmailTaken,
            CommandError::IdempotencyKeyReused => Self::IdempotencyKeyReused,
            CommandError::InProgress => Self::InProgress,
            CommandError::NotFound => Self::PatientNotFound,
            CommandError::Deleted => Self::PatientDeleted,
            CommandError::Erased => Self::PatientErased,
            CommandError::Held { until } => Self::PatientHeld(until),
            CommandError::Retained { until } => Self::RetentionPeriod(until),
            CommandError::LogInClear => Self::LogInClear,
            CommandError::KeyringUnusable => Self::KeyringUnusable,
            CommandError::SequenceMismatch { actual } => Self::PreconditionFailed(actual),
            CommandError::Overloaded => RequestError::Overloaded.into(),
            CommandError::ShuttingDown => Self::ShuttingDown,
            CommandError::Contended => Self::Contended,
            CommandError::ClockWrong => Self::ClockWrong,
            CommandError::LogDamaged => Self::LogDamaged,
            CommandError::Unreadable => Self::PatientUnreadable,
            CommandError::Unavailable => Self::Unavailable,
            CommandError::ReadOnly => Self::ReadOnly,
            CommandError::DatabaseFileLost => Self::DatabaseFileLost,
            CommandError::OutcomeUnknown => RequestError::OutcomeUnknown.into(),
            CommandError::Internal => RequestError::Internal.into(),
        }
    }
}
