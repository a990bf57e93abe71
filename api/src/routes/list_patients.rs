//! `GET /getPatients`, `GET /patients`: the active patients, page by page, ordered by id.

use std::borrow::Cow;

use axum::body::Bytes;
use axum::extract::{OriginalUri, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use domain::{Email, ImportSource, NameQuery, OldId, mailbox_key};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::form_urlencoded;
use utoipa::ToSchema;
use uuid::Uuid;
use web::RequestError;
use web::headers::set_links;
use web::query::{DEFAULT_LIMIT, Query};

use super::audit;
use crate::by_email;
use crate::headers::min_position;
use crate::legacy::{self, LegacyIds, ShownId};
use crate::openapi::{Described, Media, fields};
use crate::parameters::patient_id;
use crate::problem::{ApiError, kinds};
use crate::read_log::ReadKind;
use crate::state::Api;
use projector::reads::{Found, PageRequest, PageSource};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A patient in the list.
#[derive(Serialize, ToSchema)]
struct ListedPatient<'d> {
    #[schema(value_type = Uuid)]
    id: ShownId,
    #[schema(example = "John Doe")]
    name: &'d str,
    #[schema(example = "john@example.com")]
    email: &'d str,
}

pub(super) fn described() -> Described {
    let example = json!([{"id": fields::AN_ID, "name": "John Doe", "email": "john@example.com"}]);
    let id = json!(fields::AN_ID);
    let email = fields::string().max_length(Some(254));
    let old_id = fields::string().min_length(Some(1)).max_length(Some(128));
    let source = fields::string().pattern(Some("^[0-9A-Za-z._-]{1,64}$"));
    let name = fields::string().min_length(Some(1));
    Described::new(
        "List patients",
        "The active patients, ordered by id, which is approximately the order of registration. To read all of them, follow the \
         link `next` until a page has none. With `name` or `email`, a page that has a link `next` may have fewer patients than \
         `limit`, or even none. The list is a few milliseconds behind the writes, unless `Min-Position` is sent. With `email`, the \
         list is always up to date, unless the service allows patients to share an email. `GET /patients` and `GET /getPatients` are \
         equivalent. If the service runs with `LEGACY_IDS=on`, the `id` of an imported patient is the number that it had in the former \
         service, an integer instead of text, unless the request has `old_id`.",
    )
    .takes([
        fields::limit(),
        fields::query(
            "after",
            fields::uuid(),
            id,
            "Only patients after the patient with this id. If the service runs with `LEGACY_IDS=on`, also the number that the list \
             shows as the id.",
        ),
        fields::query(
            "email",
            email,
            json!("john@example.com"),
            "Only patients with this email, regardless of case. Unless the service allows patients to share an email, there is at \
             most one.",
        ),
        fields::query(
            "name",
            name,
            json!("doe joh"),
            "Only patients whose names match: each word of this text must be the beginning of a word of the name, in any order, \
             regardless of case and accents. At most 8 different words with at most 64 characters each.",
        ),
        fields::query(
            "old_id",
            old_id,
            json!("17"),
            "Only the patient who was imported with this id of the former service. The list is then always up to date.",
        ),
        fields::query(
            "old_source",
            source,
            json!("patients"),
            "The former service that `old_id` belongs to. Default: the service in the setting `LEGACY_SOURCE`.",
        ),
        fields::min_position(),
    ])
    .answers(
        200,
        "A page of patients.",
        [Media::json_list::<ListedPatient<'_>>(example)],
        [fields::link(&format!(
            "</patients?limit=100&after={}>; rel=\"next\", </patients?limit=100>; rel=\"first\"",
            fields::AN_ID
        ))],
    )
    .problems([
        kinds::INVALID_REQUEST,
        kinds::NOT_PROJECTED_YET,
        kinds::READ_TABLE_NOT_FILLED,
        kinds::OVERLOADED,
        kinds::SHUTTING_DOWN,
        kinds::UNAVAILABLE,
        kinds::LOG_DAMAGED,
        kinds::KEYRING_UNUSABLE,
        kinds::READ_TABLE_DAMAGED,
        kinds::CLAIMS_DAMAGED,
        kinds::PATIENT_UNREADABLE,
    ])
}

pub(super) async fn list(
    State(api): State<Api>,
    reader: audit::Reader,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let query = ListQuery::parse(query.as_deref(), &api.options.legacy_ids)?;
    // A page continues after the new id of the patient whose number was shown.
    let query = match &query.after_number {
        Some(number) => {
            let after = legacy::resolve(&api, &api.options.legacy_ids.source, number).await?;
            ListQuery {
                after: Some(after),
                ..query
            }
        }
        None => query,
    };
    let min_position = min_position(&headers)?;
    // A search that finds the patient by its old id or its claim is always current.
    let is_current = async || match query.email {
        _ if query.old_id.is_some() => Ok(true),
        Some(_) => by_email::is_current(&api.log).await,
        None => Ok(false),
    };
    if let Some(position) = min_position
        && !is_current().await?
    {
        let source = match (&query.email, &query.name) {
            (Some(_), _) => PageSource::Email,
            (None, Some(_)) => PageSource::Names,
            (None, None) => PageSource::Patients,
        };
        api.reads
            .wait_for(position, source, api.options.read_wait)
            .await?
            .map_err(ApiError::NotProjectedYet)?;
    }
    let (json, next) = if let Some(old_id) = &query.old_id {
        (with_old_id(&api, &query, old_id).await?, None)
    } else if let Some(email) = &query.email {
        with_email(&api, &query, email).await?
    } else {
        let page = api.reads.page(query.page()).await?;
        (page.json, page.next)
    };
    if api.read_log.records_current() {
        reader.reads_page(&api, query.kind(), &ids(&json)?).await?;
    }
    // A client that asks by an old id wants to know the new id.
    let json = if api.options.legacy_ids.in_paths && query.old_id.is_none() {
        numbered(&api, &json).await?
    } else {
        json
    };
    let mut response = ([(header::CONTENT_TYPE, JSON)], json).into_response();
    let page_after = |after| format!("{}?{}", uri.path(), query.page_after(after));
    let next = next.as_deref().map(|next| page_after(Some(next)));
    set_links(&mut response, &page_after(None), next.as_deref());
    Ok(response)
}

/// Returns the ids of the patients on a page.
fn ids(json: &[u8]) -> Result<Vec<Uuid>, ApiError> {
    #[derive(Deserialize)]
    struct OnPage<'j> {
        #[serde(borrow)]
        id: Cow<'j, str>,
    }
    let page: Vec<OnPage<'_>> = serde_json::from_slice(json).map_err(|_| RequestError::Internal)?;
    page.iter()
        .map(|patient| Uuid::try_parse(&patient.id))
        .collect::<Result<_, _>>()
        .map_err(|_| {
            tracing::error!("a row of the read table has an id that is not a UUID: rebuild the projection");
            ApiError::ReadTableDamaged
        })
}

