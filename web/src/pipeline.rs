//! The request pipeline, which every request passes through: a request id, authentication, rate limits, the
//! checks of host and origin, a time limit, metrics, a trace, and a log entry if the service failed. Requests
//! that the pipeline rejects get a request id and are counted in the metrics, but have no span.

mod access_log;
mod request_id;
mod trace;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, State};
use axum::http::{HeaderName, Request};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use eventstore::Clock;
use futures::FutureExt;
use tower::ServiceBuilder;
use tracing::{Instrument, field};
use uuid::fmt::Hyphenated;

use crate::access::Access;
use crate::body::{BodyTimeout, MAX_BODY};
use crate::clients::Proxies;
use crate::cors::{Cors, Sharing, share};
use crate::host::{AllowedHost, Hosts};
use crate::limit::{Limits, QuotaHeaders, RateLimit};
use crate::method::logged_name;
use crate::metrics::{self, InFlight};
use crate::problem::RequestError;
use crate::public_url::PublicUrl;
use crate::route_kind::{RouteKind, RouteKinds};
use crate::same_origin::TrustedOrigins;
use crate::secure::{OverTls, secure};

use access_log::ReceivedRequest;
pub use request_id::RequestId;
pub use trace::RequestTrace;

/// Settings of HTTP.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Maximum time from the request headers to the response.
    pub request_timeout: Duration,
    /// Quota of each client; `None` for no limit.
    pub rate_limit: Option<RateLimit>,
    /// Proxies that are trusted to report the client's address.
    pub proxies: Proxies,
    /// The origins whose pages may use the API (CORS). `None` allows no other origin.
    pub cors: Option<Cors>,
    /// Hosts that requests may name. Loopback names and the host of the public URL are always allowed. If the
    /// list is empty, an API with access control accepts every host.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Whether this process serves TLS. If it does, responses instruct browsers to use only TLS.
    pub over_tls: bool,
    /// Whether each response is logged.
    pub access_log: bool,
    /// URL at which clients reach the API. If set, the addresses in responses are absolute.
    pub public_url: Option<PublicUrl>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(20),
            rate_limit: None,
            proxies: Proxies::default(),
            cors: None,
            allowed_hosts: Vec::new(),
            over_tls: false,
            access_log: false,
            public_url: None,
        }
    }
}

impl HttpOptions {
    /// Maximum time in which a request body must arrive: half of the request timeout. The other half remains
    /// for the work, so a later timeout is caused by the work and not by the body.
    #[must_use]
    pub fn body_timeout(&self) -> BodyTimeout {
        BodyTimeout(self.request_timeout / 2)
    }
}

/// Components of a pipeline.
pub struct PipelineParts {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Access control.
    pub access: Access,
    /// The kinds of the routes.
    pub kinds: RouteKinds,
    /// Whether the queue of the application is full, so that commands are rejected.
    pub is_full: Box<dyn Fn() -> bool + Send + Sync>,
    /// Request headers of the application that pages of other origins may send.
    pub request_headers: &'static [HeaderName],
    /// Response headers of the application that pages of other origins may read.
    pub response_headers: &'static [HeaderName],
    /// Settings.
    pub options: HttpOptions,
}

/// The request pipeline. Cheap to clone; all clones share their state.
#[derive(Clone)]
pub struct Pipeline {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    access: Access,
    kinds: RouteKinds,
    is_full: Box<dyn Fn() -> bool + Send + Sync>,
    limits: Limits,
    hosts: Arc<Hosts>,
    origins: TrustedOrigins,
    sharing: Option<Sharing>,
    options: HttpOptions,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Creates a pipeline from its components.
    #[must_use]
    pub fn new(parts: PipelineParts) -> Self {
        let PipelineParts {
            clock,
            access,
            kinds,
            is_full,
            request_headers,
            response_headers,
            options,
        } = parts;
        let public = options.public_url.as_ref();
        let hosts = Arc::new(Hosts::new(
            access.is_open(),
            options.allowed_hosts.clone(),
            public.map(PublicUrl::host),
        ));
        let origins = (options.cors.iter().flat_map(Cors::origins).cloned())
            .chain(public.and_then(PublicUrl::origin))
            .collect();
        let sharing = options
            .cors
            .as_ref()
            .map(|cors| Sharing::new(cors, request_headers, response_headers, Arc::clone(&hosts)));
        Self {
            shared: Arc::new(Shared {
                clock,
                access,
                kinds,
                is_full,
                limits: Limits::new(options.rate_limit, options.proxies.clone()),
                hosts,
                origins: TrustedOrigins::new(origins, options.over_tls),
                sharing,
                options,
            }),
        }
    }

