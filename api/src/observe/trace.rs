//! The trace that a request is part of: `traceparent` in and out, and the span of the request.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use eventstore::TraceContext;
use eventstore::trace::{self, TARGET};
use tracing::{Span, field};

use super::RequestId;
use crate::method::name_of;
use crate::paths::is_watched_by_machines;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request's place in a trace.
#[derive(Debug, Clone)]
pub(crate) struct RequestTrace {
    /// None if traces are not exported.
    span: Span,
    /// What the client sent.
    given: Option<TraceContext>,
}

impl RequestTrace {
    /// That of a request which is only told apart, and gets no span.
    pub(super) fn given(headers: &HeaderMap) -> Self {
        Self {
            span: Span::none(),
            given: given(headers),
        }
    }

    /// Begins the request's span: part of the client's trace, or of a new one.
    pub(super) fn begin(headers: &HeaderMap, method: &Method, route: Option<&str>, id: &RequestId) -> Self {
        let given = given(headers);
        // What machines ask for every few seconds is worth no trace, unless its client wants one.
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

    /// The span, for what is done in the request.
    pub(super) const fn span(&self) -> &Span {
        &self.span
    }

    /// What continues this trace: the request's span if it is exported, else what the client sent.
    pub(crate) fn context(&self) -> Option<TraceContext> {
        trace::context(&self.span).or(self.given)
    }

    /// Says how the request was answered.
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

    /// Adds `traceparent` to the answer, if the request is part of a trace.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let value = self.context().map(|context| context.to_string());
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(TRACEPARENT, value);
        }
    }
}

/// The client's own context; a header that is not valid, or there twice, counts as none (W3C Trace Context,
/// 4.3).
fn given(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let context = values.next()?.to_str().ok()?.parse().ok()?;
    values.next().is_none().then_some(context)
}