/// Returns a page with the numbers of the patients who were imported from the service of the setting.
async fn numbered(api: &Api, json: &Bytes) -> Result<Bytes, ApiError> {
    #[derive(Deserialize)]
    struct OnPage<'j> {
        #[serde(borrow)]
        name: Cow<'j, str>,
        #[serde(borrow)]
        email: Cow<'j, str>,
    }
    let ids = ids(json)?;
    let numbers = legacy::numbers(api, &ids).await?;
    let page: Vec<OnPage<'_>> = serde_json::from_slice(json).map_err(|_| RequestError::Internal)?;
    let listed: Vec<_> = ids
        .into_iter()
        .zip(&page)
        .map(|(id, patient)| ListedPatient {
            id: numbers
                .get(&id)
                .map_or(id.into(), |number| ShownId::Number(*number)),
            name: &patient.name,
            email: &patient.email,
        })
        .collect();
    let json = serde_json::to_vec(&listed).map_err(|_| RequestError::Internal)?;
    Ok(json.into())
}

/// Returns a page with the patient who was imported with this old id, if the patient also fits the rest of
/// the query.
async fn with_old_id(api: &Api, query: &ListQuery, old_id: &OldId) -> Result<Bytes, ApiError> {
    let source = query.old_source.as_ref();
    let source = source.unwrap_or(&api.options.legacy_ids.source);
    let id = legacy::resolve(api, source, old_id).await?;
    let found = match api.reads.by_id(id).await? {
        Found::Active(details, _) => Some(details),
        Found::Deleted | Found::Erased | Found::Nothing => None,
    };
    let listed: Vec<_> = found
        .iter()
        .filter(|details| {
            let (email, name) = (query.email.as_ref(), query.name.as_ref());
            email.is_none_or(|email| mailbox_key(email.as_str()) == mailbox_key(&details.email))
                && name.is_none_or(|name| name.matches_name(&details.name))
                && query.after.is_none_or(|after| id > after)
        })
        .map(|details| ListedPatient {
            id: id.into(),
            name: &details.name,
            email: &details.email,
        })
        .collect();
    let json = serde_json::to_vec(&listed).map_err(|_| RequestError::Internal)?;
    Ok(json.into())
}

/// Returns a page of the patients who have the requested email, and the id after which the next page begins.
async fn with_email(
    api: &Api,
    query: &ListQuery,
    email: &Email,
) -> Result<(Bytes, Option<String>), ApiError> {
    let found = by_email::find(&api.log, &api.reads, email, query.after, query.limit).await?;
    let listed: Vec<_> = found
        .patients
        .iter()
        .filter(|(_, details)| {
            let name = query.name.as_ref();
            name.is_none_or(|name| name.matches_name(&details.name))
        })
        .map(|(id, details)| ListedPatient {
            id: (*id).into(),
            name: &details.name,
            email: &details.email,
        })
        .collect();
    let json = serde_json::to_vec(&listed).map_err(|_| RequestError::Internal)?;
    Ok((json.into(), found.next.map(|next| next.to_string())))
}

/// The patient after whom a page begins.
enum After {
    Id(Uuid),
    Number(OldId),
}

