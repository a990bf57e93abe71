//! The optional access log, with one line per response.
//!
//! A line contains the route's template instead of the path, and neither the query, the caller nor an
//! address. It therefore contains no personal data.

use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::http::Method;
use axum::response::Response;
use tracing::field;
use uuid::fmt::Hyphenated;

use super::request_id::RequestId;
use super::trace::RequestTrace;
use crate::method::logged_name;

/// Received request, and the time at which it arrived.
#[derive(Clone, Copy)]
pub(super) struct ReceivedRequest<'r> {
    pub(super) method: &'r Method,
    /// Route template, or `(none)`.
    pub(super) route: &'r str,
    pub(super) started: Instant,
}

/// Logs a response. The size of a streamed response is omitted, because it is not known in advance.
pub(super) fn log(
    received: ReceivedRequest<'_>,
    response: &Response<Body>,
    id: RequestId,
    trace: &RequestTrace,
) {
    let trace = trace
        .context()
        .map(|context| field::display(format!("{:032x}", context.trace())));
    tracing::info!(
        parent: None,
        http.method = logged_name(received.method),
        http.route = received.route,
        http.status = response.status().as_u16(),
        http.bytes = response.body().size_hint().exact(),
        elapsed_us = u64::try_from(received.started.elapsed().as_micros()).unwrap_or(u64::MAX),
        request.id = id.write(&mut [0; Hyphenated::LENGTH]),
        trace_id = trace,
        "access"
    );
}
