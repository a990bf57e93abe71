//! API errors, and their mapping to problem types and HTTP statuses.

pub(crate) mod kinds;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use eventstore::Position;
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use kinds::Kind;

use crate::commands::CommandError;
use crate::headers::etag;

/// An invalid field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldProblem {
    /// Name of the field; empty for the body as a whole.
    #[schema(example = "email")]
    pub field: String,
    /// What the value must be, without naming the field, such as `must be 3 to 64 characters long`.
    #[schema(example = "must not be empty")]
    pub message: String,
    /// JSON pointer (RFC 6901) to the field; absent if the field is not in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "/email")]
    pub pointer: Option<String>,
}

impl FieldProblem {
    /// Creates the problem of a field that is not in the body.
    #[must_use]
    pub fn new(field: &str, message: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            message: message.into(),
            pointer: None,
        }
    }

    /// Creates the problem of a member of the body, or of the whole body if `member` is empty.
    #[must_use]
    pub fn in_body(member: &str, message: impl Into<String>) -> Self {
        let pointer = match member {
            "" => String::new(),
            _ => format!("/{}", member.replace('~', "~0").replace('/', "~1")),
        };
        Self {
            pointer: Some(pointer),
            ..Self::new(member, message)
        }
    }
}

/// Returns an unexpected name from a request as responses show it: at most 64 characters, without control
/// characters.
pub(crate) fn shown_name(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// An error of a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum ApiError {
    /// The body is not valid JSON. The text gives the place or the cause.
    MalformedJson(String),
    /// The body is not declared as `application/json`.
    UnsupportedMediaType,
    /// The body has a content coding, such as gzip.
    UnsupportedContentEncoding,
    /// The body exceeds this size, in bytes.
    TooLarge(usize),
    /// The body did not arrive in time.
    BodyTooSlow,
    /// The `Host` header is missing, repeated or malformed.
    InvalidHost,
    /// The service does not accept requests for this host.
    HostNotAllowed,
    /// A page from another origin sent the request through a browser.
    CrossOrigin,
    /// Fields are invalid.
    Invalid(Vec<FieldProblem>),
    /// An active patient has this email.
    EmailTaken,
    /// The `Idempotency-Key` was used for another request.
    IdempotencyKeyReused,
    /// A registration with the same `Idempotency-Key` is in progress.
    InProgress,
    /// The request has no access token.
    Unauthorized,
    /// The access token is unknown, invalid or no longer valid.
    InvalidToken,
    /// The token's role does not permit the request.
    Forbidden,
    /// No patient has or ever had this id.
    PatientNotFound,
    /// The patient was deleted.
    PatientDeleted,
    /// The patient has no event with this sequence.
    NoSuchSequence,
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
    /// There is no email about this event.
    NoSuchMail,
    /// The email is in this state and cannot be retried.
    NotToBeRetried(&'static str),
    /// The path does not exist.
    NoSuchRoute,
    /// The path does not support this method.
    MethodNotAllowed,
    /// The projection did not reach `Min-Position` in time. The position that it has reached is given here.
    NotProjectedYet(Position),
    /// The client has used up its quota, and may send another request in this many seconds.
    TooManyRequests(u64),
    /// The read table is being filled for the first time.
    NotFilled,
    /// Too many requests are already waiting.
    Overloaded,
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
    /// Several attempts failed because other commands for the same patient were recorded first.
    Contended,
    /// The database cannot be reached.
    Unavailable,
    /// The database accepts no writes.
    ReadOnly,
    /// The database file was deleted or replaced.
    DatabaseFileLost,
    /// It is unknown whether the write succeeded.
    OutcomeUnknown,
    /// A defect of the service.
    Internal,
}

/// RFC 9457 problem details.
#[derive(Debug, Serialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
}