    /// Passes every request of a router through the pipeline.
    pub fn around<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        // CORS precedes the rest, so a preflight request is neither authenticated nor counted.
        let cors = self.shared.sharing.clone();
        let cors = cors.map(|sharing| from_fn_with_state(sharing, share));
        // One stack of layers: each layer that is added to the router separately costs every request an
        // allocation.
        let layers = ServiceBuilder::new()
            .map_response({
                let pipeline = self.clone();
                move |response| pipeline.complete(response)
            })
            .option_layer(cors)
            .layer(from_fn_with_state(self.clone(), process))
            .layer(DefaultBodyLimit::max(MAX_BODY));
        router.layer(layers)
    }

    /// Completes every response.
    fn complete(&self, mut response: Response) -> Response {
        if let Some(url) = &self.shared.options.public_url {
            url.complete(response.headers_mut());
        }
        secure(response, OverTls(self.shared.options.over_tls))
    }

    /// Rejects a command whose path has no parameters before routing if the queue of the application is full.
    /// Under overload, most requests are rejected, and the cost of rejecting them reduces the capacity for
    /// accepted requests. Returns `None` if the request may proceed, or if rejecting it requires the full
    /// pipeline.
    pub(crate) fn reject_early<B>(&self, request: &Request<B>) -> Option<Response> {
        let shared = &self.shared;
        if !(shared.is_full)() || shared.sharing.is_some() {
            return None;
        }
        let (method, path) = (request.method(), request.uri().path());
        let kind = shared.kinds.of(method, path);
        if kind != Some(RouteKind::Command) {
            return None;
        }
        let caller = shared.access.caller_at_once(request.headers())?;
        let (started, _in_flight) = (Instant::now(), InFlight::begin());
        let id = RequestId::of(request, shared.clock.as_ref());
        let (quota, admitted) = shared
            .limits
            .count(&caller, request.extensions(), request.headers());
        let refusal = admitted.and_then(|()| self.check_origin(kind, request)).err();
        let received = ReceivedRequest {
            method,
            route: path,
            started,
        };
        let response = refuse(refusal.unwrap_or(RequestError::Overloaded), received);
        let trace = RequestTrace::given(request.headers());
        let response = self.answer(received, response, quota, id, &trace);
        Some(secure(response, OverTls(shared.options.over_tls)))
    }

    /// Rejects a request for a host that is not accepted, and an unsafe request from a page of another
    /// origin.
    fn check_origin<B>(&self, kind: Option<RouteKind>, request: &Request<B>) -> Result<(), RequestError> {
        let every_host = kind.is_some_and(RouteKind::accepts_every_host);
        self.shared.hosts.check(request, every_host)?;
        self.shared.origins.check(request)
    }

    /// Rejects a command while the queue of the application is full.
    fn check_queue(&self, kind: Option<RouteKind>) -> Result<(), RequestError> {
        if kind == Some(RouteKind::Command) && (self.shared.is_full)() {
            return Err(RequestError::Overloaded);
        }
        Ok(())
    }

    /// Adds the rate limit headers, the request id and the trace context to a response. Logs the response if
    /// the access log is enabled.
    fn answer(
        &self,
        received: ReceivedRequest<'_>,
        mut response: Response,
        quota: QuotaHeaders,
        id: RequestId,
        trace: &RequestTrace,
    ) -> Response {
        if self.shared.options.access_log {
            access_log::log(received, &response, id, trace);
        }
        quota.add_to(response.headers_mut());
        id.add_to(response.headers_mut());
        trace.add_to(response.headers_mut());
        response
    }
}

