//! `GET /erasures/due`: the deleted patients whose retention period has ended.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::json;

use crate::openapi::{Described, Media, fields};
use crate::problem::ApiError;
use crate::retention::{ErasureDue, erasures_due};
use crate::routes::position_page::{self, PositionPage};
use crate::state::Api;

pub(super) const PATH: &str = "/erasures/due";

pub(super) fn described() -> Described {
    let example = json!([{
        "id": fields::AN_ID, "position": 16, "deleted_at": "2021-11-24T08:38:47.323577Z",
        "due_at": "2026-11-24T08:38:47.323577Z", "held_until": null,
    }]);
    let described = Described::new(
        "List erasures that are due",
        "The deleted patients who are not erased, and whose retention period (`RETENTION`) has ended, in the order of their \
         deletions. `patients erase --due` erases these patients, except those with a hold. Without a retention period, the list \
         has all deleted patients. A page can be empty although more pages follow: continue while `Link` has `next`.",
    );
    let page = ("A page of patients.", Media::json_list::<ErasureDue>(example));
    position_page::described(described, PATH, "Only deletions with a larger position.", page)
}

/// Lists the erasures that are due, page by page.
pub(super) async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let page = PositionPage::parse(query.as_deref())?;
    let (period, now) = (api.options.retention.period, api.clock.now());
    let (due, next) = erasures_due(&api.log, period, page.after, page.limit, now).await?;
    Ok(page.response(PATH, due, next))
}
