//! `GET /audit/reads`: the record of reads. `GET /patients/{id}/reads`: the reads of one patient.

use axum::Json;
use axum::extract::{OriginalUri, RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use url::form_urlencoded;
use utoipa::openapi::path::Parameter;
use uuid::Uuid;
use web::headers::set_links;
use web::query::{DEFAULT_LIMIT, Query};

use crate::openapi::{Described, Media, fields};
use crate::parameters::patient_id;
use crate::problem::{ApiError, kinds};
use crate::read_log::{ReadsWanted, RecordedRead};
use crate::routes::PatientId;
use crate::state::Api;

/// Maximum length of an actor, in characters, limited by the column in the table.
const LONGEST_ACTOR: usize = 512;

/// Orders of the entries. The first is the default.
const ORDERS: [&str; 2] = ["asc", "desc"];

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
         chronological order, or with `order=desc` in reverse chronological order. With `READ_RECORD=all` or `strict`, also every read of a current state, and an entry for each patient \
         on a page of the list. Reads of the record itself are not included.",
    )
    .takes([
        order(),
        after(),
        fields::limit(),
        fields::query(
            "patient_id",
            fields::uuid(),
            json!(fields::AN_ID),
            "Only reads of this patient.",
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

pub(super) fn of_patient_described() -> Described {
    let id = fields::AN_ID;
    Described::new(
        "List the recorded reads of a patient",
        "The same entries as `GET /audit/reads?patient_id=`: the patient's access log. It is also available for deleted patients. For \
         an id that no patient has or ever had, it contains the reads that asked for this id.",
    )
    .takes([fields::patient_id(), order(), after(), fields::limit()])
    .answers(
        200,
        "A page of entries.",
        [Media::json_list::<RecordedRead>(json!([example()]))],
        [
            fields::link(&format!(
                "</patients/{id}/reads?after=01a20cb5-3049-75e2-a5d3-40cf90fe63b4&limit=100>; rel=\"next\", \
                 </patients/{id}/reads?limit=100>; rel=\"first\""
            )),
            fields::cache_control("no-store"),
        ],
    )
    .problems([kinds::PATIENT_NOT_FOUND, kinds::INVALID_REQUEST, kinds::UNAVAILABLE])
}

/// Describes the parameter `after`.
fn after() -> Parameter {
    fields::query(
        "after",
        fields::uuid(),
        json!("01a20cb5-3049-75e2-a5d3-40cf90fe63b4"),
        "Only entries after the entry with this id, in the order of the list: with `order=desc`, these are older entries.",
    )
}

/// Describes the parameter `order`.
fn order() -> Parameter {
    fields::query(
        "order",
        fields::string().enum_values(Some(ORDERS)),
        json!("desc"),
        "`asc` (the default) for the oldest entry first, `desc` for the newest entry first.",
    )
}

pub(super) async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let mut query = Query::parse(query.as_deref());
    let limit = query.limit().unwrap_or(DEFAULT_LIMIT);
    let wanted = ReadsWanted {
        after: after_entry(&mut query),
        newest_first: newest_first(&mut query),
        patient: patient_id(&mut query, "patient_id"),
        actor: query.short_text("actor", LONGEST_ACTOR),
    };
    query.finish()?;
    let filter = wanted.clone();
    page(&api, &wanted, limit, |last| {
        page_after("/audit/reads", &filter, last, limit)
    })
    .await
}

pub(super) async fn of_patient(
    State(api): State<Api>,
    PatientId(id): PatientId,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut query = Query::parse(query.as_deref());
    let limit = query.limit().unwrap_or(DEFAULT_LIMIT);
    let wanted = ReadsWanted {
        after: after_entry(&mut query),
        newest_first: newest_first(&mut query),
        patient: Some(id),
        actor: None,
    };
    query.finish()?;
    // The path has the patient.
    let filter = ReadsWanted {
        newest_first: wanted.newest_first,
        ..ReadsWanted::default()
    };
    page(&api, &wanted, limit, |last| {
        page_after(uri.path(), &filter, last, limit)
    })
    .await
}

fn after_entry(query: &mut Query) -> Option<Uuid> {
    query.read("after", "must be the id of an entry", |value| {
        Uuid::try_parse(value).ok()
    })
}

fn newest_first(query: &mut Query) -> bool {
    let must = format!("must be one of {}", ORDERS.join(", "));
    let order = query.read("order", &must, |value| {
        ORDERS.iter().position(|order| *order == value)
    });
    order == Some(1)
}

/// Returns a page, with links to the next page and to the first page. `link_after` returns their addresses.
async fn page(
    api: &Api,
    wanted: &ReadsWanted,
    limit: u32,
    link_after: impl Fn(Option<&str>) -> String,
) -> Result<Response, ApiError> {
    // One extra entry shows whether there is a next page.
    let mut page = api.read_log.list(wanted, limit + 1).await.map_err(|error| {
        tracing::error!(%error, "the record of reads could not be read");
        ApiError::from(&error)
    })?;
    let more = page.len() > limit as usize;
    page.truncate(limit as usize);
    let next = page
        .last()
        .filter(|_| more)
        .map(|last| link_after(Some(&last.id)));
    let mut response = Json(page).into_response();
    set_links(&mut response, &link_after(None), next.as_deref());
    Ok(response)
}

/// Returns the address of the page after the entry with the id `last`, or of the first page.
fn page_after(path: &str, wanted: &ReadsWanted, last: Option<&str>, limit: u32) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(last.map(|last| ("after", last)));
    query.append_pair("limit", &limit.to_string());
    query.extend_pairs(wanted.newest_first.then_some(("order", "desc")));
    query.extend_pairs(wanted.patient.iter().map(|id| ("patient_id", id.to_string())));
    query.extend_pairs(wanted.actor.iter().map(|actor| ("actor", actor)));
    format!("{path}?{}", query.finish())
}