/// The middleware. Logs 5xx responses as warnings and all others at level `debug`. Logs and metrics contain
/// the route's template instead of the path, and the names of known methods alone, because paths and unknown
/// methods may contain personal data that a client put there by mistake.
async fn process(State(pipeline): State<Pipeline>, mut request: Request<Body>, next: Next) -> Response {
    let shared = &pipeline.shared;
    let id = RequestId::of(&request, shared.clock.as_ref());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let template = route.as_ref().map(MatchedPath::as_str);
    let route = template.unwrap_or("(none)");
    let kind = shared.kinds.of(&method, route);
    let (started, _in_flight) = (Instant::now(), InFlight::begin());
    let received = ReceivedRequest {
        method: &method,
        route,
        started,
    };
    let caller = shared.access.caller_with_newest_keys(request.headers()).await;
    let (quota, admitted) = if kind.is_none_or(RouteKind::is_limited) {
        shared
            .limits
            .count(&caller, request.extensions(), request.headers())
    } else {
        (QuotaHeaders::default(), Ok(()))
    };
    // Rejected requests skip the remaining work, which leaves more capacity for the other requests.
    let admitted = admitted
        .and_then(|()| pipeline.check_origin(kind, &request))
        .and_then(|()| pipeline.check_queue(kind));
    if let Err(refusal) = admitted {
        let trace = RequestTrace::given(request.headers());
        return pipeline.answer(received, refuse(refusal, received), quota, id, &trace);
    }
    let starts_trace = kind.is_none_or(RouteKind::starts_traces);
    let trace = RequestTrace::begin(request.headers(), &method, template, starts_trace, id);
    let span = tracing::info_span!(
        "request",
        request.id = id.write(&mut [0; Hyphenated::LENGTH]),
        http.method = logged_name(&method),
        http.route = route,
        trace_id = field::Empty,
    );
    if let Some(context) = trace.context() {
        span.record("trace_id", format_args!("{:032x}", context.trace()));
    }
    let in_place = runs_in_place(kind, &request);
    request.extensions_mut().insert(id);
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(trace.clone());

    let handling = next.run(request).instrument(span.clone());
    let handling = handling.instrument(trace.span().clone());
    let handling = async {
        if in_place {
            AssertUnwindSafe(handling).catch_unwind().await.ok()
        } else {
            // The handler runs in its own task, which continues after a disconnect or a timeout. Work in
            // progress is finished, and no database connection is abandoned in the middle of a response.
            tokio::spawn(handling).await.ok()
        }
    };
    let response = match tokio::time::timeout(shared.options.request_timeout, handling).await {
        Ok(Some(response)) => response,
        Ok(None) => {
            span.in_scope(|| tracing::error!("a request handler panicked"));
            // The response does not contain the panic's message.
            RequestError::Internal.into_response()
        }
        Err(_) => RequestError::OutcomeUnknown.into_response(),
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
    pipeline.answer(received, response, quota, id, &trace)
}

/// Counts a rejected request in the metrics and returns its response.
fn refuse(refusal: RequestError, received: ReceivedRequest<'_>) -> Response {
    let response = refusal.into_response();
    metrics::answered(
        received.method,
        received.route,
        response.status(),
        received.started.elapsed(),
    );
    response
}

/// Whether the handler runs in the task of the connection, and is dropped if its client disconnects.
fn runs_in_place(kind: Option<RouteKind>, request: &Request<Body>) -> bool {
    kind == Some(RouteKind::BatchedRead) && request.uri().query().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_batched_read_without_a_query_runs_in_place() {
        let in_place = |kind: Option<RouteKind>, uri: &str| {
            let request = Request::builder().uri(uri).body(Body::empty()).unwrap();
            runs_in_place(kind, &request)
        };
        assert!(in_place(Some(RouteKind::BatchedRead), "/items/1"));
        assert!(!in_place(
            Some(RouteKind::BatchedRead),
            "/items/1?at=2026-01-01T00:00:00Z"
        ));
        for kind in [None, Some(RouteKind::Read), Some(RouteKind::Command)] {
            assert!(!in_place(kind, "/items/1"), "{kind:?}");
        }
    }
}
