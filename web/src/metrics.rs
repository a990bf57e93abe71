//! Metrics of HTTP requests by route.

use std::sync::LazyLock;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use eventstore::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::method::name_of;

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
