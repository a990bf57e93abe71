//! `GET /events`: the feed, page by page or as one NDJSON stream. `GET /events/stream`: the live feed.

use axum::Json;
use axum::body::Body;
use axum::extract::{OriginalUri, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use cqrs_es::Aggregate;
use domain::{EVENT_TYPES, Patient};
use eventstore::{EventFilter, Position};
use futures::StreamExt;
use serde_json::{Value, json};
use url::form_urlencoded;
use utoipa::openapi::path::Parameter;
use uuid::Uuid;
use web::RouteKind;
use web::accept::preferred;
use web::headers::set_links;
use web::problem::Kind;
use web::query::{DEFAULT_LIMIT, Query};

use super::Reader;
use crate::feed::frames;
use crate::headers::{EVENT_POSITION, last_event_id};
use crate::openapi::fields::Named;
use crate::openapi::{Described, Media, fields, schemas};
use crate::parameters::{patient_id, position};
use crate::problem::{ApiError, kinds};
use crate::read_log::{ReadKind, ReadOutcome, ReadRecord};
use crate::routes::{NDJSON, still_allowed};
use crate::state::Api;

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

pub(super) fn example() -> Value {
    json!({
        "position": 1, "aggregate_type": "patient", "aggregate_id": fields::AN_ID, "sequence": 1,
        "event_type": "PatientRegistered", "event_version": "1.0",
        "payload": {
            "document_url": "https://example.com/photos/john.jpg", "email": "john@example.com", "name": "John Doe",
            "phone": "+1234567890", "type": "PatientRegistered",
        },
        "metadata": {"actor": "front-desk", "request_id": "01a20cb5-231a-78b4-a848-3c6052b0186b"},
        "recorded_at": "2026-11-24T08:38:47.323577Z",
        "hash": "6ebb206010f848c5300dfeea80f40da414930b57e4bd0e72f46a2de7275e70ef",
    })
}

fn filters() -> [Parameter; 3] {
    let types = fields::string().enum_values(Some(EVENT_TYPES));
    [
        fields::query(
            "after",
            fields::whole_number(0),
            json!(0),
            "Only events after this position.",
        ),
        fields::query("type", types, json!(EVENT_TYPES[0]), "Only events of this type."),
        fields::query(
            "aggregate_id",
            fields::uuid(),
            json!(fields::AN_ID),
            "Only events of this patient.",
        ),
    ]
}

fn no_store() -> Named {
    fields::cache_control("no-store")
}

pub(super) fn pages_described() -> Described {
    let line = format!("{}\n", example());
    Described::new(
        "Read the event feed",
        "The events of all patients, ordered by position. The response is a page of JSON or, if `Accept` prefers \
         `application/x-ndjson`, a stream with one event per line, up to the end of the log or to `limit`.",
    )
    .takes(filters())
    .takes([fields::limit()])
    .answers(
        200,
        "A page of events, or an NDJSON stream.",
        [
            Media::json_list::<schemas::Event>(json!([example()])),
            Media::of(NDJSON, fields::string(), Some(line.into())),
        ],
        [
            fields::event_position("The position up to which the response covers the log. Absent from an NDJSON stream with `limit`."),
            fields::link(
                "</events?after=100&limit=100>; rel=\"next\", </events?after=0&limit=100>; rel=\"first\"",
            ),
            fields::vary("accept"),
            no_store(),
        ],
    )
    .problems(refused())
}

pub(super) fn live_described() -> Described {
    let text = format!("retry: 1000\nid: 1\ndata: {}\n\n", example());
    Described::new(
        "Follow the event feed",
        "Server-sent events: first the existing events after `after`, then each new event as soon as it is recorded. `id` is the \
         position, and `data` is the event. While there are no events, a comment is sent every 15 s. The stream does not end \
         by itself.",
    )
    .takes(filters())
    .takes([fields::last_event_id()])
    .answers(
        200,
        "A stream of events.",
        [Media::of(EVENT_STREAM, fields::string(), Some(text.into()))],
        [no_store()],
    )
    .problems(refused())
}

fn refused() -> [Kind; 8] {
    [
        kinds::INVALID_REQUEST,
        kinds::OVERLOADED,
        kinds::TOO_MANY_STREAMS,
        kinds::TOO_MANY_OWN_STREAMS,
        kinds::SHUTTING_DOWN,
        kinds::UNAVAILABLE,
        kinds::LOG_DAMAGED,
        kinds::KEYRING_UNUSABLE,
    ]
}

/// The part of the feed that a request asks for.
#[derive(Debug)]
struct FeedQuery {
    after: Option<Position>,
    limit: Option<u32>,
    event_type: Option<String>,
    patient: Option<Uuid>,
}

impl FeedQuery {
    /// Parses the query string of a request for a page of the feed.
    fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let mut query = Query::parse(query);
        let limit = query.limit();
        Self::finish(query, limit)
    }

    /// Parses the query of a live stream, which has no limit.
    fn parse_live(query: Option<&str>) -> Result<Self, ApiError> {
        Self::finish(Query::parse(query), None)
    }

    fn finish(mut query: Query, limit: Option<u32>) -> Result<Self, ApiError> {
        let known = format!("must be {}", EVENT_TYPES.join(" or "));
        let parsed = Self {
            after: position(&mut query, "after"),
            limit,
            event_type: query.read("type", &known, |value| {
                EVENT_TYPES.contains(&value).then(|| value.to_owned())
            }),
            patient: patient_id(&mut query, "aggregate_id"),
        };
        query.finish()?;
        Ok(parsed)
    }

    fn filter(&self) -> EventFilter {
        EventFilter {
            event_type: self.event_type.clone(),
            aggregate: self.patient.map(|id| (Patient::TYPE.to_owned(), id.to_string())),
        }
    }

    /// Returns the entry for the record of reads.
    fn read(&self, reader: &Reader, kind: ReadKind, after: Position, to: Option<Position>) -> ReadRecord {
        let outcome = match kind {
            ReadKind::Events => ReadOutcome::Given,
            _ => ReadOutcome::Begun,
        };
        ReadRecord {
            patient: self.patient,
            event_type: self.event_type.clone(),
            after: Some(after.get()),
            to: to.map(Position::get),
            ..reader.reads(kind, outcome)
        }
    }

    /// Returns the query string of the page after `position`.
    fn after(&self, position: Position, limit: u32) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("after", &position.to_string());
        query.append_pair("limit", &limit.to_string());
        query.extend_pairs(self.event_type.iter().map(|value| ("type", value)));
        query.extend_pairs(self.patient.iter().map(|id| ("aggregate_id", id.to_string())));
        query.finish()
    }
}

