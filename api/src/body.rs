//! JSON request bodies.
//!
//! Members are read one by one rather than into a struct. Therefore, all invalid fields are reported at once,
//! and duplicate and unknown members are reported instead of being silently ignored.

use std::fmt;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::Api;
use crate::problem::{ApiError, FieldProblem, shown_name};

/// Maximum size of a request body, in bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024;

const JSON: &str = "application/json";

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Members of a JSON object, in the order in which they were sent, including duplicates.
#[derive(Debug)]
pub(crate) struct JsonObject(Vec<(String, Value)>);

impl FromRequest<Api> for JsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        if !has_type(&request, JSON) {
            return Err(ApiError::UnsupportedMediaType);
        }
        read(request, api).await
    }
}

/// Reads a body, which must arrive within half of the request timeout. Without this limit, a client that
/// never finishes its body would keep its connection open. The other half of the timeout remains for the
/// work, so a later timeout is caused by the work and not by the body.
async fn read(request: Request, api: &Api) -> Result<JsonObject, ApiError> {
    if !is_uncoded(request.headers()) {
        return Err(ApiError::UnsupportedContentEncoding);
    }
    let reading = Bytes::from_request(request, api);
    let bytes = tokio::time::timeout(api.options.request_timeout / 2, reading)
        .await
        .map_err(|_| ApiError::BodyTooSlow)?
        .map_err(|rejection| too_large(&rejection))?;
    JsonObject::parse(&bytes)
}

/// Whether the body has this media type. Parameters such as `charset` are ignored.
fn has_type(request: &Request, media_type: &str) -> bool {
    request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case(media_type))
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
        ApiError::MalformedJson("it was cut off".to_owned())
    }
}

impl JsonObject {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        // Parsers may ignore a byte order mark (RFC 8259, section 8.1), which Windows programs often write.
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        serde_json::from_slice(bytes).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                ApiError::Invalid(vec![FieldProblem::in_body("", "must be a JSON object")])
            }
            _ if error.to_string().starts_with("recursion limit exceeded") => {
                ApiError::MalformedJson("it is nested too deeply".to_owned())
            }
            // The message of serde_json contains no personal data here, but the position helps most people
            // more.
            _ => ApiError::MalformedJson(format!("see line {}, column {}", error.line(), error.column())),
        })
    }

    /// Returns the strings of the fields `names`, in that order, and the problems of all members. A field
    /// that is missing, duplicate, unknown or not a string is a problem. A field with a problem has no
    /// string.
    pub(crate) fn strings<const N: usize>(
        self,
        names: [&'static str; N],
    ) -> ([Option<String>; N], Vec<FieldProblem>) {
        let (strings, seen, mut problems) = self.sent_strings(names);
        for (name, _) in names.iter().zip(seen).filter(|(_, seen)| !seen) {
            problems.push(FieldProblem::in_body(name, "is required"));
        }
        (strings, problems)
    }

    /// Like [`JsonObject::strings`], but fields may be missing. At least one field is required.
    pub(crate) fn some_strings<const N: usize>(
        self,
        names: [&'static str; N],
    ) -> ([Option<String>; N], Vec<FieldProblem>) {
        let (strings, seen, mut problems) = self.sent_strings(names);
        if problems.is_empty() && !seen.contains(&true) {
            let problem = format!("must have at least one of {}", names.join(", "));
            problems.push(FieldProblem::in_body("", &problem));
        }
        (strings, problems)
    }

    /// Returns the strings of the fields, whether each field was sent, and the problems of the members that
    /// were sent.
    fn sent_strings<const N: usize>(
        self,
        names: [&'static str; N],
    ) -> ([Option<String>; N], [bool; N], Vec<FieldProblem>) {
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
        (strings, seen, problems)
    }
}

/// A JSON merge patch (RFC 7396), sent as `application/merge-patch+json` or `application/json`.
#[derive(Debug)]
pub(crate) struct MergePatch(pub(crate) JsonObject);

/// Media type of a JSON merge patch.
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";

impl FromRequest<Api> for MergePatch {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        if !has_type(&request, MERGE_PATCH) && !has_type(&request, JSON) {
            return Err(ApiError::UnsupportedMediaType);
        }
        read(request, api).await.map(Self)
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