impl ApiError {
    const fn kind(&self) -> &'static Kind {
        match self {
            Self::MalformedJson(_) => &kinds::MALFORMED_JSON,
            Self::UnsupportedMediaType => &kinds::UNSUPPORTED_MEDIA_TYPE,
            Self::UnsupportedContentEncoding => &kinds::UNSUPPORTED_CONTENT_ENCODING,
            Self::TooLarge(_) => &kinds::TOO_LARGE,
            Self::BodyTooSlow => &kinds::BODY_TOO_SLOW,
            Self::InvalidHost => &kinds::INVALID_HOST,
            Self::HostNotAllowed => &kinds::HOST_NOT_ALLOWED,
            Self::CrossOrigin => &kinds::CROSS_ORIGIN,
            Self::Invalid(_) => &kinds::INVALID_REQUEST,
            Self::EmailTaken => &kinds::EMAIL_TAKEN,
            Self::IdempotencyKeyReused => &kinds::IDEMPOTENCY_KEY_REUSED,
            Self::InProgress => &kinds::REQUEST_IN_PROGRESS,
            Self::NotFilled => &kinds::READ_TABLE_NOT_FILLED,
            Self::Unauthorized | Self::InvalidToken => &kinds::UNAUTHORIZED,
            Self::Forbidden => &kinds::FORBIDDEN,
            Self::PatientNotFound => &kinds::PATIENT_NOT_FOUND,
            Self::PatientDeleted => &kinds::PATIENT_DELETED,
            Self::NoSuchSequence => &kinds::SEQUENCE_NOT_FOUND,
            Self::NotRegisteredYet => &kinds::NOT_REGISTERED_YET,
            Self::PreconditionFailed(_) => &kinds::PRECONDITION_FAILED,
            Self::NoSuchProjection => &kinds::PROJECTION_NOT_FOUND,
            Self::NoSuchRebuild => &kinds::REBUILD_NOT_FOUND,
            Self::RebuildUnderWay(_) => &kinds::REBUILD_UNDER_WAY,
            Self::RebuildTooFar => &kinds::REBUILD_TOO_FAR,
            Self::NoSuchMail => &kinds::MAIL_NOT_FOUND,
            Self::NotToBeRetried(_) => &kinds::MAIL_NOT_TO_BE_RETRIED,
            Self::NoSuchRoute => &kinds::NOT_FOUND,
            Self::MethodNotAllowed => &kinds::METHOD_NOT_ALLOWED,
            Self::NotProjectedYet(_) => &kinds::NOT_PROJECTED_YET,
            Self::TooManyRequests(_) => &kinds::TOO_MANY_REQUESTS,
            Self::Overloaded => &kinds::OVERLOADED,
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
            Self::OutcomeUnknown => &kinds::OUTCOME_UNKNOWN,
            Self::Internal => &kinds::INTERNAL,
        }
    }

    /// Returns the `WWW-Authenticate` challenge (RFC 6750, section 3) of an error that concerns the access
    /// token.
    const fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::Unauthorized => Some("Bearer"),
            Self::InvalidToken => Some("Bearer error=\"invalid_token\""),
            Self::Forbidden => Some("Bearer error=\"insufficient_scope\""),
            _ => None,
        }
    }

    /// Returns what happened and what to do about it.
    fn detail(&self) -> String {
        match self {
            Self::MalformedJson(place) => format!("The body is not valid JSON: {place}."),
            Self::TooLarge(most) => format!("The body must have at most {most} bytes."),
            Self::PreconditionFailed(sequence) => {
                format!(
                    "The patient's current ETag is \"{sequence}\". Read the patient again before you retry."
                )
            }
            Self::TooManyOwnStreams(open) => {
                format!("This caller has {open} open streams, the maximum per caller. Close a stream first.")
            }
            Self::NotToBeRetried(state) => {
                format!("The email is {state}; only a pending, failed or dead email can be retried.")
            }
            _ => self.kind().detail.to_owned(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let kind = self.kind();
        let status = kind.status;
        let detail = self.detail();
        let (mut errors, mut position, mut location, mut current) = (Vec::new(), None, None, None);
        let mut wait = kind.retry_after();
        let challenge = self.challenge();
        match self {
            Self::Invalid(problems) => errors = problems,
            Self::NotProjectedYet(projected) => position = Some(projected),
            Self::TooManyRequests(seconds) => wait = Some(seconds),
            Self::RebuildUnderWay(place) => location = place.parse().ok(),
            Self::PreconditionFailed(sequence) => current = etag(sequence).parse().ok(),
            _ => {}
        }
        let problem = Problem {
            kind: kind.path(),
            title: kind.title,
            status: status.as_u16(),
            detail,
            errors,
            position,
        };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if *kind == kinds::UNSUPPORTED_CONTENT_ENCODING {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if status == StatusCode::REQUEST_TIMEOUT {
            // The rest of the body may never arrive (RFC 9110, section 15.5.9).
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(etag) = current {
            headers.insert(header::ETAG, etag);
        }
        if let Some(location) = location {
            headers.insert(header::LOCATION, location);
        }
        if let Some(seconds) = wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Maps a database error to an API error. The caller has already logged it.
impl From<&eventstore::Error> for ApiError {
    fn from(error: &eventstore::Error) -> Self {
        match error {
            eventstore::Error::ReadOnly(_) => Self::ReadOnly,
            eventstore::Error::FileLost { .. } => Self::DatabaseFileLost,
            eventstore::Error::Damaged { .. } | eventstore::Error::MissingHead => Self::LogDamaged,
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
            CommandError::SequenceMismatch { actual } => Self::PreconditionFailed(actual),
            CommandError::Overloaded => Self::Overloaded,
            CommandError::ShuttingDown => Self::ShuttingDown,
            CommandError::Contended => Self::Contended,
            CommandError::ClockWrong => Self::ClockWrong,
            CommandError::LogDamaged => Self::LogDamaged,
            CommandError::Unreadable => Self::PatientUnreadable,
            CommandError::Unavailable => Self::Unavailable,
            CommandError::ReadOnly => Self::ReadOnly,
            CommandError::DatabaseFileLost => Self::DatabaseFileLost,
            CommandError::OutcomeUnknown => Self::OutcomeUnknown,
            CommandError::Internal => Self::Internal,
        }
    }
}
