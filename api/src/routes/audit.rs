//! What auditors and programs that follow the log read: every event, and the past. Personal data of deleted patients
//! too.
//!
//! `GET /patients/{id}?at=` shares its path with a route of everyday use, and is answered by [`state::at`].

mod events;
mod history;
mod state;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;

use crate::Api;
use crate::access::AUDITORS;

pub(super) use state::at;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/patients/{id}/history", AUDITORS.may(get(history::list)))
        .route(
            "/patients/{id}/history/{sequence}",
            AUDITORS.may(get(state::after)),
        )
        .route("/events", AUDITORS.may(get(events::pages)))
        .route("/events/stream", AUDITORS.may(get(events::live)))
        .route_layer(map_response(async |response| not_kept(response)))
}

/// Personal data is not for caches.
fn not_kept(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
