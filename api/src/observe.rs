//! Middleware for every request: a request id, a time limit, metrics, a trace, and a log entry if the service
//! failed. Requests that this middleware rejects get a request id and are counted in the metrics, but have no
//! span.

mod access_log;
mod trace;

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, State};
use axum::http::{HeaderName, HeaderValue, Method, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use eventstore::Clock;
use futures::FutureExt;
use tracing::{Instrument, field};
use uuid::{ClockSequence, NoContext, Uuid};

use crate::Api;
use crate::access::Caller;
use crate::headers::MIN_POSITION;
use crate::limit::Standing;
use crate::metrics::{self, InFlight};
use crate::paths::{is_command, is_read_of_a_patient, is_unlimited};
use crate::problem::ApiError;
use crate::secure::{OverTls, secure};

use access_log::Asked;
pub(crate) use trace::RequestTrace;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Id of a request: the client's `X-Request-Id` if it is 1 to 128 visible ASCII characters, otherwise a new
/// UUID.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    /// Generates an id. Ids may be guessable, so no random bits of the operating system are needed.
    fn fresh(clock: &dyn Clock) -> Uuid {
        let millis = clock.now().as_micros().unsigned_abs() / 1_000;
        let random = fastrand::u128(..).to_be_bytes();
        let mut bits = [0; 10];
        bits.copy_from_slice(&random[..10]);
        uuid::Builder::from_unix_timestamp_millis(millis, &bits).into_uuid()
    }

    fn of<B>(request: &Request<B>, clock: &dyn Clock) -> Self {
        let given = request
            .headers()
            .get(X_REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()));
        Self(given.map_or_else(|| Self::fresh(clock).to_string(), str::to_owned))
    }
}

/// Generates a UUIDv7 of the current time. It is unique without coordination, and ordered by time to the
/// millisecond.
pub(crate) fn new_id(clock: &dyn Clock) -> Uuid {
    new_id_in_order(clock, NoContext)
}

/// Like [`new_id`], but ids from the same `order` are in the order of their generation.
pub(crate) fn new_id_in_order(
    clock: &dyn Clock,
    order: impl ClockSequence<Output = impl Into<u128>>,
) -> Uuid {
    let micros = clock.now().as_micros().unsigned_abs();
    let nanos = u32::try_from(micros % 1_000_000 * 1_000).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(order, micros / 1_000_000, nanos))
}

/// The middleware. Logs 5xx responses as warnings and all others at level `debug`. Logs and metrics contain
/// the route's template instead of the path, because the path may contain data that the client should not
/// have put there.
pub(crate) async fn observe(State(api): State<Api>, mut request: Request<Body>, next: Next) -> Response {
    let id = RequestId::of(&request, api.clock.as_ref());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let template = route.as_ref().map(MatchedPath::as_str);
    let route = template.unwrap_or("(none)");
    let (started, _in_flight) = (Instant::now(), InFlight::begin());
    let asked = Asked {
        method: &method,
        route,
        started,
    };
    let caller = api.access.caller_with_newest_keys(request.headers()).await;
    let (standing, admitted) = admit(&api, route, &caller, &request);
    // Rejected requests skip the remaining work, which leaves more capacity for the other requests.
    let admitted = admitted.and_then(|()| vet(&api, route, &request)).and_then(|()| {
        let hopeless = is_command(&method, route) && api.commands.is_full();
        if hopeless {
            Err(ApiError::Overloaded)
        } else {
            Ok(())
        }
    });
    if let Err(refusal) = admitted {
        let trace = RequestTrace::given(request.headers());
        return told(&api, asked, refuse(refusal, asked), standing, &id, &trace);
    }
    let trace = RequestTrace::begin(request.headers(), &method, template, &id);
    let span = tracing::info_span!(
        "request", request.id = id.0, http.method = %method, http.route = route, trace_id = field::Empty
    );
    if let Some(context) = trace.context() {
        span.record("trace_id", format_args!("{:032x}", context.trace()));
    }
    let shared = is_shared_read(&method, route, &request);
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(trace.clone());

    let handling = next.run(request).instrument(span.clone());
    let handling = handling.instrument(trace.span().clone());
    let handling = async {
        if shared {
            AssertUnwindSafe(handling).catch_unwind().await.ok()
        } else {
            // The handler runs in its own task, which continues after a disconnect or a timeout. Work in
            // progress is finished, and no database connection is abandoned in the middle of a response.
            tokio::spawn(handling).await.ok()
        }
    };
    let response = match tokio::time::timeout(api.options.request_timeout, handling).await {
        Ok(Some(response)) => response,
        Ok(None) => {
            span.in_scope(|| tracing::error!("a request handler panicked"));
            // The response does not contain the panic's message.
            ApiError::Internal.into_response()
        }
        Err(_) => ApiError::OutcomeUnknown.into_response(),
    };
    let (status, elapsed) = (response.status(), started.elapsed());
    metrics::answered(&method, route, status, elapsed);
    trace.answered(status);
    span.in_scope(|| {
        if status.is_server_error() {
            tracing::warn!(http.status = status.as_u16(), ?elapsed, "a request failed");
        } else {
            tracing::debug!(http.status = status.as_u16(), ?elapsed, "a request was answered");
        }
    });
    told(&api, asked, response, standing, &id, &trace)
}

