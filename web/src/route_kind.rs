//! The kinds of routes. The kind of a route determines who may use the route, and how its requests are
//! treated.

use std::collections::HashMap;

use axum::http;

use crate::access::{Allowed, Caller, Role};
use crate::method::Method;
use crate::problem::RequestError;

/// Kind of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    /// A command, which waits in the queue of the application. While the queue is full, commands are rejected
    /// before they reach their route.
    Command,
    /// A read of the current data.
    Read,
    /// A read of the current data that is batched with other reads and has no separate connection. A request
    /// without a query string runs in the task of its connection, and is dropped if its client disconnects.
    BatchedRead,
    /// A read for auditors, such as a read of past data.
    Audit,
    /// A route that erases data permanently.
    Privacy,
    /// A route for operators of the service.
    Operate,
    /// A part of the published log, which requires no token.
    Published,
    /// The metrics page. Scrapers request it every few seconds, and add parameters.
    Metrics,
    /// A health check. Probes request it every few seconds, at any address of the process, and add
    /// parameters.
    Health,
    /// A page about the API. Links to it may contain any parameters.
    About,
}

impl RouteKind {
    /// Returns the callers that may use the route.
    #[must_use]
    pub const fn allowed(self) -> Allowed {
        match self {
            Self::Command => Allowed::Only(&[Role::Clerk]),
            Self::Read | Self::BatchedRead => Allowed::Only(&[Role::Clerk, Role::Auditor]),
            Self::Audit => Allowed::Only(&[Role::Auditor]),
            Self::Privacy => Allowed::Only(&[Role::Privacy]),
            Self::Operate | Self::Metrics => Allowed::Only(&[Role::Operator]),
            Self::Published | Self::Health | Self::About => Allowed::Everybody,
        }
    }

    /// Checks that `caller` may use the route.
    ///
    /// # Errors
    ///
    /// [`RequestError::Unauthorized`], [`RequestError::InvalidToken`] and [`RequestError::Forbidden`].
    pub fn check(self, caller: Option<&Caller>) -> Result<(), RequestError> {
        self.allowed().check(caller)
    }

    /// Whether requests count against the quota of their client.
    pub(crate) fn is_limited(self) -> bool {
        self != Self::Health
    }

    /// Whether requests may name any host.
    pub(crate) fn accepts_every_host(self) -> bool {
        self == Self::Health
    }

    /// Whether requests without a trace context start a trace.
    pub(crate) fn starts_traces(self) -> bool {
        !matches!(self, Self::Health | Self::Metrics)
    }

    /// Whether unknown query parameters are ignored rather than rejected. The responses of these routes do
    /// not depend on such parameters.
    pub(crate) fn ignores_unknown_parameters(self) -> bool {
        matches!(self, Self::Health | Self::Metrics | Self::About)
    }
}

/// The kinds of all routes, by path and method.
#[derive(Debug, Default)]
pub struct RouteKinds(HashMap<&'static str, Vec<(Method, RouteKind)>>);

impl RouteKinds {
    /// Returns the kind of the route that answers a request. A method that the path does not support is
    /// treated like `GET`.
    pub(crate) fn of(&self, method: &http::Method, path: &str) -> Option<RouteKind> {
        let routes = self.0.get(path)?;
        let find = |method: &str| {
            let mut routes = routes.iter();
            routes.find(|(routed, _)| routed.names().contains(&method))
        };
        find(method.as_str())
            .or_else(|| find("GET"))
            .map(|(_, kind)| *kind)
    }
}

impl FromIterator<(&'static str, Method, RouteKind)> for RouteKinds {
    fn from_iter<I: IntoIterator<Item = (&'static str, Method, RouteKind)>>(routes: I) -> Self {
        let mut kinds: HashMap<_, Vec<_>> = HashMap::new();
        for (path, method, kind) in routes {
            kinds.entry(path).or_default().push((method, kind));
        }
        Self(kinds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_kind_of_its_route_and_of_get_if_no_route_has_its_method() {
        let kinds: RouteKinds = [
            ("/a", Method::Get, RouteKind::BatchedRead),
            ("/a", Method::Delete, RouteKind::Command),
            ("/b", Method::Post, RouteKind::Command),
            ("/c", Method::Get, RouteKind::Health),
        ]
        .into_iter()
        .collect();
        for (method, path, expected) in [
            ("GET", "/a", Some(RouteKind::BatchedRead)),
            ("HEAD", "/a", Some(RouteKind::BatchedRead)),
            ("DELETE", "/a", Some(RouteKind::Command)),
            ("PUT", "/a", Some(RouteKind::BatchedRead)),
            ("POST", "/b", Some(RouteKind::Command)),
            ("PUT", "/b", None),
            ("GET", "/b", None),
            ("POST", "/c", Some(RouteKind::Health)),
            ("GET", "/d", None),
        ] {
            assert_eq!(
                kinds.of(&method.parse().unwrap(), path),
                expected,
                "{method} {path}"
            );
        }
    }
}
