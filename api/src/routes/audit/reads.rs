//! `GET /audit/reads`: the record of reads.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use url::form_urlencoded;
use uuid::Uuid;
use web::headers::set_links;
use web::query::{DEFAULT_LIMIT, Query};

use crate::openapi::{Described, Media, fields};
use crate::parameters::patient_id;
use crate::problem::{ApiError, kinds};
use crate::read_log::{ReadsWanted, RecordedRead};
use crate::state::Api;

/// Maximum length of an actor, in characters, limited by the column in the table.
const LONGEST_ACTOR: usize = 512;

fn example() -> Value {
    json!({
        "id": "01a20cb5-3049-75e2-a5d3-40cf90fe63b4", "recorded_at": "2026-11-24T08:38:50.699142Z",
        "actor": "audit@example.com", "via": "http", "request_id": "01a20c52-84f4-7444-83a5-f001d7d34c61",
        "kind": "history", "outcome": "given", "patient_id": fields::AN_ID, "event_type": null, "after": 0, "to": 2,
    })
}

pub(super) fn described() -> Described {
    Described::new(
        "List recorded reads",
        "Every read of a history, of a past state of a patient and of the feed, over HTTP and from the command line, in \
         chronological order. Each read was recorded before its data was returned. Reads of the record itself are not included.",
    )
    .takes([
        fields::query(
            "after",
            fields::uuid(),
            json!("01a20cb5-3049-75e2-a5d3-40cf90fe63b4"),
            "Only entries after the entry with this id.",
        ),
        fields::limit(),
        fields::query(
            "patient_id",
            fields::uuid(),
            json!(fields::AN_ID),
            "Only reads that are limited to this patient.",
        ),
        fields::query(
            "actor",
            fields::string()
                .min_length(Some(1))
                .max_length(Some(LONGEST_ACTOR))
                .pattern(Some("^[^\\u0000-\\u001f\\u007f-\\u009f]+$")),
            json!("audit@example.com"),
            "Only reads by this actor.",
        ),
    ])
    .answers(
        200,
        "A page of entries.",
        [Media::json_list::<RecordedRead>(json!([example()]))],
        [
            fields::link(
                "</audit/reads?after=01a20cb5-3049-75e2-a5d3-40cf90fe63b4&limit=100>; rel=\"next\", </audit/reads?limit=100>; rel=\"first\"",
            ),
            fields::cache_control("no-store"),
        ],
    )
    .problems([kinds::INVALID_REQUEST, kinds::UNAVAILABLE])
}

pub(super) async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let mut query = Query::parse(query.as_deref());
    let limit = query.limit().unwrap_or(DEFAULT_LIMIT);
    let after = query.read("after", "must be the id of an entry", |value| {
        Uuid::try_parse(value).ok()
    });
    let wanted = ReadsWanted {
        after,
        patient: patient_id(&mut query, "patient_id"),
        actor: query.short_text("actor", LONGEST_ACTOR),
    };
    query.finish()?;
    // One extra entry shows whether there is a next page.
    let mut page = api.read_log.list(&wanted, limit + 1).await.map_err(|error| {
        tracing::error!(%error, "the record of reads could not be read");
        ApiError::from(&error)
    })?;
    let more = page.len() > limit as usize;
    page.truncate(limit as usize);
    let next = page
        .last()
        .filter(|_| more)
        .map(|last| page_after(&wanted, Some(&last.id), limit));
    let mut response = Json(page).into_response();
    set_links(&mut response, &page_after(&wanted, None, limit), next.as_deref());
    Ok(response)
}

/// Returns the address of the page after the entry with the id `last`, or of the first page.
fn page_after(wanted: &ReadsWanted, last: Option<&str>, limit: u32) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(last.map(|last| ("after", last)));
    query.append_pair("limit", &limit.to_string());
    query.extend_pairs(wanted.patient.iter().map(|id| ("patient_id", id.to_string())));
    query.extend_pairs(wanted.actor.iter().map(|actor| ("actor", actor)));
    format!("/audit/reads?{}", query.finish())
}
