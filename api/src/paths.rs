//! The paths that more than the table of routes has to know, and what is special about requests to them.

use axum::http::Method;

/// The paths under which patients are registered: the seed's, that of its load test, and the plain REST one.
pub(crate) const REGISTER: [&str; 3] = ["/register", "/patients/register", "/patients"];
pub(crate) const PATIENT: &str = "/patients/{id}";
pub(crate) const LIVE: &str = "/health/live";
pub(crate) const READY: &str = "/health/ready";
pub(crate) const METRICS: &str = "/metrics";

/// Whether the request goes to the append queue.
pub(crate) fn is_command(method: &Method, route: &str) -> bool {
    match *method {
        Method::POST => REGISTER.contains(&route),
        Method::DELETE => route == PATIENT,
        _ => false,
    }
}

/// Whether the request reads one patient.
pub(crate) fn is_read_of_a_patient(method: &Method, route: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && route == PATIENT
}

/// Whether requests to it are not limited in number.
pub(crate) fn is_unlimited(route: &str) -> bool {
    matches!(route, LIVE | READY)
}

/// Whether machines request it every few seconds.
pub(crate) fn is_watched_by_machines(route: &str) -> bool {
    matches!(route, LIVE | READY | METRICS)
}
