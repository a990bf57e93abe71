//! Paths that are used outside the table of routes, and checks that depend on the path of a request.

use axum::http::Method;

/// Paths at which patients are registered: the path of the service that this service replaces, the path of
/// that service's load test, and the plain REST path.
pub(crate) const REGISTER: [&str; 3] = ["/register", "/patients/register", "/patients"];
pub(crate) const PATIENT: &str = "/patients/{id}";
pub(crate) const LIVE: &str = "/health/live";
pub(crate) const READY: &str = "/health/ready";
pub(crate) const METRICS: &str = "/metrics";

/// Whether the request uses the append queue.
pub(crate) fn is_command(method: &Method, route: &str) -> bool {
    match *method {
        Method::POST => REGISTER.contains(&route),
        Method::PATCH | Method::DELETE => route == PATIENT,
        _ => false,
    }
}

/// Whether the request reads one patient.
pub(crate) fn is_read_of_a_patient(method: &Method, route: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && route == PATIENT
}

/// Whether the route is exempt from the rate limit.
pub(crate) fn is_unlimited(route: &str) -> bool {
    matches!(route, LIVE | READY)
}

/// Whether probes or scrapers request the route every few seconds.
pub(crate) fn is_watched_by_machines(route: &str) -> bool {
    matches!(route, LIVE | READY | METRICS)
}
