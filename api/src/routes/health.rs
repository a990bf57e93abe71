//! `GET /health/live`, `GET /health/ready`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use eventstore::{Position, SubscriptionStatus};
use serde::Serialize;

use crate::Api;
use crate::reads::PROJECTION;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    read_table: Option<&'static str>,
}

/// The process runs.
pub(super) async fn live() -> Response {
    Json(Health {
        status: "live",
        database: None,
        append_queue: None,
        position: None,
        read_table: None,
    })
    .into_response()
}

/// The process can serve: the database answers and there is room in the append queue.
///
/// A projection that has stopped at an event is told of, but is no reason to send clients elsewhere: reads by id and writes
/// do not need it, and no other process would do better.
pub(super) async fn ready(State(api): State<Api>) -> Response {
    let view = SubscriptionStatus::of(api.log.database(), PROJECTION, api.clock.now());
    let view = tokio::time::timeout(PATIENCE, view)
        .await
        .ok()
        .and_then(Result::ok);
    let full = api.commands.is_full();
    let ready = view.is_some() && !full;
    let health = Health {
        status: if ready { "ready" } else { "unavailable" },
        database: Some(if view.is_some() { "up" } else { "down" }),
        append_queue: Some(if full { "full" } else { "open" }),
        position: view.as_ref().map(|view| view.head),
        read_table: view.map(|view| {
            let stopped = view.failure.is_some_and(|failure| failure.position.is_some());
            if stopped { "stopped" } else { "kept" }
        }),
    };
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(health)).into_response()
}
