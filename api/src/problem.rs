//! Errors as HTTP sees them: the one place that maps them to kinds of problems, and so to statuses.

pub(crate) mod kinds;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use eventstore::Position;
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use kinds::Kind;

use crate::commands::CommandError;

/// A field of a request that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldProblem {
    /// The field's name; empty for the body as a whole.
    #[schema(example = "email")]
    pub field: String,
    /// A sentence without a subject that a person can act on, such as `must be 3 to 64 characters long`.
    #[schema(example = "must not be empty")]
    pub message: String,
    /// Where in the body it is, as a JSON pointer (RFC 6901); nothing if it is not in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "/email")]
    pub pointer: Option<String>,
}

impl FieldProblem {
    /// The field and what is wrong with it.
    #[must_use]
    pub fn new(field: &str, message: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            message: message.into(),
            pointer: None,
        }
    }

    /// The member of the body and what is wrong with it; an empty name is that of the body as a whole.
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

/// The name of something that a client should not have sent, as far as an answer repeats it.
pub(crate) fn shown_name(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// What can go wrong with a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum ApiError {
    /// The body is not JSON.
    MalformedJson(String),
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// The body has a content coding, such as gzip.
    UnsupportedContentEncoding,
    /// The body is larger than allowed, in bytes.
    TooLarge(usize),
    /// The body was not there in time.
    BodyTooSlow,
    /// No `Host`, more than one, or one that is none.
    InvalidHost,
    /// The request is for a host that the service does not answer to.
    HostNotAllowed,
    /// A page of another origin makes a browser send the request.
    CrossOrigin,
    /// Fields were refused.
    Invalid(Vec<FieldProblem>),
    /// An active patient has that email.
    EmailTaken,
    /// The `Idempotency-Key` was used for another registration.
    IdempotencyKeyReused,
    /// A registration with the same `Idempotency-Key` is under way.
    InProgress,
    /// No access token.
    Unauthorized,
    /// An access token that is not known, or is not good, or no longer.
    InvalidToken,
    /// The token's role may not do this.
    Forbidden,
    /// No patient has that id, nor ever had.
    PatientNotFound,
    /// The patient was deleted.
    PatientDeleted,
    /// The patient has no event of that sequence.
    NoSuchSequence,
    /// Nobody was registered under that id at that moment.
    NotRegisteredYet,
    /// The patient is not in the state that `If-Match` names; the state it is in.
    PreconditionFailed(u64),
    /// There is no projection of that name.
    NoSuchProjection,
    /// There is no rebuild of that generation.
    NoSuchRebuild,
    /// The projection is being rebuilt already; where one sees how far that is.
    RebuildUnderWay(String),
    /// The rebuild's generation is served already, or it is over.
    RebuildTooFar,
    /// No mail was ever to tell of that event.
    NoSuchMail,
    /// The mail is in this state, which is none to be tried again from.
    NotToBeRetried(&'static str),
    /// There is nothing at that path.
    NoSuchRoute,
    /// The path does not take that method.
    MethodNotAllowed,
    /// The projection has not reached `Min-Position` in time; where it is.
    NotProjectedYet(Position),
    /// The client has used its quota; in how many seconds there is some again.
    TooManyRequests(u64),
    /// The read table was made before names could be searched.
    RebuildNeeded,
    /// Too much waits already.
    Overloaded,
    /// As many streams are open as may be.
    TooManyStreams,
    /// The caller has this many streams open, the most that one may have.
    TooManyOwnStreams(usize),
    /// The process is shutting down.
    ShuttingDown,
    /// The database cannot be reached.
    Unavailable,
    /// The database accepts no writes.
    ReadOnly,
    /// The file of the database was deleted or replaced.
    DatabaseFileLost,
    /// It is open whether the write was made.
    OutcomeUnknown,
    /// A defect.
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
            Self::RebuildNeeded => &kinds::REBUILD_NEEDED,
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
            Self::Unavailable => &kinds::UNAVAILABLE,
            Self::ReadOnly => &kinds::DATABASE_READ_ONLY,
            Self::DatabaseFileLost => &kinds::DATABASE_FILE_LOST,
            Self::OutcomeUnknown => &kinds::OUTCOME_UNKNOWN,
            Self::Internal => &kinds::INTERNAL,
        }
    }

    /// What is missing to be allowed (RFC 6750, section 3), if that is why the request is refused.
    const fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::Unauthorized => Some("Bearer"),
            Self::InvalidToken => Some("Bearer error=\"invalid_token\""),
            Self::Forbidden => Some("Bearer error=\"insufficient_scope\""),
            _ => None,
        }
    }

    /// A sentence that a person can act on.
    fn detail(&self) -> String {
        match self {
            Self::MalformedJson(place) => format!("The body is not valid JSON: {place}."),
            Self::TooLarge(most) => format!("The body may have at most {most} bytes."),
            Self::PreconditionFailed(sequence) => {
                format!("The patient's present ETag is \"{sequence}\". Read it again and decide anew.")
            }
            Self::TooManyOwnStreams(open) => {
                format!(
                    "This caller has {open} streams open, the most that one caller may have. Close one first."
                )
            }
            Self::NotToBeRetried(state) => {
                format!("The mail is {state}; only one that is dead or failed can be tried again.")
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
        let (mut errors, mut position, mut location) = (Vec::new(), None, None);
        let mut wait = kind.is_to_be_retried().then_some(1);
        let challenge = self.challenge();
        match self {
            Self::Invalid(problems) => errors = problems,
            Self::NotProjectedYet(projected) => position = Some(projected),
            Self::TooManyRequests(seconds) => wait = Some(seconds),
            Self::RebuildUnderWay(place) => location = place.parse().ok(),
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
            // What is left of the body may never come (RFC 9110, section 15.5.9).
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
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

/// What a failure of the database means to a client. Whoever calls this has logged it.
impl From<&eventstore::Error> for ApiError {
    fn from(error: &eventstore::Error) -> Self {
        match error {
            eventstore::Error::ReadOnly(_) => Self::ReadOnly,
            eventstore::Error::FileLost { .. } => Self::DatabaseFileLost,
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
            CommandError::Unavailable => Self::Unavailable,
            CommandError::ReadOnly => Self::ReadOnly,
            CommandError::DatabaseFileLost => Self::DatabaseFileLost,
            CommandError::OutcomeUnknown => Self::OutcomeUnknown,
            CommandError::Internal => Self::Internal,
        }
    }
}
