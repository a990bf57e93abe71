//! Parameters and headers, each described once.

use serde_json::{Value, json};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{
    Header, HeaderBuilder, KnownFormat, Object, ObjectBuilder, RefOr, Required, Schema, SchemaFormat, Type,
};

/// Maximum position, sequence or generation: the maximum of a signed 64-bit integer.
const MOST: u64 = i64::MAX as u64;

fn parameter(
    kind: ParameterIn,
    name: &str,
    schema: impl Into<RefOr<Schema>>,
    example: Value,
    text: &str,
) -> Parameter {
    let required = if kind == ParameterIn::Path {
        Required::True
    } else {
        Required::False
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(kind)
        .required(required)
        .schema(Some(schema))
        .example(Some(example))
        .description(Some(text))
        .build()
}

pub(crate) fn path(name: &str, schema: impl Into<RefOr<Schema>>, example: Value, text: &str) -> Parameter {
    parameter(ParameterIn::Path, name, schema, example, text)
}

pub(crate) fn query(name: &str, schema: impl Into<RefOr<Schema>>, example: Value, text: &str) -> Parameter {
    parameter(ParameterIn::Query, name, schema, example, text)
}

fn request_header(name: &str, schema: impl Into<RefOr<Schema>>, example: Value, text: &str) -> Parameter {
    parameter(ParameterIn::Header, name, schema, example, text)
}

pub(crate) fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::new(Type::String))
}

/// Schema of an integer of at least `least`, for positions, sequences and generations.
pub(crate) fn whole_number(least: u64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::Integer))
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(least))
        .maximum(Some(MOST))
}

pub(crate) fn uuid() -> Object {
    string()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
        .build()
}

fn moment() -> Object {
    string()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .build()
}

pub(crate) const AN_ID: &str = "01a20c52-84f4-752b-9b94-14a23061549a";

/// Path parameter `id`.
pub(crate) fn patient_id() -> Parameter {
    path(
        "id",
        uuid(),
        json!(AN_ID),
        "The patient's id, as returned by the registration.",
    )
}

pub(crate) fn limit() -> Parameter {
    let schema = whole_number(1).maximum(Some(1000)).default(Some(json!(100)));
    query(
        "limit",
        schema,
        json!(100),
        "Maximum number of entries on a page.",
    )
}

pub(crate) fn at() -> Parameter {
    query(
        "at",
        moment(),
        json!("2026-11-24T08:38:50.699142Z"),
        "A time (RFC 3339), not in the future. Returns the patient's state at that time, even if the patient is deleted now. For \
         auditors only.",
    )
}

pub(crate) fn idempotency_key() -> Parameter {
    request_header(
        "Idempotency-Key",
        string()
            .min_length(Some(1))
            .max_length(Some(255))
            .pattern(Some("^[!-~]+$")),
        json!("6f1c7a52-2b2c-4f5e-9d0b-4f6d3a1c9e77"),
        "A unique value of visible ASCII characters. A registration with this header can be repeated \
         safely. Only one patient is registered, and each repetition gets the first response.",
    )
}

pub(crate) fn if_match() -> Parameter {
    request_header(
        "If-Match",
        string().pattern(Some("^(\\*|\"[0-9]{1,19}\")$")),
        json!("\"1\""),
        "The patient's ETag, which must be unchanged, or `*` for any ETag.",
    )
}

pub(crate) fn min_position() -> Parameter {
    request_header(
        "Min-Position",
        whole_number(0),
        json!(1),
        "An Event-Position. The response waits until the list includes this position, for a few seconds at most.",
    )
}

pub(crate) fn last_event_id() -> Parameter {
    request_header(
        "Last-Event-ID",
        whole_number(0),
        json!(17),
        "The id of the last event received, as browsers send it when they reconnect. Takes precedence over `after`.",
    )
}

/// The example from the standard.
const A_TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

pub(crate) fn request_id() -> Parameter {
    request_header(
        "X-Request-Id",
        string(),
        json!("front-desk-7-000123"),
        "Your own id for this request, used in the logs and in the event: 1 to 128 visible ASCII characters. Any other value \
         is replaced.",
    )
}

