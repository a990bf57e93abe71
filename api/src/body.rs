//! JSON request bodies.
//!
//! A body is read into its members one by one rather than into a struct, so that every bad field is reported
//! at once, and so that a member that is sent twice, or that nobody reads, is reported and not dropped in
//! silence.

use std::fmt;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::Api;
use crate::problem::{ApiError, FieldProblem, shown_name};

/// The largest request body, in bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The members of a JSON object, in the order they were sent, those sent twice twice.
#[derive(Debug)]
pub(crate) struct JsonObject(Vec<(String, Value)>);

impl FromRequest<Api> for JsonObject {
    type Rejection = ApiError;

    /// Reads a body, which must be there within half of the time that a request has: a client that never
    /// finishes it would otherwise keep its connection for ever, and an answer that comes later than that
    /// would be about the work.
    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        if !is_json(&request) {
            return Err(ApiError::UnsupportedMediaType);
        }
        if !is_uncoded(request.headers()) {
            return Err(ApiError::UnsupportedContentEncoding);
        }
        let reading = Bytes::from_request(request, api);
        let bytes = tokio::time::timeout(api.options.request_timeout / 2, reading)
            .await
            .map_err(|_| ApiError::BodyTooSlow)?
            .map_err(|rejection| too_large(&rejection))?;
        Self::parse(&bytes)
    }
}

fn is_json(request: &Request) -> bool {
    request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// Whether the body has no content coding, such as gzip.
fn is_uncoded(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    values.all(|value| {
        let codings = value.to_str().map(|codings| codings.split(',').map(str::trim));
        codings.is_ok_and(|mut codings| {
            codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case("identity"))
        })
    })
}

fn too_large(rejection: &BytesRejection) -> ApiError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        ApiError::TooLarge(MAX_BODY)
    } else {
        ApiError::MalformedJson("it ended before its time".to_owned())
    }
}

impl JsonObject {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        // Parsers may ignore a byte order mark (RFC 8259, section 8.1), which programs on Windows like to
        // write.
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        serde_json::from_slice(bytes).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                ApiError::Invalid(vec![FieldProblem::in_body("", "must be a JSON object")])
            }
            _ if error.to_string().starts_with("recursion limit exceeded") => {
                ApiError::MalformedJson("it is nested too deeply".to_owned())
            }
            // serde_json's own text would be safe here, but says less to most people than the place does.
            _ => ApiError::MalformedJson(format!("see line {}, column {}", error.line(), error.column())),
        })
    }

    /// The strings of the fields `names`, in that order, and what is wrong with the members: every field that
    /// is missing, not a string, sent twice or unknown. A field that has a problem has no string.
    pub(crate) fn strings<const N: usize>(
        self,
        names: [&'static str; N],
    ) -> ([Option<String>; N], Vec<FieldProblem>) {
        let mut problems = Vec::new();
        let mut strings = [const { None }; N];
        let mut seen = [false; N];
        for (member, value) in self.0 {
            let Some(index) = names.iter().position(|name| *name == member) else {
                let field = shown_name(&member);
                problems.push(FieldProblem::in_body(&field, "is not a field of this request"));
                continue;
            };
            if std::mem::replace(&mut seen[index], true) {
                strings[index] = None;
                problems.push(FieldProblem::in_body(names[index], "was sent more than once"));
                continue;
            }
            match value {
                Value::String(value) => strings[index] = Some(value),
                _ => problems.push(FieldProblem::in_body(names[index], "must be a string")),
            }
        }
        for (name, _) in names.iter().zip(seen).filter(|(_, seen)| !seen) {
            problems.push(FieldProblem::in_body(name, "is required"));
        }
        (strings, problems)
    }
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = JsonObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonObject, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(JsonObject(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests;