/// Rejects a command before routing if the append queue is full. Under overload, most requests are rejected,
/// and the cost of rejecting them reduces the capacity for accepted requests. Returns `None` if the request
/// may proceed, or if rejecting it requires the full middleware.
pub(crate) fn turn_away<B>(api: &Api, request: &Request<B>) -> Option<Response> {
    let (method, path) = (request.method(), request.uri().path());
    if !is_command(method, path) || !api.commands.is_full() || api.options.cors.is_some() {
        return None;
    }
    let caller = api.access.caller_at_once(request.headers())?;
    let (started, _in_flight) = (Instant::now(), InFlight::begin());
    let id = RequestId::of(request, api.clock.as_ref());
    let (standing, admitted) = api.limits.count(&caller, request.extensions(), request.headers());
    let refusal = admitted.and_then(|()| vet(api, path, request)).err();
    let asked = Asked {
        method,
        route: path,
        started,
    };
    let response = refuse(refusal.unwrap_or(ApiError::Overloaded), asked);
    let trace = RequestTrace::given(request.headers());
    let response = told(api, asked, response, standing, &id, &trace);
    Some(secure(response, OverTls(api.options.over_tls)))
}

/// Counts a rejected request in the metrics and returns its response.
fn refuse(refusal: ApiError, asked: Asked<'_>) -> Response {
    let response = refusal.into_response();
    metrics::answered(
        asked.method,
        asked.route,
        response.status(),
        asked.started.elapsed(),
    );
    response
}

/// Adds the rate limit headers, the request id and the trace context to a response. Logs the response if the
/// access log is enabled.
fn told(
    api: &Api,
    asked: Asked<'_>,
    mut response: Response,
    standing: Standing,
    id: &RequestId,
    trace: &RequestTrace,
) -> Response {
    if api.options.access_log {
        access_log::log(asked, &response, id, trace);
    }
    standing.tell(response.headers_mut());
    with_names(response, id, trace)
}

/// Counts the request against its client's rate limits, and returns whether it may proceed. Health checks are
/// not limited.
fn admit(
    api: &Api,
    route: &str,
    caller: &Caller,
    request: &Request<Body>,
) -> (Standing, Result<(), ApiError>) {
    if is_unlimited(route) {
        return (Standing::default(), Ok(()));
    }
    api.limits.count(caller, request.extensions(), request.headers())
}

/// Rejects a request for a host that is not accepted, and an unsafe request from a page of another origin.
fn vet<B>(api: &Api, route: &str, request: &Request<B>) -> Result<(), ApiError> {
    api.hosts.check(request, is_unlimited(route))?;
    api.origins.check(request)
}

/// Adds the headers that identify the request: the request id and the trace context.
fn with_names(mut response: Response, id: &RequestId, trace: &RequestTrace) -> Response {
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    trace.tell(response.headers_mut());
    response
}

/// Whether the request is a shared read. Shared reads are batched and have no separate connection, so they
/// can be dropped at any time. A request with `?at=` reads the past, and a request with `Min-Position` waits,
/// so neither is a shared read.
fn is_shared_read(method: &Method, route: &str, request: &Request<Body>) -> bool {
    is_read_of_a_patient(method, route)
        && request.uri().query().is_none()
        && !request.headers().contains_key(MIN_POSITION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_the_past_or_waits_or_writes_is_no_shared_read() {
        let shared =
            |request: Request<Body>| is_shared_read(&request.method().clone(), "/patients/{id}", &request);
        let ask = |method: Method, uri: &str| {
            Request::builder()
                .method(method)
                .uri(uri)
                .body(Body::empty())
                .unwrap()
        };
        assert!(shared(ask(Method::GET, "/patients/1")));
        assert!(shared(ask(Method::HEAD, "/patients/1")));
        assert!(!shared(ask(Method::GET, "/patients/1?at=2026-01-01T00:00:00Z")));
        assert!(!shared(ask(Method::DELETE, "/patients/1")));
        let mut waits = ask(Method::GET, "/patients/1");
        waits.headers_mut().insert(MIN_POSITION, HeaderValue::from(1));
        assert!(!shared(waits));
    }
}
