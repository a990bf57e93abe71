//! Errors as HTTP sees them: the one place that maps them to statuses.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use eventstore::Position;
use serde::Serialize;

use crate::commands::CommandError;

/// A field of a request that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldProblem {
    /// The field's name; empty for the body as a whole.
    pub field: String,
    /// A sentence without a subject that a person can act on, such as `must be 3 to 64 characters long`.
    pub message: String,
}

impl FieldProblem {
    /// The field and what is wrong with it.
    #[must_use]
    pub fn new(field: &str, message: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            message: message.into(),
        }
    }
}

/// What can go wrong with a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum ApiError {
    /// The body is not JSON.
    MalformedJson(String),
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// The body is larger than allowed, in bytes.
    TooLarge(usize),
    /// The body was not there in time.
    BodyTooSlow,
    /// Fields were refused.
    Invalid(Vec<FieldProblem>),
    /// An active patient has that email.
    EmailTaken,
    /// The `Idempotency-Key` was used for another registration.
    IdempotencyKeyReused,
    /// No access token, or one that is not known.
    Unauthorized,
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
    /// Too much waits already.
    Overloaded,
    /// As many streams are open as may be.
    TooManyStreams,
    /// The process is shutting down.
    ShuttingDown,
    /// The database cannot be reached.
    Unavailable,
    /// It is open whether the write was made.
    OutcomeUnknown,
    /// A defect.
    Internal,
}

/// RFC 9457 problem details.
#[derive(Debug, Serialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
}

