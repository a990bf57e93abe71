//! `GET /health/live`, `GET /health/ready`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use eventstore::rebuild::ActiveGeneration;
use eventstore::{Error, Position, SubscriptionStatus};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::Api;
use crate::openapi::{Described, Media, OPERATIONS};
use crate::reads::PROJECTION;

/// How long the database may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// How the process is.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `live`; `ready` or `unavailable`.
    #[schema(example = "ready")]
    status: &'static str,
    /// `up`; `read_only` if it accepts no writes; `down`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "up")]
    database: Option<&'static str>,
    /// `open` or `full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "open")]
    append_queue: Option<&'static str>,
    /// The end of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = i64, required = false, minimum = 0, example = 17)]
    position: Option<Position>,
    /// `kept`, `stopped` at an event, or `damaged`: what the database says of it cannot be true.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "kept")]
    read_table: Option<&'static str>,
    /// `wrong`, if the clock of the process differs from the database's, so that nothing can be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "wrong")]
    clock: Option<&'static str>,
}

pub(super) fn live_described() -> Described {
    Described::new(OPERATIONS, "Whether the process runs", "It answers, so it does.").answers(
        200,
        "It runs.",
        [Media::json::<Health>(json!({"status": "live"}))],
        [],
    )
}

pub(super) fn ready_described() -> Described {
    let health = |status, database| {
        let example = json!({
            "status": status, "database": database, "append_queue": "open", "position": 17, "read_table": "kept",
        });
        [Media::json::<Health>(example)]
    };
    Described::new(
        OPERATIONS,
        "Whether the process can serve",
        "It can if the database answers and accepts writes, there is room in the append queue, what the database says of the \
         read table can be true, and the clock of the process agrees with the database's. A read table that has stopped is \
         reported, and is no reason to send clients elsewhere.",
    )
    .answers(200, "It can serve.", health("ready", "up"), [])
    .answers(503, "It cannot serve now.", health("unavailable", "down"), [])
}

/// The process runs.
pub(super) async fn live() -> Response {
    Json(Health {
        status: "live",
        database: None,
        append_queue: None,
        position: None,
        read_table: None,
        clock: None,
    })
    .into_response()
}

/// The process can serve: the database answers and accepts writes, there is room in the append queue, the
/// read table is not damaged, and the clock is right.
///
/// A projection that has stopped at an event is told of, but is no reason to send clients elsewhere: reads by
/// id and writes do not need it, and no other process would do better.
pub(super) async fn ready(State(api): State<Api>) -> Response {
    let asked = async {
        let view = read_table(&api).await?;
        Ok::<_, eventstore::Error>((view, api.log.is_writable().await?))
    };
    let answer = tokio::time::timeout(PATIENCE, asked)
        .await
        .ok()
        .and_then(Result::ok);
    let database = match answer {
        Some((_, true)) => "up",
        Some((_, false)) => "read_only",
        None => "down",
    };
    let view = answer.map(|(view, _)| view);
    let full = api.commands.is_full();
    let damaged = view.as_ref().is_some_and(|(_, damaged)| *damaged);
    let wrong_clock = match &view {
        Some(_) => {
            let clock = tokio::time::timeout(PATIENCE, api.log.check_clock(api.clock.as_ref())).await;
            matches!(clock, Ok(Err(Error::ClockWrong { .. })))
        }
        None => false,
    };
    let ready = database == "up" && !full && !damaged && !wrong_clock;
    let health = Health {
        status: if ready { "ready" } else { "unavailable" },
        database: Some(database),
        append_queue: Some(if full { "full" } else { "open" }),
        position: view.as_ref().map(|(view, _)| view.head),
        read_table: view.map(|(view, damaged)| {
            let stopped = view.failure.is_some_and(|failure| failure.position.is_some());
            match (damaged, stopped) {
                (true, _) => "damaged",
                (false, true) => "stopped",
                (false, false) => "kept",
            }
        }),
        clock: wrong_clock.then_some("wrong"),
    };
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(health)).into_response()
}

/// How the read table is, and whether what the database says of it cannot be true.
async fn read_table(api: &Api) -> eventstore::Result<(SubscriptionStatus, bool)> {
    let database = api.log.database();
    let view = SubscriptionStatus::of(database, PROJECTION, api.clock.now()).await?;
    let generation = ActiveGeneration::of(&mut database.reader().await?, PROJECTION).await?;
    let served = generation.is_some_and(|generation| generation.check(PROJECTION).is_ok());
    let damaged = !served || view.check().is_err();
    Ok((view, damaged))
}