pub(super) async fn pages(
    State(api): State<Api>,
    reader: Reader,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let query = FeedQuery::parse(query.as_deref())?;
    let after = query.after.unwrap_or_default();
    let head = api.feed.head().await?.position;
    let (mut response, reaches) = if preferred(&headers, JSON, &[NDJSON]) == NDJSON {
        let opened = api.feed.open(
            query.filter(),
            after,
            reader.holder(),
            still_allowed(&api, &headers, RouteKind::Audit),
        )?;
        let read = query.read(&reader, ReadKind::Lines, after, Some(head));
        api.read_log.record_past(read.clone()).await?;
        let lines = opened.at_end(api.read_log.at_end(read)).lines(head, query.limit);
        let response = ([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(lines)).into_response();
        // With a limit, the position of the last line shows how far the response reaches.
        (response, query.limit.is_none().then_some(head.max(after)))
    } else {
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
        let page = api.feed.page(&query.filter(), after, head, limit).await?;
        // A poll at the end of the log that returns no events is not recorded, because it reveals nothing.
        // With a patient filter, even an empty page reveals that the patient has no further events.
        if !page.events.is_empty() || query.patient.is_some() {
            let read = query.read(&reader, ReadKind::Events, after, Some(page.reaches));
            api.read_log.record_past(read).await?;
        }
        let mut response = Json(page.events).into_response();
        let page_after = |after| format!("{}?{}", uri.path(), query.after(after, limit));
        let next = (page.reaches < head).then(|| page_after(page.reaches));
        set_links(&mut response, &page_after(Position::BEGINNING), next.as_deref());
        (response, Some(page.reaches))
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    if let Some(reaches) = reaches {
        headers.insert(EVENT_POSITION, HeaderValue::from(reaches.get()));
    }
    Ok(response)
}

pub(super) async fn live(
    State(api): State<Api>,
    reader: Reader,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let query = FeedQuery::parse_live(query.as_deref())?;
    // The last event that the browser has received is later than the position in the original URL.
    let after = last_event_id(&headers)?.or(query.after).unwrap_or_default();
    let opened = api.feed.open(
        query.filter(),
        after,
        reader.holder(),
        still_allowed(&api, &headers, RouteKind::Audit),
    )?;
    let read = query.read(&reader, ReadKind::Stream, after, None);
    api.read_log.record_past(read.clone()).await?;
    let events = opened.at_end(api.read_log.at_end(read)).live();
    let frames = frames(events.map(|event| (event.event.position, event)));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM)),
        // Without this header, nginx would buffer the events.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}
