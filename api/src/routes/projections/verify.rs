//! `POST /projections/{projection}/verify`: compares a read table with the log.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use web::RouteKind;

use super::registered;
use crate::openapi::{Described, Media, fields};
use crate::problem::{ApiError, kinds};
use crate::routes::{NDJSON, still_allowed};
use crate::state::Api;

pub(super) fn described() -> Described {
    let checksum = "423799bc616966db781091bc5cf57fd9869619a0df544cca061ab5b47c573c16";
    let rows = json!({"rows": 9, "checksum": checksum});
    let lines = [
        json!({"state": "comparing", "projection": "patient_view", "compared": 0, "at_most": 17}),
        json!({
            "state": "finished", "projection": "patient_view", "same": true, "position": 17, "generation": 1,
            "table": rows, "replay": rows, "skipped": [], "differing": 0, "first": [],
        }),
    ];
    Described::new(
        "Verify a projection",
        "Compares the table of a projection with a replay of the log, like `patients projection verify`. The response is a stream \
         of JSON objects, one per line. Every second, a line with the state `comparing` gives the number of compared patients; \
         there are at most `at_most`. The last line has the state `finished`: if `same` is false, `differing` patients differ, and \
         `first` lists the first ten. If the verification fails, the last line has the state `failed` and the member `problem`. A \
         response without such a line is incomplete. The verification stops when the client disconnects. A process runs one \
         verification at a time.",
    )
    .takes([super::projection()])
    .answers(
        200,
        "The progress, and then the result.",
        [Media::of(
            NDJSON,
            fields::string(),
            Some(lines.map(|line| format!("{line}\n")).concat().into()),
        )],
        [fields::cache_control("no-store")],
    )
    .problems([
        kinds::PROJECTION_NOT_FOUND,
        kinds::VERIFICATION_UNDER_WAY,
        kinds::SHUTTING_DOWN,
        kinds::UNAVAILABLE,
        kinds::LOG_DAMAGED,
    ])
}

/// Streams the progress and the result of a verification.
pub(super) async fn verify(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let projection = registered(path)?;
    let allowed = still_allowed(&api, &headers, RouteKind::Operate);
    let lines = api.verifications.start(&api.log, projection, allowed).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(NDJSON)),
        // Without this header, nginx would buffer the lines.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}
