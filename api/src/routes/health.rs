//! `GET /health/live`, `GET /health/ready`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use eventstore::projection::ActiveGeneration;
use eventstore::{Error, Position, Registered, SubscriptionStatus};
use projector::PROJECTIONS;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::openapi::{Described, Media};
use crate::state::Api;

/// Maximum time to wait for the database.
const PATIENCE: Duration = Duration::from_secs(2);

/// Health of the process.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `live`, or for readiness `ready` or `unavailable`.
    #[schema(example = "ready")]
    status: &'static str,
    /// `up`, `down`, or `read_only` if the database accepts no writes. In that case, the service does not
    /// read from it either.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "up")]
    database: Option<&'static str>,
    /// `open` or `full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "open")]
    append_queue: Option<&'static str>,
    /// Position of the last event of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = i64, required = false, minimum = 0, example = 17)]
    position: Option<Position>,
    /// `kept`, `stopped` if the projection has stopped at an event, or `damaged` if its stored state is
    /// invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "kept")]
    read_table: Option<&'static str>,
    /// `damaged` if the end of the log was altered. Nothing can then be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "damaged")]
    log: Option<&'static str>,
    /// `wrong` if the clock of the process is wrong. Nothing can then be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "wrong")]
    clock: Option<&'static str>,
}

pub(super) fn live_described() -> Described {
    Described::new(
        "Check liveness",
        "Any response shows that the process is running.",
    )
    .answers(
        200,
        "The process is running.",
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
        "Check readiness",
        "The process can serve requests if the database responds and accepts writes, the append queue has room, the stored state \
         of each read table is valid, the end of the log is undamaged, and the clock of the process is correct. A read table that \
         has stopped is reported, but does not make the process unavailable.",
    )
    .answers(200, "The process can serve requests.", health("ready", "up"), [])
    .answers(503, "The process cannot serve requests now.", health("unavailable", "down"), [])
}

/// Answers that the process runs.
pub(super) async fn live() -> Response {
    Json(Health {
        status: "live",
        database: None,
        append_queue: None,
        position: None,
        read_table: None,
        log: None,
        clock: None,
    })
    .into_response()
}

/// Checks whether the process can serve: the database responds and accepts writes, the append queue has room,
/// neither a read table nor the end of the log is damaged, and the clock is correct.
///
/// A projection that has stopped at an event is reported, but does not make the process unavailable: reads by
/// id and writes do not need it, and other processes would have the same problem.
pub(super) async fn ready(State(api): State<Api>) -> Response {
    let asked = async {
        let tables = read_tables(&api).await?;
        Ok::<_, eventstore::Error>((tables, api.log.is_writable().await?))
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    let (database, tables) = match answer {
        Ok(Ok((tables, true))) => ("up", Some(tables)),
        Ok(Ok((tables, false))) => ("read_only", Some(tables)),
        Ok(Err(Error::ReadOnly(_))) => ("read_only", None),
        _ => ("down", None),
    };
    let full = api.commands.is_full();
    let damaged = tables.as_ref().is_some_and(|tables| tables.damaged);
    let (damaged_log, wrong_clock) = match &tables {
        Some(_) => {
            let head = tokio::time::timeout(PATIENCE, api.log.check_head()).await;
            (
                matches!(head, Ok(Err(error)) if error.is_damage()),
                is_clock_wrong(&api).await,
            )
        }
        None => (false, false),
    };
    let ready = database == "up" && !full && !damaged && !damaged_log && !wrong_clock;
    let health = Health {
        status: if ready { "ready" } else { "unavailable" },
        database: Some(database),
        append_queue: Some(if full { "full" } else { "open" }),
        position: tables.as_ref().map(|tables| tables.head),
        read_table: tables.map(|tables| match (tables.damaged, tables.stopped) {
            (true, _) => "damaged",
            (false, true) => "stopped",
            (false, false) => "kept",
        }),
        log: damaged_log.then_some("damaged"),
        clock: wrong_clock.then_some("wrong"),
    };
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(health)).into_response()
}

/// Whether an append would be rejected because of the clock.
async fn is_clock_wrong(api: &Api) -> bool {
    let is_wrong = |checked| matches!(checked, Err(Error::ClockWrong { .. }));
    let compared = tokio::time::timeout(PATIENCE, api.log.check_clock(api.clock.as_ref())).await;
    is_wrong(api.appends.check_clock()) || compared.is_ok_and(is_wrong)
}

/// State of the read tables.
struct ReadTables {
    head: Position,
    damaged: bool,
    stopped: bool,
}

/// Returns the state of the read tables. A table whose first generation is being filled is not damaged: it is
/// not used yet.
async fn read_tables(api: &Api) -> eventstore::Result<ReadTables> {
    let database = api.log.database();
    let mut tables = ReadTables {
        head: Position::BEGINNING,
        damaged: false,
        stopped: false,
    };
    for name in PROJECTIONS.map(Registered::name) {
        let status = SubscriptionStatus::of(database, name, api.clock.now()).await?;
        let generation = ActiveGeneration::of(&mut database.reader().await?, name).await?;
        let served = generation
            .is_some_and(|generation| !matches!(generation.check(name), Err(error) if error.is_damage()));
        tables.head = status.head;
        tables.damaged |= !served || status.check().is_err();
        tables.stopped |= status.failure.is_some_and(|failure| failure.position.is_some());
    }
    Ok(tables)
}
