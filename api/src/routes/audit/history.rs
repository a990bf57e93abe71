//! `GET /patients/{id}/history`: every event of a patient.

use axum::Json;
use axum::extract::{OriginalUri, RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use web::headers::set_links;
use web::query::{DEFAULT_LIMIT, Query};

use super::{Reader, events};
use crate::openapi::{Described, Media, fields, schemas};
use crate::problem::{ApiError, kinds};
use crate::read_log::ReadKind;
use crate::routes::PatientId;
use crate::state::Api;

pub(super) fn described() -> Described {
    Described::new(
        "Read a patient's history",
        "All events of the patient, in order, even if the patient was deleted. For an amendment, `changes` has the values before and \
         after it.",
    )
    .takes([
        fields::patient_id(),
        fields::limit(),
        fields::query(
            "after",
            fields::whole_number(0),
            json!(0),
            "Only events after this sequence.",
        ),
    ])
    .answers(
        200,
        "A page of events.",
        [Media::json_list::<schemas::HistoryEntry>(json!([events::example()]))],
        [
            fields::link(&format!(
                "</patients/{id}/history?after=100&limit=100>; rel=\"next\", </patients/{id}/history?limit=100>; rel=\"first\"",
                id = fields::AN_ID
            )),
            fields::cache_control("no-store"),
        ],
    )
    .problems([
        kinds::PATIENT_NOT_FOUND,
        kinds::INVALID_REQUEST,
        kinds::OVERLOADED,
        kinds::SHUTTING_DOWN,
        kinds::UNAVAILABLE,
        kinds::LOG_DAMAGED,
        kinds::KEYRING_UNUSABLE,
    ])
}

pub(super) async fn list(
    State(api): State<Api>,
    reader: Reader,
    PatientId(id): PatientId,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut query = Query::parse(query.as_deref());
    let limit = query.limit().unwrap_or(DEFAULT_LIMIT);
    let after = query.number("after").unwrap_or(0);
    query.finish()?;

    // One extra event shows whether there is a next page.
    let mut events = api.history.entries(id, after, limit + 1).await?;
    // A page after the last event is empty. If there are no events at all, the patient does not exist.
    if events.is_empty() && api.history.events(id, 0, 1).await?.is_empty() {
        reader.reads_patient(&api, ReadKind::History, id, None).await?;
        return Err(ApiError::PatientNotFound);
    }
    let more = events.len() > limit as usize;
    events.truncate(limit as usize);
    let reaches = events.last().map_or(after, |last| last.event.sequence);
    reader
        .reads_patient(&api, ReadKind::History, id, Some((after, reaches)))
        .await?;
    let next = events.last().filter(|_| more).map(|last| last.event.sequence);
    let mut response = Json(events).into_response();
    let first = format!("{}?limit={limit}", uri.path());
    let next = next.map(|after| format!("{}?after={after}&limit={limit}", uri.path()));
    set_links(&mut response, &first, next.as_deref());
    Ok(response)
}
