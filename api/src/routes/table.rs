//! The table of routes. The router and the OpenAPI document are both generated from this table, so they
//! always have the same routes.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{on, options};
use utoipa::openapi::{OpenApi, Paths};

use super::slash::without_slash;
use crate::Api;
use crate::access::{Allowed, Caller};
use crate::method::Method;
use crate::openapi::{self, Described, Endpoint, Service};
use crate::paths::METRICS;
use crate::problem::ApiError;
use crate::query::Query;

/// Routes, each with its permitted roles and its description.
pub(super) struct Routes {
    router: Router<Api>,
    /// The descriptions are not kept, but created again for the document, because they take some megabytes
    /// and few clients request the document.
    entries: Vec<Entry>,
}

struct Entry {
    endpoint: Endpoint,
    described: fn() -> Described,
}

impl Routes {
    pub(super) fn new() -> Self {
        Self {
            router: Router::new(),
            entries: Vec::new(),
        }
    }

    pub(super) fn get<H: Handler<T, Api>, T: 'static>(
        self,
        path: &'static str,
        allowed: Allowed,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        self.route(Method::Get, path, allowed, handler, described)
    }

    pub(super) fn post<H: Handler<T, Api>, T: 'static>(
        self,
        path: &'static str,
        allowed: Allowed,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        self.route(Method::Post, path, allowed, handler, described)
    }

    pub(super) fn patch<H: Handler<T, Api>, T: 'static>(
        self,
        path: &'static str,
        allowed: Allowed,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        self.route(Method::Patch, path, allowed, handler, described)
    }

    pub(super) fn delete<H: Handler<T, Api>, T: 'static>(
        self,
        path: &'static str,
        allowed: Allowed,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        self.route(Method::Delete, path, allowed, handler, described)
    }

    fn route<H: Handler<T, Api>, T: 'static>(
        mut self,
        method: Method,
        path: &'static str,
        allowed: Allowed,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        let ignores_query = ignores_query(allowed, path);
        let gate = Gate {
            allowed,
            takes_no_query: !ignores_query && !described().has_query(),
        };
        let routed = on(method.filter(), handler).route_layer(from_fn_with_state(gate, pass));
        self.router = self.router.route(path, routed);
        self.entries.push(Entry {
            endpoint: Endpoint {
                method,
                path,
                allowed,
                ignores_query,
            },
            described,
        });
        self
    }

    /// Adds the routes of another table.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.entries.extend(other.entries);
        self
    }

    /// Changes every response of the routes added so far.
    pub(super) fn map_response(mut self, change: fn(Response) -> Response) -> Self {
        self.router = self
            .router
            .route_layer(map_response(move |response| async move { change(response) }));
        self
    }

    /// Returns the router. It also answers `OPTIONS` with the methods that the path supports, and requests to
    /// unknown paths.
    pub(super) fn into_router(self) -> Router<Api> {
        let mut taken: BTreeMap<&'static str, Vec<&'static str>> = BTreeMap::new();
        for Entry { endpoint, .. } in &self.entries {
            let names = endpoint.method.names();
            taken.entry(endpoint.path).or_default().extend(names);
        }
        let paths: Vec<_> = taken.keys().copied().collect();
        let router = taken.into_iter().fold(self.router, |router, (path, mut names)| {
            names.push("OPTIONS");
            let answer = [(header::ALLOW, names.join(","))];
            router.route(path, options(|| async { (StatusCode::NO_CONTENT, answer) }))
        });
        router
            .fallback(move |uri: Uri| {
                let redirect = without_slash(&paths, &uri);
                async { redirect.ok_or(ApiError::NoSuchRoute) }
            })
            .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
    }

    /// Returns the OpenAPI document of these routes for a service.
    pub(super) fn into_document(self, service: Service<'_>) -> OpenApi {
        let (mut paths, mut components) = (Paths::new(), openapi::components());
        for Entry { endpoint, described } in self.entries {
            let (operation, schemas) = described().into_operation(endpoint, service.tokens);
            paths.add_path_operation(endpoint.path, vec![endpoint.method.in_openapi()], operation);
            components.schemas.extend(schemas);
        }
        openapi::document(paths, components, service)
    }
}

/// Whether a route ignores unknown query parameters. Probes, scrapers and links in emails add parameters, and
/// the responses of these routes do not depend on them.
fn ignores_query(allowed: Allowed, path: &str) -> bool {
    matches!(allowed, Allowed::Everybody) || path == METRICS
}

/// The checks that precede a route's handler.
#[derive(Debug, Clone, Copy)]
struct Gate {
    allowed: Allowed,
    /// Whether any query parameter is rejected. If a route has parameters, the handler checks them, and
    /// reports all problems together.
    takes_no_query: bool,
}

async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Result<Response, ApiError> {
    gate.allowed.check(request.extensions().get::<Caller>())?;
    if gate.takes_no_query {
        Query::parse(request.uri().query()).finish()?;
    }
    Ok(next.run(request).await)
}
