//! The table of routes: the router and the OpenAPI document are both made from it, so that neither can have a route that
//! the other has not.

use axum::Router;
use axum::handler::Handler;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{delete, get, post};
use utoipa::openapi::{Components, OpenApi, Paths};

use crate::Api;
use crate::access::Allowed;
use crate::openapi::{self, Described, Method};

/// Routes, each with whom it is for and its description.
pub(super) struct Routes {
    router: Router<Api>,
    paths: Paths,
    components: Components,
}

impl Routes {
    pub(super) fn new() -> Self {
        Self {
            router: Router::new(),
            paths: Paths::new(),
            components: openapi::components(),
        }
    }

    pub(super) fn get<H: Handler<T, Api>, T: 'static>(
        self,
        path: &str,
        allowed: Allowed,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        self.route(Method::Get, path, allowed, handler, described())
    }

    pub(super) fn post<H: Handler<T, Api>, T: 'static>(
        self,
        path: &str,
        allowed: Allowed,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        self.route(Method::Post, path, allowed, handler, described())
    }

    pub(super) fn delete<H: Handler<T, Api>, T: 'static>(
        self,
        path: &str,
        allowed: Allowed,
        handler: H,
        described: fn() -> Described,
    ) -> Self {
        self.route(Method::Delete, path, allowed, handler, described())
    }

    fn route<H: Handler<T, Api>, T: 'static>(
        mut self,
        method: Method,
        path: &str,
        allowed: Allowed,
        handler: H,
        described: Described,
    ) -> Self {
        let routed = match method {
            Method::Get => get(handler),
            Method::Post => post(handler),
            Method::Delete => delete(handler),
        };
        self.router = self.router.route(path, allowed.may(routed));
        let (operation, schemas) = described.into_operation(method, path, allowed);
        self.paths
            .add_path_operation(path, vec![method.in_openapi()], operation);
        self.components.schemas.extend(schemas);
        self
    }

    /// Adds those routes to these.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.paths.merge(other.paths);
        self.components.schemas.extend(other.components.schemas);
        self
    }

    /// Changes every answer of the routes that are here already.
    pub(super) fn map_response(mut self, change: fn(Response) -> Response) -> Self {
        self.router = self
            .router
            .route_layer(map_response(move |response| async move { change(response) }));
        self
    }

    pub(super) fn into_router(self) -> Router<Api> {
        self.router
    }

    pub(super) fn into_document(self) -> OpenApi {
        openapi::document(self.paths, self.components)
    }
}
