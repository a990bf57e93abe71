//! Problem details (RFC 9457), and the errors that any request can have.

pub mod kinds;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

pub use kinds::Kind;

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
#[must_use]
pub fn shown_name(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// Error of a request that is independent of the application.
#[derive(Debug)]
pub enum RequestError {
    /// The body is not valid JSON. The text gives the place or the cause.
    MalformedJson(String),
    /// The body is not declared as JSON.
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
    /// The request has no access token.
    Unauthorized,
    /// The access token is unknown, invalid or no longer valid.
    InvalidToken,
    /// The token's role does not permit the request.
    Forbidden,
    /// The path does not exist.
    NotFound,
    /// The path does not support this method.
    MethodNotAllowed,
    /// The client has used up its quota, and may send another request in this many seconds.
    TooManyRequests(u64),
    /// Too many requests are already waiting.
    Overloaded,
    /// It is unknown whether the request had an effect.
    OutcomeUnknown,
    /// A defect of the service.
    Internal,
}

impl RequestError {
    /// Returns the problem type.
    #[must_use]
    pub const fn kind(&self) -> &'static Kind {
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
            Self::Unauthorized | Self::InvalidToken => &kinds::UNAUTHORIZED,
            Self::Forbidden => &kinds::FORBIDDEN,
            Self::NotFound => &kinds::NOT_FOUND,
            Self::MethodNotAllowed => &kinds::METHOD_NOT_ALLOWED,
            Self::TooManyRequests(_) => &kinds::TOO_MANY_REQUESTS,
            Self::Overloaded => &kinds::OVERLOADED,
            Self::OutcomeUnknown => &kinds::OUTCOME_UNKNOWN,
            Self::Internal => &kinds::INTERNAL,
        }
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let problem = Self::new(error.kind());
        // The challenges are defined in RFC 6750, section 3.
        match error {
            RequestError::MalformedJson(place) => {
                problem.with_detail(format!("The body is not valid JSON: {place}."))
            }
            RequestError::TooLarge(most) => {
                problem.with_detail(format!("The body must have at most {most} bytes."))
            }
            RequestError::UnsupportedContentEncoding => {
                problem.with_header(header::ACCEPT_ENCODING, "identity")
            }
            RequestError::Invalid(errors) => Self { errors, ..problem },
            RequestError::Unauthorized => problem.with_header(header::WWW_AUTHENTICATE, "Bearer"),
            RequestError::InvalidToken => {
                problem.with_header(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
            }
            RequestError::Forbidden => {
                problem.with_header(header::WWW_AUTHENTICATE, "Bearer error=\"insufficient_scope\"")
            }
            RequestError::TooManyRequests(seconds) => Self {
                retry_after: Some(seconds),
                ..problem
            },
            _ => problem,
        }
    }
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

/// Problem details of one response.
#[derive(Debug)]
#[must_use]
pub struct Problem {
    kind: &'static Kind,
    /// What happened and what to do about it. `None` for the text of the problem type.
    detail: Option<String>,
    errors: Vec<FieldProblem>,
    /// Additional member.
    member: Option<(&'static str, Value)>,
    header: Option<(HeaderName, HeaderValue)>,
    retry_after: Option<u64>,
}

impl Problem {
    /// Creates a problem with the texts of its type.
    pub const fn new(kind: &'static Kind) -> Self {
        Self {
            kind,
            detail: None,
            errors: Vec::new(),
            member: None,
            header: None,
            retry_after: kind.retry_after,
        }
    }

    /// Replaces the text of the problem type.
    pub fn with_detail(self, detail: String) -> Self {
        Self {
            detail: Some(detail),
            ..self
        }
    }

    /// Adds a member to the body. A problem has at most one such member.
    pub fn with_member(self, name: &'static str, value: impl Into<Value>) -> Self {
        Self {
            member: Some((name, value.into())),
            ..self
        }
    }

    /// Adds a header to the response, unless the value is not a valid header value. A problem has at most one
    /// such header.
    pub fn with_header(self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        Self {
            header: value.try_into().ok().map(|value| (name, value)),
            ..self
        }
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("type", &self.kind.path())?;
        members.serialize_entry("title", self.kind.title)?;
        members.serialize_entry("status", &self.kind.status.as_u16())?;
        members.serialize_entry("detail", self.detail.as_deref().unwrap_or(self.kind.detail))?;
        if !self.errors.is_empty() {
            members.serialize_entry("errors", &self.errors)?;
        }
        if let Some((name, value)) = &self.member {
            members.serialize_entry(name, value)?;
        }
        members.end()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status;
        let mut response = (status, Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::REQUEST_TIMEOUT {
            // The rest of the body may never arrive (RFC 9110, section 15.5.9).
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
