//! `GET /holds`: the current holds of all patients.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use web::headers::set_links;
use web::query::{DEFAULT_LIMIT, Query};

use crate::hold::{HoldStatus, holds};
use crate::openapi::{Described, Media, fields};
use crate::parameters::position;
use crate::problem::{ApiError, kinds};
use crate::state::Api;

pub(super) fn described() -> Described {
    Described::new(
        "List holds",
        "The hold of each patient who has one, also if it has expired, in the order in which they were recorded. Released holds and \
         replaced holds are omitted. A page can be empty although more pages follow: continue while `Link` has `next`.",
    )
    .takes([
        fields::query(
            "after",
            fields::whole_number(0),
            json!(0),
            "Only holds with a larger position.",
        ),
        fields::limit(),
    ])
    .answers(
        200,
        "A page of holds.",
        [Media::json_list::<HoldStatus>(json!([super::example()]))],
        [
            fields::link("</holds?after=117&limit=100>; rel=\"next\", </holds?limit=100>; rel=\"first\""),
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

/// Lists the holds, page by page.
pub(super) async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let mut query = Query::parse(query.as_deref());
    let after = position(&mut query, "after").unwrap_or_default();
    let limit = query.limit().unwrap_or(DEFAULT_LIMIT);
    query.finish()?;
    let (page, next) = holds(&api.log, after, limit, api.clock.now()).await?;
    let next = next.map(|after| format!("/holds?after={after}&limit={limit}"));
    let mut response = Json(page).into_response();
    set_links(&mut response, &format!("/holds?limit={limit}"), next.as_deref());
    Ok(response)
}
