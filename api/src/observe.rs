//! What every request gets: an id, a time limit, a place in the metrics and in a trace, and a line in the log
//! if it failed on our side. What is refused because too much waits already gets the id and is counted, and
//! no more.

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

/// The request's id: the client's own `X-Request-Id` if it is 1 to 128 visible ASCII characters, else a new
/// UUID.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    /// It need not be hard to guess, so the operating system is not asked for its random bits.
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

/// A UUIDv7 of the present moment: unique without asking anyone, and in the order of time, to the
/// millisecond.
pub(crate) fn new_id(clock: &dyn Clock) -> Uuid {
    new_id_in_order(clock, NoContext)
}

/// The same in the order in which they are asked of `order`.
pub(crate) fn new_id_in_order(
    clock: &dyn Clock,
    order: impl ClockSequence<Output = impl Into<u128>>,
) -> Uuid {
    let micros = clock.now().as_micros().unsigned_abs();
    let nanos = u32::try_from(micros % 1_000_000 * 1_000).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(order, micros / 1_000_000, nanos))
}

/// The middleware. 5xx are logged as warnings, the rest at the level `debug`. The route's template is logged
/// and counted, not the path: a path may hold what a client should not have put there.
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
    // Nothing more is spent on what is refused here, and more is left for the others.
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
            // In a task of its own, which goes on when the client goes away or the time is up: what was begun
            // is finished, and no connection to the database is left in the middle of an answer.
            tokio::spawn(handling).await.ok()
        }
    };
    let response = match tokio::time::timeout(api.options.request_timeout, handling).await {
        Ok(Some(response)) => response,
        Ok(None) => {
            span.in_scope(|| tracing::error!("a request handler panicked"));
            // The panic's own text stays out of the answer.
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

/// Turns a command away that would find the queue full, before it is routed: where most of what comes is to
/// be refused, what that costs is taken from those who are not. Nothing if it may go on, or is not that
/// simple to refuse.
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

/// The answer to a request that is refused as it comes, which is counted and no more.
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

/// Tells with an answer how the client stands, and by what its request is found again.
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

/// Counts the request against what its client may ask for, and says whether it may go on. Who looks after the
/// health of the service may ask for it at any time.
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

/// Refuses a request that is not for this service, and one that a page of another origin makes a browser
/// send.
fn vet<B>(api: &Api, route: &str, request: &Request<B>) -> Result<(), ApiError> {
    api.hosts.check(request, is_unlimited(route))?;
    api.origins.check(request)
}

/// Adds the headers by which the request is found again.
fn with_names(mut response: Response, id: &RequestId, trace: &RequestTrace) -> Response {
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    trace.tell(response.headers_mut());
    response
}

/// Whether the request is a read that others share, and that has no connection of its own: it may be dropped
/// at any moment. One with `?at=` reads the past, and one with `Min-Position` waits.
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
