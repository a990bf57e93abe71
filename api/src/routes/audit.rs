//! What auditors and programs that follow the log read: every event, and the past. Personal data of deleted patients
//! too.
//!
//! Nobody is asked who they are yet. [`guard`] is the one place to do so for the routes of [`routes`];
//! `GET /patients/{id}?at=` shares its path with a route of everyday use, and is answered by [`state::at`].

mod events;
mod history;
mod state;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;

use crate::Api;

pub(super) use state::at;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/patients/{id}/history", get(history::list))
        .route("/patients/{id}/history/{sequence}", get(state::after))
        .route("/events", get(events::pages))
        .route("/events/stream", get(events::live))
        .route_layer(from_fn(guard))
}

async fn guard(request: Request, next: Next) -> Response {
    not_kept(next.run(request).await)
}

/// Personal data is not for caches.
fn not_kept(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
