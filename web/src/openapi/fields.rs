//! Parameters and headers, each described once.

use serde_json::{Value, json};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{
    Header, HeaderBuilder, KnownFormat, Object, ObjectBuilder, RefOr, Required, Schema, SchemaFormat, Type,
};

/// Maximum whole number: the maximum of a signed 64-bit integer.
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

/// Returns a path parameter.
#[must_use]
pub fn path(name: &str, schema: impl Into<RefOr<Schema>>, example: Value, text: &str) -> Parameter {
    parameter(ParameterIn::Path, name, schema, example, text)
}

/// Returns a query parameter.
#[must_use]
pub fn query(name: &str, schema: impl Into<RefOr<Schema>>, example: Value, text: &str) -> Parameter {
    parameter(ParameterIn::Query, name, schema, example, text)
}

/// Returns a request header.
#[must_use]
pub fn request_header(name: &str, schema: impl Into<RefOr<Schema>>, example: Value, text: &str) -> Parameter {
    parameter(ParameterIn::Header, name, schema, example, text)
}

/// Returns the schema of a string.
#[must_use]
pub fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::new(Type::String))
}

/// Returns the schema of a whole number of at least `least`.
#[must_use]
pub fn whole_number(least: u64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::Integer))
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(least))
        .maximum(Some(MOST))
}

/// Returns the schema of a UUID.
#[must_use]
pub fn uuid() -> Object {
    string()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
        .build()
}

/// Returns the schema of a time.
#[must_use]
pub fn moment() -> Object {
    string()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .build()
}

/// Returns the query parameter `limit`.
#[must_use]
pub fn limit() -> Parameter {
    let schema = whole_number(1).maximum(Some(1000)).default(Some(json!(100)));
    query(
        "limit",
        schema,
        json!(100),
        "Maximum number of entries on a page.",
    )
}

const A_REQUEST_ID: &str = "01a20c52-84f4-7444-83a5-f001d7d34c61";
/// The example from the standard.
const A_TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Returns the request header `X-Request-Id`. Its schema allows every string, because values that are not
/// UUIDs are ignored, not rejected.
pub(crate) fn request_id(text: &str) -> Parameter {
    request_header("X-Request-Id", string(), json!(A_REQUEST_ID), text)
}

/// Returns the request header `traceparent`.
pub(crate) fn traceparent() -> Parameter {
    request_header(
        "traceparent",
        string(),
        json!(A_TRACEPARENT),
        "The trace that this request is part of (W3C Trace Context). Invalid values are ignored.",
    )
}

/// A response header: its name and its description.
pub type Named = (&'static str, Header);

/// Returns a response header.
#[must_use]
pub fn response_header(
    name: &'static str,
    schema: impl Into<RefOr<Schema>>,
    example: Value,
    text: &str,
) -> Named {
    let header = HeaderBuilder::new()
        .schema(Some(schema))
        .example(Some(example))
        .description(Some(text));
    (name, header.build())
}

/// Returns the response header `X-Request-Id`.
pub(crate) fn given_request_id() -> Named {
    response_header(
        "X-Request-Id",
        uuid(),
        json!(A_REQUEST_ID),
        "The id of the request in the logs: the UUID that the client sent, in lower case, or a new UUID.",
    )
}

/// Returns the response header `traceparent`.
pub(crate) fn given_traceparent() -> Named {
    response_header(
        "traceparent",
        string(),
        json!(A_TRACEPARENT),
        "The trace and the span of the request; absent if the request is not part of a trace.",
    )
}

/// Returns the response header `Location`.
#[must_use]
pub fn location(example: &str, text: &str) -> Named {
    response_header("Location", string(), json!(example), text)
}

/// Returns the request header `If-None-Match`.
#[must_use]
pub fn if_none_match(etag: &str) -> Parameter {
    request_header(
        "If-None-Match",
        string(),
        json!(etag),
        "One or more ETags from earlier responses, separated by commas. If any of these ETags is current, the response is 304.",
    )
}

/// Example of the `ETag` of a file.
pub const A_FILE: &str = "\"0f343b0931126a20f133d67c5a0e2b91\"";

/// Returns the `ETag` of a file.
#[must_use]
pub fn file_etag() -> Named {
    response_header(
        "ETag",
        string(),
        json!(A_FILE),
        "The version of the file, for If-None-Match.",
    )
}

/// Returns the response header `Link`.
#[must_use]
pub fn link(example: &str) -> Named {
    response_header(
        "Link",
        string(),
        json!(example),
        "The addresses of the next page, if there is one, and of the first page (RFC 8288).",
    )
}

/// Returns the response header `Retry-After`.
pub(crate) fn retry_after() -> Named {
    response_header(
        "Retry-After",
        whole_number(0),
        json!(1),
        "The number of seconds to wait before a retry.",
    )
}

/// Returns the response header `RateLimit`.
pub(crate) fn rate_limit() -> Named {
    response_header(
        "RateLimit",
        string(),
        json!("\"default\";r=999;t=1"),
        "The number of requests left to this client (r), and the number of seconds (t) until its quota is restored or, if no \
         requests are left, until the next request is possible. Absent if the service has no limit.",
    )
}

/// Returns the response header `RateLimit-Policy`.
pub(crate) fn rate_limit_policy() -> Named {
    response_header(
        "RateLimit-Policy",
        string(),
        json!("\"default\";q=1000;w=1"),
        "The number of requests (q) that a client may make in a number of seconds (w).",
    )
}

/// Returns the response header `WWW-Authenticate`.
pub(crate) fn www_authenticate() -> Named {
    response_header(
        "WWW-Authenticate",
        string(),
        json!("Bearer error=\"invalid_token\""),
        "Why access is denied (RFC 6750). `error` is `invalid_token` if the token is not valid or no longer valid, and \
         `insufficient_scope` if it does not have the right role. It is absent if no token was sent.",
    )
}

/// Returns the response header `Accept-Encoding`.
pub(crate) fn accept_encoding() -> Named {
    response_header(
        "Accept-Encoding",
        string(),
        json!("identity"),
        "With the problem unsupported-content-encoding: the content codings that a request body may have.",
    )
}

/// Returns the response header `Cache-Control`.
#[must_use]
pub fn cache_control(value: &str) -> Named {
    response_header(
        "Cache-Control",
        string(),
        json!(value),
        "How the response may be cached.",
    )
}

/// Returns the response header `Vary`.
#[must_use]
pub fn vary(value: &str) -> Named {
    response_header(
        "Vary",
        string(),
        json!(value),
        "The request headers that the response depends on.",
    )
}