impl ApiError {
    /// The status, the `type` and the title.
    #[expect(clippy::too_many_lines, reason = "a table")]
    const fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::MalformedJson(_) => (
                StatusCode::BAD_REQUEST,
                "/problems/malformed-json",
                "Malformed JSON",
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "/problems/unsupported-media-type",
                "Unsupported media type",
            ),
            Self::TooLarge(_) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "/problems/too-large",
                "Body too large",
            ),
            Self::BodyTooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "/problems/body-too-slow",
                "Body too slow",
            ),
            Self::Invalid(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "/problems/invalid-request",
                "Invalid request",
            ),
            Self::EmailTaken => (StatusCode::CONFLICT, "/problems/email-taken", "Email taken"),
            Self::IdempotencyKeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "/problems/idempotency-key-reused",
                "Idempotency-Key reused",
            ),
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "/problems/unauthorized",
                "Access token needed",
            ),
            Self::Forbidden => (StatusCode::FORBIDDEN, "/problems/forbidden", "Not allowed"),
            Self::PatientNotFound => (
                StatusCode::NOT_FOUND,
                "/problems/patient-not-found",
                "No such patient",
            ),
            Self::PatientDeleted => (StatusCode::GONE, "/problems/patient-deleted", "Patient deleted"),
            Self::NoSuchSequence => (
                StatusCode::NOT_FOUND,
                "/problems/sequence-not-found",
                "No such sequence",
            ),
            Self::NotRegisteredYet => (
                StatusCode::NOT_FOUND,
                "/problems/not-registered-yet",
                "Not registered yet",
            ),
            Self::PreconditionFailed(_) => (
                StatusCode::PRECONDITION_FAILED,
                "/problems/precondition-failed",
                "Changed meanwhile",
            ),
            Self::NoSuchProjection => (
                StatusCode::NOT_FOUND,
                "/problems/projection-not-found",
                "No such projection",
            ),
            Self::NoSuchRebuild => (
                StatusCode::NOT_FOUND,
                "/problems/rebuild-not-found",
                "No such rebuild",
            ),
            Self::RebuildUnderWay(_) => (
                StatusCode::CONFLICT,
                "/problems/rebuild-under-way",
                "Rebuild under way",
            ),
            Self::RebuildTooFar => (StatusCode::CONFLICT, "/problems/rebuild-too-far", "Too late"),
            Self::NoSuchMail => (StatusCode::NOT_FOUND, "/problems/mail-not-found", "No such mail"),
            Self::NotToBeRetried(_) => (
                StatusCode::CONFLICT,
                "/problems/mail-not-to-be-retried",
                "Not to be tried again",
            ),
            Self::NoSuchRoute => (StatusCode::NOT_FOUND, "/problems/not-found", "Not found"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "/problems/method-not-allowed",
                "Method not allowed",
            ),
            Self::NotProjectedYet(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "/problems/not-projected-yet",
                "Not there yet",
            ),
            Self::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "/problems/overloaded",
                "Overloaded",
            ),
            Self::TooManyStreams => (
                StatusCode::SERVICE_UNAVAILABLE,
                "/problems/too-many-streams",
                "Too many streams",
            ),
            Self::ShuttingDown => (
                StatusCode::SERVICE_UNAVAILABLE,
                "/problems/shutting-down",
                "Shutting down",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "/problems/unavailable",
                "Unavailable",
            ),
            Self::OutcomeUnknown => (
                StatusCode::SERVICE_UNAVAILABLE,
                "/problems/outcome-unknown",
                "Outcome unknown",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "/problems/internal",
                "Internal error",
            ),
        }
    }

    /// A sentence that a person can act on.
    fn detail(&self) -> String {
        let detail = match self {
            Self::MalformedJson(place) => return format!("The body is not valid JSON: {place}."),
            Self::TooLarge(most) => return format!("The body may have at most {most} bytes."),
            Self::PreconditionFailed(sequence) => {
                return format!(
                    "The patient's present ETag is \"{sequence}\". Read it again and decide anew."
                );
            }
            Self::NotToBeRetried(state) => {
                return format!("The mail is {state}; only one that is dead or failed can be tried again.");
            }
            Self::UnsupportedMediaType => "Send the body as application/json.",
            Self::BodyTooSlow => "The body did not arrive in time. Nothing was done; try again.",
            Self::Invalid(_) => "Some fields were refused; see errors.",
            Self::EmailTaken => "A registered patient has this email already.",
            Self::IdempotencyKeyReused => {
                "This Idempotency-Key was used for another registration. Use a new key for a new one."
            }
            Self::Unauthorized => "Send an access token that is known here, as Authorization: Bearer.",
            Self::Forbidden => "The role of this access token may not do this.",
            Self::PatientNotFound => {
                "No patient has this id. Ids are UUIDs, as given in the answer to the registration."
            }
            Self::PatientDeleted => "The patient with this id was deleted.",
            Self::NoSuchSequence => {
                "The patient has no event with this sequence. The first has 1; the history lists them all."
            }
            Self::NotRegisteredYet => "At that moment nobody was registered under this id yet.",
            Self::NoSuchProjection => "No projection has this name. GET /projections names them.",
            Self::NoSuchRebuild => "The projection was never rebuilt into this generation.",
            Self::RebuildUnderWay(_) => {
                "The projection is being rebuilt already; the Location header says where to see how far that is."
            }
            Self::RebuildTooFar => "The new generation is served already, or the rebuild is over.",
            Self::NoSuchMail => {
                "No mail was ever to tell of this event. GET /mail/deliveries lists those that are."
            }
            Self::NoSuchRoute => "There is nothing at this path.",
            Self::MethodNotAllowed => {
                "This path does not take this method; the Allow header names those that it takes."
            }
            Self::NotProjectedYet(_) => "The read table has not reached Min-Position yet. Try again.",
            Self::Overloaded => "Too many requests wait already. Nothing was done; try again.",
            Self::TooManyStreams => {
                "As many streams of events are open as may be at a time. Close one, or try again."
            }
            Self::ShuttingDown => "This process is shutting down. Nothing was done; try again.",
            Self::Unavailable => "The database cannot be reached. Nothing was done; try again.",
            Self::OutcomeUnknown => {
                "The request was not finished in time, and it is open whether it was done. Repeat it with the same \
                 Idempotency-Key, or read first."
            }
            Self::Internal => "Something is wrong on our side. The X-Request-Id header finds it in the logs.",
        };
        detail.to_owned()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, kind, title) = self.kind();
        let detail = self.detail();
        let (mut errors, mut position, mut location) = (Vec::new(), None, None);
        match self {
            Self::Invalid(problems) => errors = problems,
            Self::NotProjectedYet(projected) => position = Some(projected),
            Self::RebuildUnderWay(place) => location = place.parse().ok(),
            _ => {}
        }
        let problem = Problem {
            kind,
            title,
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
        if status == StatusCode::REQUEST_TIMEOUT {
            // What is left of the body may never come (RFC 9110, section 15.5.9).
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(location) = location {
            headers.insert(header::LOCATION, location);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::EmailTaken => Self::EmailTaken,
            CommandError::IdempotencyKeyReused => Self::IdempotencyKeyReused,
            CommandError::NotFound => Self::PatientNotFound,
            CommandError::Deleted => Self::PatientDeleted,
            CommandError::SequenceMismatch { actual } => Self::PreconditionFailed(actual),
            CommandError::Overloaded => Self::Overloaded,
            CommandError::ShuttingDown => Self::ShuttingDown,
            CommandError::Unavailable => Self::Unavailable,
            CommandError::OutcomeUnknown => Self::OutcomeUnknown,
            CommandError::Internal => Self::Internal,
        }
    }
}
