//! The access log: one line for each answer, if it is switched on.
//!
//! A line holds the route's template and not the path, and neither the query, nor the caller, nor an address:
//! nothing in it is personal data, unless a client puts some into its own `X-Request-Id`.

use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::http::Method;
use axum::response::Response;
use tracing::field;

use super::{RequestId, RequestTrace};
use crate::method::name_of;

/// What was asked, and when.
#[derive(Clone, Copy)]
pub(super) struct Asked<'r> {
    pub(super) method: &'r Method,
    /// The route's template, or `(none)`.
    pub(super) route: &'r str,
    pub(super) started: Instant,
}

/// Logs an answer. The size of a stream is not known when it begins, and is left out.
pub(super) fn log(asked: Asked<'_>, response: &Response<Body>, id: &RequestId, trace: &RequestTrace) {
    let trace = trace
        .context()
        .map(|context| field::display(format!("{:032x}", context.trace())));
    tracing::info!(
        parent: None,
        http.method = name_of(asked.method).unwrap_or("_OTHER"),
        http.route = asked.route,
        http.status = response.status().as_u16(),
        http.bytes = response.body().size_hint().exact(),
        elapsed_us = u64::try_from(asked.started.elapsed().as_micros()).unwrap_or(u64::MAX),
        request.id = id.0,
        trace_id = trace,
        "access"
    );
}
