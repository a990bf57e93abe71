//! `GET /getPatients`, `GET /patients`: the active patients, page by page, in the order of their ids.

use axum::extract::{OriginalUri, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Api;
use crate::headers::min_position;
use crate::openapi::{Described, Media, PATIENTS, fields};
use crate::problem::{ApiError, FieldProblem, kinds};
use crate::reads::PageRequest;

const DEFAULT_LIMIT: u32 = 100;
const LARGEST_LIMIT: u32 = 1000;
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
    let page = parse(query.as_deref().unwrap_or_default())?;
    if let Some(position) = min_position(&headers)? {
        api.reads
            .wait_for(position, api.options.read_wait)
            .await?
            .map_err(ApiError::NotProjectedYet)?;
    }
    let found = api.reads.page(page).await?;
    let mut response = ([(header::CONTENT_TYPE, JSON)], found.json).into_response();
    if let Some(next) = found.next {
        let link = format!("<{}?limit={}&after={next}>; rel=\"next\"", uri.path(), page.limit);
        if let Ok(link) = link.parse() {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    Ok(response)
}

/// `limit` is a whole number from 1 to 1000, `after` an id; neither needs percent-encoding.
fn parse(query: &str) -> Result<PageRequest, ApiError> {
    let mut page = PageRequest {
        limit: DEFAULT_LIMIT,
        after: None,
    };
    let mut problems = Vec::new();
    for (name, value) in query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name, value)
    }) {
        match name {
            "limit" => match value.parse() {
                Ok(limit) if (1..=LARGEST_LIMIT).contains(&limit) => page.limit = limit,
                _ => problems.push(FieldProblem::new(
                    "limit",
                    "must be a whole number from 1 to 1000",
                )),
            },
            "after" => match Uuid::try_parse(value) {
                Ok(id) => page.after = Some(id),
                Err(_) => problems.push(FieldProblem::new("after", "must be the id of a patient")),
            },
            // Parameters that are not ours (a cache buster, a campaign's tag) do no harm.
            _ => {}
        }
    }
    if problems.is_empty() {
        Ok(page)
    } else {
        Err(ApiError::Invalid(problems))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_and_after_have_defaults_and_bounds() {
        let id = Uuid::from_u128(7);
        assert_eq!(
            parse("").unwrap(),
            PageRequest {
                limit: 100,
                after: None
            }
        );
        assert_eq!(
            parse(&format!("limit=1000&after={id}&x=y")).unwrap(),
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
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let Err(ApiError::Invalid(problems)) = parse("limit=x&after=y") else {
            panic!("accepted")
        };
        assert_eq!(problems.len(), 2);
    }
}
