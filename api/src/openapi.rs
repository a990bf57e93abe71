//! The texts of the OpenAPI document, and the descriptions that several routes share.
//!
//! The file of each route contains the text for that route ([`Described`]).

pub(crate) mod fields;
mod legacy;
pub(crate) mod schemas;

use serde_json::{Value, json};
use utoipa::openapi::{Components, ComponentsBuilder};
use utoipa::{PartialSchema, ToSchema};
use web::RouteKind;
use web::openapi::Texts;
use web::problem::Kind;

pub(crate) use web::openapi::{Described, Media};

pub(crate) use legacy::allow_numbers;

use crate::problem::kinds;

const PATIENTS: &str = "patients";
const AUDIT: &str = "audit";
const PUBLISHED: &str = "published log";
const OPERATIONS: &str = "operations";
const ABOUT: &str = "about";

const DESCRIPTION: &str = "Registers patients. Every registration, amendment and deletion is an event in an ordered, \
hash-chained log.\n\n\
**Errors** are problem details (RFC 9457). The `type` is stable, and is the address of a page that explains the problem. \
All problem types are listed at [/problems](/problems).\n\n\
**Retries**: a registration with an `Idempotency-Key` can be repeated any number of times; it registers one patient. \
An amendment with an `Idempotency-Key` and an `ETag` in `If-Match` can be repeated in the same way.\n\n\
**Read your writes**: `GET /patients/{id}` is always up to date. The list is a few milliseconds behind. To make it wait for \
your write, send the `Event-Position` of the write as `Min-Position`.\n\n\
**Parameters**: unknown and repeated query parameters are rejected (422). Health checks, metrics and the pages about the \
API ignore unknown parameters.\n\n\
**Paths** have no trailing slash: a path with a trailing slash is redirected (308).\n\n\
**Limits**: each client has a quota. The `RateLimit` header gives the remaining quota, and a 429 response says when to retry.\n\n\
**Access**: a service that is configured with access tokens or with an issuer of JWTs requires a token in every request, \
except for `OPTIONS` requests, health checks, the published log and the pages about the API. Otherwise, access is open.";

const TAGS: &[(&str, &str)] = &[
    (
        PATIENTS,
        "Register, list, read, amend and delete patients. For clerks; auditors can read.",
    ),
    (
        AUDIT,
        "Histories, the event feed, and the record of reads. For auditors.",
    ),
    (
        PUBLISHED,
        "Signed checkpoints, tiles and proofs of the log, in the formats of C2SP. For everyone.",
    ),
    (
        OPERATIONS,
        "Health, the read table, mail and metrics. For operators.",
    ),
    (ABOUT, "The API description. For everyone."),
];

/// The texts of the document.
pub(crate) const TEXTS: Texts = Texts {
    title: "Patient registration",
    version: env!("CARGO_PKG_VERSION"),
    license: env!("CARGO_PKG_LICENSE"),
    description: DESCRIPTION,
    tags: TAGS,
    tag,
    token_formats: "pat_… or JWT",
    tokens: "Either a token created with `patients token new` or, if the service is configured with an issuer, a JWT from that \
         issuer. The JWT is an access token whose `aud` is this service, and contains the roles. A service without tokens \
         and without an issuer requires no token.",
    request_id: "Your own id for this request, used in the logs, in the event and in the record of reads: a UUID of any version, in \
         hyphenated form. Any other value is ignored, and the request gets a new UUID: logs and events cannot be erased, so \
         they contain no text that a client chose.",
    components,
    example_member,
};

const fn tag(kind: RouteKind) -> &'static str {
    match kind {
        RouteKind::Command | RouteKind::Read | RouteKind::BatchedRead | RouteKind::Privacy => PATIENTS,
        RouteKind::Audit => AUDIT,
        RouteKind::Published => PUBLISHED,
        RouteKind::Operate | RouteKind::Metrics | RouteKind::Health => OPERATIONS,
        RouteKind::About => ABOUT,
    }
}

fn example_member(kind: &Kind) -> Option<(&'static str, Value)> {
    match *kind {
        kinds::NOT_PROJECTED_YET => Some(("position", json!(16))),
        kinds::PATIENT_HELD => Some(("until", json!("2031-12-31"))),
        kinds::RETENTION_PERIOD => Some(("until", json!("2031-11-24T08:38:47.323577Z"))),
        _ => None,
    }
}

/// Returns the schemas that belong to no single route.
fn components() -> Components {
    let mut schemas = vec![(schemas::Problem::name().into_owned(), schemas::Problem::schema())];
    schemas::Problem::schemas(&mut schemas);
    ComponentsBuilder::new().schemas_from_iter(schemas).build()
}
