//! `GET /health/live`, `GET /health/ready`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use eventstore::Position;
use serde::Serialize;

use crate::Api;

/// How long the database may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    append_queue: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
}

/// The process runs.
pub(super) async fn live() -> Response {
    Json(Health {
        status: "live",
        database: None,
        append_queue: None,
        position: None,
    })
    .into_response()
}

/// The process can serve: the database answers and there is room in the append queue.
pub(super) async fn ready(State(api): State<Api>) -> Response {
    let head = tokio::time::timeout(PATIENCE, api.reads.head())
        .await
        .ok()
        .and_then(Result::ok);
    let full = api.commands.is_full();
    let ready = head.is_some() && !full;
    let health = Health {
        status: if ready { "ready" } else { "unavailable" },
        database: Some(if head.is_some() { "up" } else { "down" }),
        append_queue: Some(if full { "full" } else { "open" }),
        position: head.map(|head| head.position),
    };
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(health)).into_response()
}
