//! `GET /erasures/due`: the deleted patients whose retention period has ended.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use web::headers::set_links;
use web::query::{DEFAULT_LIMIT, Query};

use crate::openapi::{Described, Media, fields};
use crate::parameters::position;
use crate::problem::{ApiError, kinds};
use crate::retention::{ErasureDue, erasures_due};
use crate::state::Api;

pub(super) fn described() -> Described {
    let example = json!([{
        "id": fields::AN_ID, "position": 16, "deleted_at": "2021-11-24T08:38:47.323577Z",
        "due_at": "2026-11-24T08:38:47.323577Z", "held_until": null,
    }]);
    Described::new(
        "List erasures that are due",
        "The deleted patients who are not erased, and whose retention period (`RETENTION`) has ended, in the order of their \
         deletions. `patients erase --due` erases these patients, except those with a hold. Without a retention period, the list \
         has all deleted patients. A page can be empty although more pages follow: continue while `Link` has `next`.",
    )
    .takes([
        fields::query(
            "after",
            fields::whole_number(0),
            json!(0),
            "Only deletions with a larger position.",
        ),
        fields::limit(),
    ])
    .answers(
        200,
        "A page of patients.",
        [Media::json_list::<ErasureDue>(example)],
        [
            fields::link("</erasures/due?after=117&limit=100>; rel=\"next\", </erasures/due?limit=100>; rel=\"first\""),
            fields::cache_control("no-store"),
        ],
    )
    .problems([
        kinds::INVALID_REQUEST,
        kinds::UNAVAILABLE,
        kinds::LOG_DAMAGED,
        kinds::PATIENT_UNREADABLE,
    ])
}

/// Lists the erasures that are due, page by page.
pub(super) async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let mut query = Query::parse(query.as_deref());
    let after = position(&mut query, "after").unwrap_or_default();
    let limit = query.limit().unwrap_or(DEFAULT_LIMIT);
    query.finish()?;
    let (period, now) = (api.options.retention.period, api.clock.now());
    let (page, next) = erasures_due(&api.log, period, after, limit, now).await?;
    let next = next.map(|after| format!("/erasures/due?after={after}&limit={limit}"));
    let mut response = Json(page).into_response();
    set_links(
        &mut response,
        &format!("/erasures/due?limit={limit}"),
        next.as_deref(),
    );
    Ok(response)
}
