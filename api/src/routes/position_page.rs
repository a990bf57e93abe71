//! Pages of a list that is read from the log, in the order of positions. A page can be empty although more
//! pages follow.

use axum::Json;
use axum::response::{IntoResponse, Response};
use eventstore::Position;
use serde::Serialize;
use serde_json::json;
use web::headers::set_links;
use web::query::{DEFAULT_LIMIT, Query};

use crate::openapi::{Described, Media, fields};
use crate::parameters::position;
use crate::problem::{ApiError, kinds};

/// The page that a client requests.
pub(super) struct PositionPage {
    pub(super) after: Position,
    /// Maximum number of entries.
    pub(super) limit: u32,
}

impl PositionPage {
    /// Parses `after` and `limit`.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let mut query = Query::parse(query);
        let after = position(&mut query, "after").unwrap_or_default();
        let limit = query.limit().unwrap_or(DEFAULT_LIMIT);
        query.finish()?;
        Ok(Self { after, limit })
    }

    /// Returns the response with the entries of the page of `path`. `next` is the position after which the
    /// next page begins.
    pub(super) fn response(&self, path: &str, entries: impl Serialize, next: Option<Position>) -> Response {
        let limit = self.limit;
        let next = next.map(|after| format!("{path}?after={after}&limit={limit}"));
        let mut response = Json(entries).into_response();
        set_links(&mut response, &format!("{path}?limit={limit}"), next.as_deref());
        response
    }
}

/// Adds the parameters and responses of such a list. `after` describes the parameter of that name.
pub(super) fn described(
    described: Described,
    path: &str,
    after: &str,
    (text, media): (&'static str, Media),
) -> Described {
    let link = format!("<{path}?after=117&limit=100>; rel=\"next\", <{path}?limit=100>; rel=\"first\"");
    described
        .takes([
            fields::query("after", fields::whole_number(0), json!(0), after),
            fields::limit(),
        ])
        .answers(
            200,
            text,
            [media],
            [fields::link(&link), fields::cache_control("no-store")],
        )
        .problems([
            kinds::INVALID_REQUEST,
            kinds::UNAVAILABLE,
            kinds::LOG_DAMAGED,
            kinds::PATIENT_UNREADABLE,
        ])
}