pub(crate) fn traceparent() -> Parameter {
    request_header(
        "traceparent",
        string(),
        json!(A_TRACEPARENT),
        "The trace that this request is part of (W3C Trace Context). Invalid values are ignored.",
    )
}

/// A response header: its name and its description.
pub(crate) type Named = (&'static str, Header);

fn answer_header(name: &'static str, schema: impl Into<RefOr<Schema>>, example: Value, text: &str) -> Named {
    let header = HeaderBuilder::new()
        .schema(Some(schema))
        .example(Some(example))
        .description(Some(text));
    (name, header.build())
}

pub(crate) fn given_request_id() -> Named {
    answer_header(
        "X-Request-Id",
        string(),
        json!("01a20c52-84f4-7444-83a5-f001d7d34c61"),
        "The id of the request in the logs.",
    )
}

pub(crate) fn given_traceparent() -> Named {
    answer_header(
        "traceparent",
        string(),
        json!(A_TRACEPARENT),
        "The trace and the span of the request; absent if the request is not part of a trace.",
    )
}

pub(crate) fn location(example: &str, text: &str) -> Named {
    answer_header("Location", string(), json!(example), text)
}

pub(crate) fn event_position(text: &str) -> Named {
    answer_header("Event-Position", whole_number(0), json!(1), text)
}

pub(crate) fn etag() -> Named {
    answer_header(
        "ETag",
        string(),
        json!("\"1\""),
        "The patient's current state, for If-Match and If-None-Match.",
    )
}

pub(crate) fn if_none_match(etag: &str) -> Parameter {
    request_header(
        "If-None-Match",
        string(),
        json!(etag),
        "One or more ETags from earlier responses, separated by commas. If any of these ETags is current, the response is 304.",
    )
}

/// Example of the `ETag` of a file.
pub(crate) const A_FILE: &str = "\"0f343b0931126a20f133d67c5a0e2b91\"";

pub(crate) fn file_etag() -> Named {
    answer_header(
        "ETag",
        string(),
        json!(A_FILE),
        "The version of the file, for If-None-Match.",
    )
}

pub(crate) fn link(example: &str) -> Named {
    answer_header(
        "Link",
        string(),
        json!(example),
        "The addresses of the next page, if there is one, and of the first page (RFC 8288).",
    )
}

pub(crate) fn retry_after() -> Named {
    answer_header(
        "Retry-After",
        whole_number(0),
        json!(1),
        "The number of seconds to wait before a retry.",
    )
}

pub(crate) fn rate_limit() -> Named {
    answer_header(
        "RateLimit",
        string(),
        json!("\"default\";r=999;t=1"),
        "The number of requests left to this client (r), and the number of seconds (t) until its quota is restored or, if no \
         requests are left, until the next request is possible. Absent if the service has no limit.",
    )
}

pub(crate) fn rate_limit_policy() -> Named {
    answer_header(
        "RateLimit-Policy",
        string(),
        json!("\"default\";q=1000;w=1"),
        "The number of requests (q) that a client may make in a number of seconds (w).",
    )
}

pub(crate) fn www_authenticate() -> Named {
    answer_header(
        "WWW-Authenticate",
        string(),
        json!("Bearer error=\"invalid_token\""),
        "Why access is denied (RFC 6750). `error` is `invalid_token` if the token is not valid or no longer valid, and \
         `insufficient_scope` if it does not have the right role. It is absent if no token was sent.",
    )
}

pub(crate) fn accept_encoding() -> Named {
    answer_header(
        "Accept-Encoding",
        string(),
        json!("identity"),
        "With the problem unsupported-content-encoding: the content codings that a request body may have.",
    )
}

pub(crate) fn cache_control(value: &str) -> Named {
    answer_header(
        "Cache-Control",
        string(),
        json!(value),
        "How the response may be cached.",
    )
}

pub(crate) fn vary(value: &str) -> Named {
    answer_header(
        "Vary",
        string(),
        json!(value),
        "The request headers that the response depends on.",
    )
}
