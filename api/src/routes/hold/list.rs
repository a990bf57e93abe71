//! `GET /holds`: the current holds of all patients.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::json;

use crate::hold::{HoldStatus, holds};
use crate::openapi::{Described, Media};
use crate::problem::ApiError;
use crate::routes::position_page::{self, PositionPage};
use crate::state::Api;

pub(super) const PATH: &str = "/holds";

pub(super) fn described() -> Described {
    let described = Described::new(
        "List holds",
        "The hold of each patient who has one, even if it has expired, in the order in which they were recorded. Released holds \
         and replaced holds are omitted. A page can be empty although more pages follow: continue while `Link` has `next`.",
    );
    let page = (
        "A page of holds.",
        Media::json_list::<HoldStatus>(json!([super::example()])),
    );
    position_page::described(described, PATH, "Only holds with a larger position.", page)
}

/// Lists the holds, page by page.
pub(super) async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let page = PositionPage::parse(query.as_deref())?;
    let (holds, next) = holds(&api.log, page.after, page.limit, api.clock.now()).await?;
    Ok(page.response(PATH, holds, next))
}
