//! Problem types, and the table of the problem types that any request can have.

use axum::http::StatusCode;

/// Problem type (RFC 9457).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Last segment of the `type`. It is stable and never reused.
    pub slug: &'static str,
    /// Status of the responses.
    pub status: StatusCode,
    /// Name of the problem type, for people.
    pub title: &'static str,
    /// The `detail` of a response without more specific information: what happened, and what to do about it.
    pub detail: &'static str,
    /// Number of seconds that a client waits before it repeats the request. `None` if that does not help.
    pub retry_after: Option<u64>,
}

impl Kind {
    /// Defines a problem type. Requests with status 429 or 503 can be repeated after one second.
    #[must_use]
    pub const fn new(
        status: StatusCode,
        slug: &'static str,
        title: &'static str,
        detail: &'static str,
    ) -> Self {
        let may_succeed_soon = matches!(status.as_u16(), 429 | 503);
        Self {
            slug,
            status,
            title,
            detail,
            retry_after: if may_succeed_soon { Some(1) } else { None },
        }
    }

    /// The same problem type, with the number of seconds that a client waits before it repeats the request.
    #[must_use]
    pub const fn with_retry_after(self, seconds: u64) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }

    /// Returns the `type`, which is the address of the problem's page.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/problems/{}", self.slug)
    }
}

/// Defines a constant for each problem type.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident, $status:ident, $slug:literal, $title:literal, $detail:literal;)+) => {
        $($(#[$doc])* pub const $name: Kind = Kind::new(StatusCode::$status, $slug, $title, $detail);)+
    };
}

kinds! {
    /// The body is not valid JSON, or is nested too deeply.
    MALFORMED_JSON, BAD_REQUEST, "malformed-json", "Malformed JSON",
        "The body is not valid JSON.";
    /// The body is not declared as JSON.
    UNSUPPORTED_MEDIA_TYPE, UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type",
        "Send the body as application/json.";
    /// The body has a content coding.
    UNSUPPORTED_CONTENT_ENCODING, UNSUPPORTED_MEDIA_TYPE, "unsupported-content-encoding", "Unsupported content encoding",
        "Send the body without Content-Encoding.";
    /// The body exceeds the maximum size.
    TOO_LARGE, PAYLOAD_TOO_LARGE, "too-large", "Body too large",
        "The body is too large.";
    /// The body did not arrive in time.
    BODY_TOO_SLOW, REQUEST_TIMEOUT, "body-too-slow", "Body too slow",
        "The body did not arrive in time. The request was not processed. Try again.";
    /// The `Host` header is missing, repeated or malformed.
    INVALID_HOST, BAD_REQUEST, "invalid-host", "Invalid Host",
        "Send exactly one Host header, with the name or address of the service, and its port if it is not the default.";
    /// The host of the request is not a host of this service.
    HOST_NOT_ALLOWED, MISDIRECTED_REQUEST, "host-not-allowed", "Host not allowed",
        "This service does not accept requests for this host. Use a name of the service, such as localhost, or have the operator \
         add this host to ALLOWED_HOSTS.";
    /// A page from another origin sent the request.
    CROSS_ORIGIN, FORBIDDEN, "cross-origin", "Sent by another site",
        "A page from another origin sent this request. The request was not processed.";
    /// Fields of the request are invalid.
    INVALID_REQUEST, UNPROCESSABLE_ENTITY, "invalid-request", "Invalid request",
        "Some fields are invalid; see errors.";
    /// The request has no valid access token.
    UNAUTHORIZED, UNAUTHORIZED, "unauthorized", "Access token needed",
        "Send a valid access token in the header Authorization: Bearer.";
    /// The role of the access token does not permit the request.
    FORBIDDEN, FORBIDDEN, "forbidden", "Not allowed",
        "The role of this access token does not permit this request.";
    /// The path does not exist.
    NOT_FOUND, NOT_FOUND, "not-found", "Not found",
        "This path does not exist.";
    /// The path does not support the method.
    METHOD_NOT_ALLOWED, METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed",
        "This path does not support this method; the Allow header lists the methods that it supports.";
    /// The client has used up its quota.
    TOO_MANY_REQUESTS, TOO_MANY_REQUESTS, "too-many-requests", "Too many requests",
        "This client has used up its quota. The request was not processed. Retry after the number of seconds in Retry-After.";
    /// Too many requests are already waiting.
    OVERLOADED, SERVICE_UNAVAILABLE, "overloaded", "Overloaded",
        "Too many requests are already waiting. The request was not processed. Try again.";
    /// It is unknown whether the request had an effect.
    OUTCOME_UNKNOWN, SERVICE_UNAVAILABLE, "outcome-unknown", "Outcome unknown",
        "The request did not finish in time, and its outcome is unknown. Repeat it with the same Idempotency-Key, or read first.";
    /// A defect of the service.
    INTERNAL, INTERNAL_SERVER_ERROR, "internal", "Internal error",
        "An internal error occurred. The X-Request-Id header identifies the request in the logs.";
}
