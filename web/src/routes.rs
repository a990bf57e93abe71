//! The table of routes. The router and the OpenAPI document are both generated from this table, so they
//! always have the same routes.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{on, options};
use utoipa::openapi::{OpenApi, Paths};

use crate::access::Caller;
use crate::method::Method;
use crate::openapi::{self, Described, Endpoint, Service, Texts};
use crate::problem::RequestError;
use crate::query::Query;
use crate::route_kind::{RouteKind, RouteKinds};
use crate::slash::{self, without_slash};

/// Routes, each with its kind and its description.
#[must_use]
pub struct Routes<S> {
    router: Router<S>,
    /// The descriptions are not kept, but are created again for each document, because they take several
    /// megabytes and few clients request the document.
    entries: Vec<Entry>,
}

struct Entry {
    endpoint: Endpoint,
    described: fn() -> Described,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// Creates an empty table.
    pub fn new() -> Self {
        Self {
            router: Router::new(),
            entries: Vec::new(),
        }
    }

    /// Adds a route for `GET`.
    pub fn get<H: Handler<T, S>, T: 'static>(
        self,
        path: &'static str,
        kind: RouteKind,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        self.route(Method::Get, path, kind, handler, described)
    }

    /// Adds a route for `POST`.
    pub fn post<H: Handler<T, S>, T: 'static>(
        self,
        path: &'static str,
        kind: RouteKind,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        self.route(Method::Post, path, kind, handler, described)
    }

    /// Adds a route for `PUT`.
    pub fn put<H: Handler<T, S>, T: 'static>(
        self,
        path: &'static str,
        kind: RouteKind,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        self.route(Method::Put, path, kind, handler, described)
    }

    /// Adds a route for `PATCH`.
    pub fn patch<H: Handler<T, S>, T: 'static>(
        self,
        path: &'static str,
        kind: RouteKind,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        self.route(Method::Patch, path, kind, handler, described)
    }

    /// Adds a route for `DELETE`.
    pub fn delete<H: Handler<T, S>, T: 'static>(
        self,
        path: &'static str,
        kind: RouteKind,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        self.route(Method::Delete, path, kind, handler, described)
    }

    fn route<H: Handler<T, S>, T: 'static>(
        mut self,
        method: Method,
        path: &'static str,
        kind: RouteKind,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        let gate = Gate {
            kind,
            takes_no_query: !kind.ignores_unknown_parameters() && !described().has_query(),
        };
        let routed = on(method.filter(), handler).route_layer(from_fn_with_state(gate, pass));
        self.router = self.router.route(path, routed);
        self.entries.push(Entry {
            endpoint: Endpoint { method, path, kind },
            described,
        });
        self
    }

    /// Adds the routes of another table.
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.entries.extend(other.entries);
        self
    }

    /// Returns the kinds of the routes.
    #[must_use]
    pub fn kinds(&self) -> RouteKinds {
        let endpoints = self.entries.iter().map(|entry| entry.endpoint);
        endpoints
            .map(|Endpoint { method, path, kind }| (path, method, kind))
            .collect()
    }

    /// Returns the router. It also answers `OPTIONS` with the methods that the path supports, and requests to
    /// unknown paths.
    pub fn into_router(self) -> Router<S> {
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
                async { redirect.ok_or(RequestError::NotFound) }
            })
            .method_not_allowed_fallback(async || RequestError::MethodNotAllowed)
    }

    /// Returns the OpenAPI document of these routes for a service.
    #[must_use]
    pub fn into_document(self, texts: &Texts, service: Service<'_>) -> OpenApi {
        let (mut paths, mut components) = (Paths::new(), (texts.components)());
        for Entry { endpoint, described } in self.entries {
            let (operation, schemas) = described().into_operation(endpoint, texts, service.tokens);
            // OpenAPI has no form for a parameter that contains slashes.
            paths.add_path_operation(
                endpoint.path.replace("{*", "{"),
                vec![endpoint.method.in_openapi()],
                operation,
            );
            components.schemas.extend(schemas);
        }
        openapi::document(paths, components, texts, service)
    }
}

/// The checks that precede a route's handler.
#[derive(Debug, Clone, Copy)]
struct Gate {
    kind: RouteKind,
    /// Whether any query parameter is rejected. If a route has parameters, the handler checks them, and
    /// reports all problems together.
    takes_no_query: bool,
}

async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Result<Response, RequestError> {
    // The router finds a route whose last parameter contains slashes also for a path with a trailing slash.
    if let Some(redirect) = slash::redirect(request.uri()) {
        return Ok(redirect);
    }
    gate.kind.check(request.extensions().get::<Caller>())?;
    if gate.takes_no_query {
        Query::parse(request.uri().query()).finish()?;
    }
    Ok(next.run(request).await)
}
