//! Security headers that every response has.

use axum::http::header::{self, Entry};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

/// Defaults that a response may override, for example for pages that load scripts and for cacheable files.
const DEFAULTS: [(HeaderName, HeaderValue); 2] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    // Most responses contain personal data, and the other responses are not worth caching.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

const ALWAYS: [(HeaderName, HeaderValue); 4] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    // For browsers that do not support `frame-ancestors`.
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// One year, for this host only: its subdomains might not serve TLS.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Whether the API is served over TLS by this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OverTls(pub(crate) bool);

/// Adds the headers to a response.
pub(crate) fn secure(mut response: Response, OverTls(tls): OverTls) -> Response {
    let headers = response.headers_mut();
    headers.reserve(ALWAYS.len() + DEFAULTS.len() + 1);
    for (name, value) in ALWAYS {
        headers.insert(name, value);
    }
    for (name, value) in DEFAULTS {
        if let Entry::Vacant(vacant) = headers.entry(name) {
            vacant.insert(value);
        }
    }
    if tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    response
}