/// Returns the parameter `after`: an id or, if the setting allows it, a number.
fn after(query: &mut Query, legacy_ids: &LegacyIds) -> Option<After> {
    if !legacy_ids.in_paths {
        return patient_id(query, "after").map(After::Id);
    }
    query.read("after", "must be the id or the number of a patient", |value| {
        let id = Uuid::try_parse(value).ok().map(After::Id);
        let number = || legacy::number(value).and_then(|_| OldId::parse(value).ok());
        id.or_else(|| number().map(After::Number))
    })
}

/// Query parameters of a request for the list.
#[derive(Debug, PartialEq, Eq)]
struct ListQuery {
    limit: u32,
    after: Option<Uuid>,
    /// The number of a patient in place of `after`.
    after_number: Option<OldId>,
    email: Option<Email>,
    name: Option<NameQuery>,
    old_id: Option<OldId>,
    old_source: Option<ImportSource>,
}

impl ListQuery {
    fn parse(query: Option<&str>, legacy_ids: &LegacyIds) -> Result<Self, ApiError> {
        let mut query = Query::parse(query);
        let (after, after_number) = match after(&mut query, legacy_ids) {
            Some(After::Id(id)) => (Some(id), None),
            Some(After::Number(number)) => (None, Some(number)),
            None => (None, None),
        };
        let parsed = Self {
            limit: query.limit().unwrap_or(DEFAULT_LIMIT),
            after,
            after_number,
            // In a query string, a + that is not percent-encoded means a space. Emails contain no spaces, so
            // a space must have been a +.
            email: query.text("email", |email| Email::parse(&email.trim().replace(' ', "+"))),
            name: query.text("name", NameQuery::parse),
            old_id: query.text("old_id", OldId::parse),
            old_source: query.text("old_source", str::parse),
        };
        if parsed.old_id.is_none() && parsed.old_source.is_some() {
            query.reject("old_source", "requires old_id");
        }
        query.finish()?;
        Ok(parsed)
    }

    fn kind(&self) -> ReadKind {
        if self.old_id.is_some() || self.email.is_some() || self.name.is_some() {
            ReadKind::Search
        } else {
            ReadKind::List
        }
    }

    fn page(&self) -> PageRequest {
        PageRequest {
            after: self.after,
            limit: self.limit,
            name: self.name.clone(),
        }
    }

    /// Returns the query string of the page after this id, or of the first page.
    fn page_after(&self, after: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &self.limit.to_string());
        query.extend_pairs(after.iter().map(|after| ("after", after)));
        query.extend_pairs(self.email.iter().map(|email| ("email", email.as_str())));
        let name = self
            .name
            .as_ref()
            .map(|name| name.words().collect::<Vec<_>>().join(" "));
        query.extend_pairs(name.iter().map(|name| ("name", name)));
        query.extend_pairs(self.old_id.iter().map(|id| ("old_id", id.as_str())));
        query.extend_pairs(
            self.old_source
                .iter()
                .map(|source| ("old_source", source.as_str())),
        );
        query.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(query: Option<&str>) -> ListQuery {
        ListQuery::parse(query, &LegacyIds::default()).unwrap()
    }

    #[test]
    fn limit_and_after_have_defaults_and_bounds() {
        let id = Uuid::from_u128(7);
        assert_eq!((query(None).limit, query(None).after), (100, None));
        let asked = query(Some(&format!("limit=1000&after={id}")));
        assert_eq!((asked.limit, asked.after), (1000, Some(id)));
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
            "skip=100",
            "after_id=1",
        ] {
            assert!(
                ListQuery::parse(Some(bad), &LegacyIds::default()).is_err(),
                "{bad}"
            );
        }
        let Err(ApiError::Request(RequestError::Invalid(problems))) =
            ListQuery::parse(Some("limit=x&after=y&email=z&name="), &LegacyIds::default())
        else {
            panic!("accepted")
        };
        assert_eq!(problems.len(), 4);
    }

    #[test]
    fn filters_are_values_and_are_repeated_in_links() {
        let asked = query(Some(
            "email=a%2Bb@example.com&name=P%C3%A9rez%20Jos%C3%A9%20&limit=7",
        ));
        assert_eq!(
            asked,
            query(Some("email=a+b@example.com&name=jose+perez&limit=7"))
        );
        let again = asked.page_after(None);
        assert_eq!(again, "limit=7&email=a%2Bb%40example.com&name=jose+perez");
        assert_eq!(query(Some(&again)), asked);
        let next = asked.page_after(Some("7"));
        assert_eq!(next, "limit=7&after=7&email=a%2Bb%40example.com&name=jose+perez");
        for bad in [
            "email=",
            "email=a",
            "email=%FF@example.com",
            "name=",
            "name=%FF",
            "name=a%0Ab",
            "name=%25",
            "name=a+b+c+d+e+f+g+h+i",
        ] {
            assert!(
                ListQuery::parse(Some(bad), &LegacyIds::default()).is_err(),
                "{bad}"
            );
        }
        let long = format!("name={}", "a".repeat(65));
        assert!(ListQuery::parse(Some(&long), &LegacyIds::default()).is_err());
    }
}
