//! Cross-origin requests. Cross-origin requests are allowed only for the configured origins, and are disabled
//! if no origin is configured.
//!
//! The API uses no cookies, so credentials are not allowed. A page sends its access token itself.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower::{Layer, ServiceExt};
use tower_http::cors::CorsLayer;
use url::{Origin as Parsed, Url};

use crate::headers::IDEMPOTENCY_KEY;
use crate::host::Hosts;
use crate::method::taken;

/// How long a browser may cache a preflight response.
const MAX_AGE: Duration = Duration::from_hours(1);

/// Request headers that a page may send, besides the headers of the application.
const REQUEST_HEADERS: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    IDEMPOTENCY_KEY,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("x-request-id"),
];

/// Response headers that a page may read, besides the headers of the application.
const RESPONSE_HEADERS: [HeaderName; 8] = [
    header::ETAG,
    header::LINK,
    header::LOCATION,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("x-request-id"),
];

/// Origin (RFC 6454) as browsers send it: `https://app.example.com`, with a port unless it is the scheme's
/// default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// Error for a text that is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an origin as browsers send it, such as https://app.example.com or http://localhost:3000; * is not allowed"
)]
pub struct NoOrigin;

impl FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let text = text.trim();
        let origin = Url::parse(text).map_err(|_| NoOrigin)?.origin();
        let exact = matches!(&origin, Parsed::Tuple(scheme, ..) if ["http", "https"].contains(&scheme.as_str()))
            && origin.ascii_serialization() == text
            && !text.contains('*');
        if !exact {
            return Err(NoOrigin);
        }
        HeaderValue::from_str(text).map(Self).map_err(|_| NoOrigin)
    }
}

/// Origins whose pages may use the API.
#[derive(Debug, Clone)]
pub struct Cors(Vec<HeaderValue>);

impl Cors {
    /// Allows pages of these origins.
    #[must_use]
    pub fn of(origins: impl IntoIterator<Item = Origin>) -> Self {
        Self(origins.into_iter().map(|Origin(origin)| origin).collect())
    }

    /// Allowed origins, as browsers send them.
    pub(crate) fn origins(&self) -> &[HeaderValue] {
        &self.0
    }
}

/// State of the middleware.
#[derive(Debug, Clone)]
pub(crate) struct Sharing {
    layer: CorsLayer,
    hosts: Arc<Hosts>,
}

impl Sharing {
    /// Allows the origins of `cors`. Pages may send `request_headers`, and read `response_headers`.
    pub(crate) fn new(
        cors: &Cors,
        request_headers: &[HeaderName],
        response_headers: &[HeaderName],
        hosts: Arc<Hosts>,
    ) -> Self {
        let methods: Vec<Method> = taken().filter_map(|name| name.parse().ok()).collect();
        let layer = CorsLayer::new()
            .allow_origin(cors.origins().to_vec())
            .allow_methods(methods)
            .allow_headers([&REQUEST_HEADERS[..], request_headers].concat())
            .expose_headers([&RESPONSE_HEADERS[..], response_headers].concat())
            .max_age(MAX_AGE);
        Self { layer, hosts }
    }
}

/// Middleware that answers preflight requests and adds the CORS headers to other responses.
pub(crate) async fn share(State(sharing): State<Sharing>, request: Request, next: Next) -> Response {
    // The layer treats every OPTIONS request as a preflight. The routes answer other OPTIONS requests, and
    // reject preflights for other hosts.
    let is_options = request.method() == Method::OPTIONS;
    if is_options && !(is_preflight(&request) && sharing.hosts.check(&request, false).is_ok()) {
        return next.run(request).await;
    }
    match sharing.layer.layer(next).oneshot(request).await {
        Ok(response) => response.into_response(),
        Err(never) => match never {},
    }
}

/// Whether the request is a preflight as defined by the Fetch standard: a browser asks for permission before
/// it sends a page's request.
fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    headers.contains_key(header::ORIGIN) && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send_and_nothing_else() {
        for text in [
            "https://app.example.com",
            " http://localhost:3000 ",
            "https://[::1]:8443",
        ] {
            text.parse::<Origin>().unwrap();
        }
        for text in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://app.example.com/",
            "https://app.example.com:443",
            "https://APP.example.com",
            "https://*.example.com",
            "https://me@app.example.com",
            "ftp://app.example.com",
            "file:///tmp",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
