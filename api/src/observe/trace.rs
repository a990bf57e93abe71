//! Trace of a request: the header `traceparent` in both directions, and the span of the request.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use eventstore::TraceContext;
use eventstore::trace::{self, TARGET};
use tracing::{Span, field};

use super::RequestId;
use crate::method::name_of;
use crate::paths::is_watched_by_machines;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Trace context of a request.
#[derive(Debug, Clone)]
pub(crate) struct RequestTrace {
    /// Span of the request. Disabled if traces are not exported.
    span: Span,
    /// Trace context that the client sent.
    given: Option<TraceContext>,
}

impl RequestTrace {
    /// Returns the client's trace context for a rejected request, which gets no span.
    pub(super) fn given(headers: &HeaderMap) -> Self {
        Self {
            span: Span::none(),
            given: given(headers),
        }
    }

    /// Begins the request's span, in the client's trace or in a new trace.
    pub(super) fn begin(headers: &HeaderMap, method: &Method, route: Option<&str>, id: &RequestId) -> Self {
        let given = given(headers);
        // Periodic requests by machines are not traced unless the client sends a trace context.
        if given.is_none() && route.is_some_and(is_watched_by_machines) {
            return Self {
                span: Span::none(),
                given,
            };
        }
        let span = trace::span(given.as_ref(), || {
            let method = name_of(method).unwrap_or("_OTHER");
            let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
            tracing::info_span!(
                target: TARGET,
                parent: None,
                "request",
                otel.name = name,
                otel.kind = "server",
                http.request.method = method,
                http.route = route,
                http.response.status_code = field::Empty,
                error.type = field::Empty,
                otel.status_code = field::Empty,
                request.id = id.0,
            )
        });
        Self { span, given }
    }

    /// Span for the work of the request.
    pub(super) const fn span(&self) -> &Span {
        &self.span
    }

    /// Context that continues this trace: the request's span if it is exported, otherwise the context that
    /// the client sent.
    pub(crate) fn context(&self) -> Option<TraceContext> {
        trace::context(&self.span).or(self.given)
    }

    /// Records the status of the response.
    pub(super) fn answered(&self, status: StatusCode) {
        if self.span.is_none() {
            return;
        }
        self.span
            .record("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            self.span.record("error.type", status.as_str());
            self.span.record("otel.status_code", "ERROR");
        }
    }

    /// Adds `traceparent` to the response if the request is part of a trace.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let value = self.context().map(|context| context.to_string());
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(TRACEPARENT, value);
        }
    }
}

/// Trace context that the client sent. `None` if the header is malformed or sent more than once (W3C Trace
/// Context, 4.3).
fn given(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let context = values.next()?.to_str().ok()?.parse().ok()?;
    values.next().is_none().then_some(context)
}
