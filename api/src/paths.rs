//! Paths that are used outside the table of routes.

pub(crate) const LIVE: &str = "/health/live";
pub(crate) const READY: &str = "/health/ready";
