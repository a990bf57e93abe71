//! Access to private functions, for the fuzz targets (`tests/fuzz`).

use std::net::IpAddr;

use axum::http::HeaderMap;
use domain::{Registration, UrlSchemes};
use eventstore::{Position, Timestamp};
use uuid::Uuid;
use web::RequestError;
use web::accept::{preferred, prefers_gzip};
use web::access::Access;
use web::body::JsonObject;
use web::clients::Proxies;
use web::headers::{idempotency_key, if_match};
use web::query::Query;

use crate::headers::{last_event_id, min_position};
use crate::parameters::{patient_id, position};
use crate::problem::ApiError;
use crate::routes;

const NDJSON: &str = "application/x-ndjson";

/// Parses a request body as a registration.
///
/// # Errors
///
/// [`ApiError`].
pub fn registration(body: &[u8]) -> Result<Registration, ApiError> {
    routes::registration(JsonObject::parse(body)?, &UrlSchemes::default())
}

/// Parsed query parameters, regardless of the route.
#[derive(Debug)]
pub struct Parameters {
    /// `after`, as a position.
    pub after: Option<Position>,
    /// `limit`.
    pub limit: Option<u32>,
    /// `at`.
    pub at: Option<Timestamp>,
    /// `aggregate_id`.
    pub id: Option<Uuid>,
}

/// Parses a query string.
///
/// # Errors
///
/// [`RequestError`].
pub fn parameters(query: &str) -> Result<Parameters, RequestError> {
    let mut query = Query::parse(Some(query));
    let parameters = Parameters {
        after: position(&mut query, "after"),
        limit: query.limit(),
        at: query.moment("at"),
        id: patient_id(&mut query, "aggregate_id"),
    };
    query.finish().map(|()| parameters)
}

/// Parsed request headers, regardless of the route.
#[derive(Debug)]
pub struct Headers<'h> {
    /// `Idempotency-Key`.
    pub idempotency_key: Result<Option<&'h str>, RequestError>,
    /// `Min-Position`.
    pub min_position: Result<Option<Position>, RequestError>,
    /// `Last-Event-ID`.
    pub last_event_id: Result<Option<Position>, RequestError>,
    /// `If-Match`.
    pub if_match: Result<Option<Vec<u64>>, RequestError>,
    /// Whether `Accept` prefers NDJSON to JSON.
    pub ndjson: bool,
    /// Whether `Accept-Encoding` prefers gzip.
    pub gzip: bool,
}

/// Parses the headers of a request.
#[must_use]
pub fn headers(headers: &HeaderMap) -> Headers<'_> {
    Headers {
        idempotency_key: idempotency_key(headers),
        min_position: min_position(headers),
        last_event_id: last_event_id(headers),
        if_match: if_match(headers),
        ndjson: preferred(headers, "application/json", &[NDJSON]) == NDJSON,
        gzip: prefers_gzip(headers),
    }
}

/// Returns the actor that these headers identify.
#[must_use]
pub fn actor(access: &Access, headers: &HeaderMap) -> String {
    access.caller(headers).actor().to_owned()
}

/// Returns the client's address for a request with these headers, received from `peer` through `proxies`.
#[must_use]
pub fn client(proxies: &Proxies, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    proxies.client(peer, headers)
}
