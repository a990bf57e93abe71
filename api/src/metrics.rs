//! Metrics of HTTP requests by route, and the Prometheus page with all metrics of a process.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use eventstore::Timestamp;
use futures::future::BoxFuture;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::util::MapResponseLayer;

use crate::host;
use crate::method::name_of;
use crate::paths::METRICS;
use crate::secure::{OverTls, secure};
use crate::server::Listening;

/// Media type of `OpenMetrics` 1.0, the format that Prometheus prefers.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the buckets, in seconds. The lowest bound suits reads from the database's memory, and the
/// highest bound is the default request timeout.
const BUCKETS: [f64; 13] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 20.0,
];

static REQUESTS: LazyLock<Requests> = LazyLock::new(|| Requests {
    durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
    in_flight: Gauge::default(),
    certificate_ends: Family::default(),
});

struct Requests {
    durations: Family<Answered, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    /// Gauge without labels. Absent if there is no certificate.
    certificate_ends: Family<[(&'static str, &'static str); 0], Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

/// Request that has not been answered yet. Dropping it ends the count.
pub(crate) struct InFlight;

impl InFlight {
    pub(crate) fn begin() -> Self {
        REQUESTS.in_flight.inc();
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        REQUESTS.in_flight.dec();
    }
}

/// Records an answered request. Route templates and known methods keep the number of label values small.
pub(crate) fn answered(method: &Method, route: &str, status: StatusCode, took: Duration) {
    let method = name_of(method).unwrap_or("other");
    let labels = Answered {
        method,
        route: route.to_owned(),
        status: status.as_u16(),
    };
    REQUESTS
        .durations
        .get_or_create(&labels)
        .observe(took.as_secs_f64());
}

/// Records the expiry of the certificate for new connections.
pub(crate) fn certificate_ends(moment: Timestamp) {
    REQUESTS
        .certificate_ends
        .get_or_create(&[])
        .set(moment.as_micros() / 1_000_000);
}

/// Registers the HTTP metrics.
pub fn register(registry: &mut Registry) {
    registry.register_with_unit(
        "http_request_duration",
        "Time taken to answer requests, by method, route template and status",
        Unit::Seconds,
        REQUESTS.durations.clone(),
    );
    registry.register(
        "http_requests_in_flight",
        "Requests that have not been answered yet",
        REQUESTS.in_flight.clone(),
    );
    registry.register(
        "tls_certificate_expiry_timestamp_seconds",
        "Expiry of the API's certificate, in seconds since 1970",
        REQUESTS.certificate_ends.clone(),
    );
}

/// The metrics page. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>);

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Creates a page. `text` is called for each request and returns the page in the `OpenMetrics` format.
    pub fn new(text: impl Fn() -> BoxFuture<'static, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(text))
    }

    pub(crate) async fn page(&self) -> Response {
        ([(CONTENT_TYPE, OPEN_METRICS)], (self.0)().await).into_response()
    }
}

/// Serves only the metrics page, at `/metrics` of `listener`, until `shutdown`. Intended for processes
/// without an API, and for processes that must not serve the page at the API's address. Requires no access
/// token.
///
/// # Errors
///
/// If the listener fails.
pub async fn serve_metrics(
    listener: TcpListener,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let page = move || {
        let metrics = metrics.clone();
        async move { metrics.page().await }
    };
    let router = Router::new()
        .route(METRICS, get(page))
        .layer(from_fn(host::checked))
        .layer(MapResponseLayer::new(|response| secure(response, OverTls(false))));
    let listening = Listening {
        connections: CONNECTIONS,
        ..Listening::default()
    };
    crate::server::listen(listener, router.into(), listening, shutdown, || {}).await
}

/// Maximum number of connections to a listener that serves only the metrics page.
const CONNECTIONS: usize = 64;
