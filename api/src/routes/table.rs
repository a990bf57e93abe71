//! The table of routes: the router and the OpenAPI document are both made from it, so that neither can have a route that
//! the other has not.

use std::collections::BTreeMap;

use axum::Router;
use axum::handler::Handler;
use axum::http::{StatusCode, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{delete, get, options, post};
use utoipa::openapi::{OpenApi, Paths};

use crate::Api;
use crate::access::Allowed;
use crate::openapi::{self, Described, Method};

/// Routes, each with whom it is for and its description.
pub(super) struct Routes {
    router: Router<Api>,
    /// Described only when the document is made: it is some megabytes, and few ask for it.
    entries: Vec<Entry>,
}

struct Entry {
    method: Method,
    path: String,
    allowed: Allowed,
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
        path: &str,
        allowed: Allowed,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        self.route(Method::Get, path, allowed, handler, described)
    }

    pub(super) fn post<H: Handler<T, Api>, T: 'static>(
        self,
        path: &str,
        allowed: Allowed,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        self.route(Method::Post, path, allowed, handler, described)
    }

    pub(super) fn delete<H: Handler<T, Api>, T: 'static>(
        self,
        path: &str,
        allowed: Allowed,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        self.route(Method::Delete, path, allowed, handler, described)
    }

    fn route<H: Handler<T, Api>, T: 'static>(
        mut self,
        method: Method,
        path: &str,
        allowed: Allowed,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        let routed = match method {
            Method::Get => get(handler),
            Method::Post => post(handler),
            Method::Delete => delete(handler),
        };
        self.router = self.router.route(path, allowed.may(routed));
        self.entries.push(Entry {
            method,
            path: path.to_owned(),
            allowed,
            described,
        });
        self
    }

    /// Adds those routes to these.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.entries.extend(other.entries);
        self
    }

    /// Changes every answer of the routes that are here already.
    pub(super) fn map_response(mut self, change: fn(Response) -> Response) -> Self {
        self.router = self
            .router
            .route_layer(map_response(move |response| async move { change(response) }));
        self
    }

    /// The router, which also answers `OPTIONS`: with what the path takes, whoever asks.
    pub(super) fn into_router(self) -> Router<Api> {
        let mut taken: BTreeMap<&str, String> = BTreeMap::new();
        for entry in &self.entries {
            taken
                .entry(&entry.path)
                .or_default()
                .push_str(entry.method.allowed());
        }
        taken.into_iter().fold(self.router, |router, (path, allow)| {
            let answer = [(header::ALLOW, allow + "OPTIONS")];
            router.route(path, options(|| async { (StatusCode::NO_CONTENT, answer) }))
        })
    }

    pub(super) fn into_document(self) -> OpenApi {
        let (mut paths, mut components) = (Paths::new(), openapi::components());
        for entry in self.entries {
            let Entry { method, path, .. } = entry;
            let (operation, schemas) = (entry.described)().into_operation(method, &path, entry.allowed);
            paths.add_path_operation(path, vec![method.in_openapi()], operation);
            components.schemas.extend(schemas);
        }
        openapi::document(paths, components)
    }
}
