//! Trace of a request: the header `traceparent` in both directions, and the span of the request.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use eventstore::TraceContext;
use eventstore::trace::{self, TARGET};
use tracing::{Span, field};
use uuid::fmt::Hyphenated;

use super::request_id::RequestId;
use crate::method::logged_name;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Trace context of a request.
#[derive(Debug, Clone)]
pub struct RequestTrace {
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

    /// Begins the request's span, in the client's trace or, if `starts_trace`, in a new trace.
    pub(super) fn begin(
        headers: &HeaderMap,
        method: &Method,
        route: Option<&str>,
        starts_trace: bool,
        id: RequestId,
    ) -> Self {
        let given = given(headers);
        if given.is_none() && !starts_trace {
            return Self {
                span: Span::none(),
                given,
            };
        }
        let span = trace::span(given.as_ref(), || {
            let method = logged_name(method);
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
                request.id = id.write(&mut [0; Hyphenated::LENGTH]),
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
    #[must_use]
    pub fn context(&self) -> Option<TraceContext> {
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
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
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
