//! `GET /getPatients`, `GET /patients`: the active patients, page by page, in the order of their ids.

use axum::extract::{OriginalUri, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Api;
use crate::headers::{min_position, set_next};
use crate::openapi::{Described, Media, PATIENTS, fields};
use crate::problem::{ApiError, kinds};
use crate::query::{DEFAULT_LIMIT, Query};
use crate::reads::PageRequest;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A patient in the list.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes; the list comes as JSON from the database")]
struct ListedPatient {
    id: Uuid,
    #[schema(example = "John Doe")]
    name: String,
    #[schema(example = "john@example.com")]
    email: String,
}

pub(super) fn described() -> Described {
    let example = json!([{"id": fields::AN_ID, "name": "John Doe", "email": "john@example.com"}]);
    let id = json!(fields::AN_ID);
    Described::new(
        PATIENTS,
        "List patients",
        "The active ones, in the order of their ids, which is about that of their registrations. The list follows what was \
         written by some milliseconds, unless `Min-Position` is sent. `GET /patients` and `GET /getPatients` are the same.",
    )
    .takes([
        fields::limit(),
        fields::query("after", fields::uuid(), id, "The id that the page comes after."),
        fields::min_position(),
    ])
    .answers(
        200,
        "A page.",
        [Media::json_list::<ListedPatient>(example)],
        [fields::link(&format!(
            "</patients?limit=100&after={}>; rel=\"next\"",
            fields::AN_ID
        ))],
    )
    .problems([
        kinds::INVALID_REQUEST,
        kinds::NOT_PROJECTED_YET,
        kinds::OVERLOADED,
        kinds::SHUTTING_DOWN,
        kinds::UNAVAILABLE,
    ])
}

pub(super) async fn list(
    State(api): State<Api>,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let page = parse(query.as_deref())?;
    if let Some(position) = min_position(&headers)? {
        api.reads
            .wait_for(position, api.options.read_wait)
            .await?
            .map_err(ApiError::NotProjectedYet)?;
    }
    let found = api.reads.page(page).await?;
    let mut response = ([(header::CONTENT_TYPE, JSON)], found.json).into_response();
    if let Some(next) = found.next {
        let target = format!("{}?limit={}&after={next}", uri.path(), page.limit);
        set_next(&mut response, &target);
    }
    Ok(response)
}

fn parse(query: Option<&str>) -> Result<PageRequest, ApiError> {
    let mut query = Query::parse(query);
    let page = PageRequest {
        limit: query.limit().unwrap_or(DEFAULT_LIMIT),
        after: query.id("after"),
    };
    query.finish()?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn limit_and_after_have_defaults_and_bounds() {
        let id = Uuid::from_u128(7);
        assert_eq!(
            parse(None).unwrap(),
            PageRequest {
                limit: 100,
                after: None
            }
        );
        assert_eq!(
            parse(Some(&format!("limit=1000&after={id}&x=y"))).unwrap(),
            PageRequest {
                limit: 1000,
                after: Some(id)
            }
        );
        for bad in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=x",
            "limit=",
            "after=",
            "after=1",
            "limit",
            "limit=1&limit=2",
        ] {
            assert!(parse(Some(bad)).is_err(), "{bad}");
        }
        let Err(ApiError::Invalid(problems)) = parse(Some("limit=x&after=y")) else {
            panic!("accepted")
        };
        assert_eq!(problems.len(), 2);
    }
}
