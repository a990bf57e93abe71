//! What auditors and programs that follow the log read: every event, and the past. Personal data of deleted patients
//! too.
//!
//! `GET /patients/{id}?at=` shares its path with a route of everyday use, and is answered by [`state::at`].

mod events;
mod history;
mod state;

use axum::http::{HeaderValue, header};
use axum::response::Response;

use super::table::Routes;
use crate::access::AUDITORS;

pub(super) use state::{at, example as past_example};

pub(super) fn routes() -> Routes {
    Routes::new()
        .get(
            "/patients/{id}/history",
            AUDITORS,
            history::list,
            history::described,
        )
        .get(
            "/patients/{id}/history/{sequence}",
            AUDITORS,
            state::after,
            state::described,
        )
        .get("/events", AUDITORS, events::pages, events::pages_described)
        .get("/events/stream", AUDITORS, events::live, events::live_described)
        .map_response(not_kept)
}

/// Personal data is not for caches.
fn not_kept(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
