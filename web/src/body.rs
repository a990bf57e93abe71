//! JSON request bodies.
//!
//! Members are read one by one rather than into a struct. Therefore, all invalid fields are reported
//! together, and duplicate and unknown members are reported instead of being silently ignored.

use std::fmt;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::problem::{FieldProblem, RequestError, shown_name};

/// Maximum size of a request body, in bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// Maximum time in which a body must arrive. The state of a router provides it.
#[derive(Debug, Clone, Copy)]
pub struct BodyTimeout(pub(crate) Duration);

const JSON: &str = "application/json";

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Members of a JSON object, in the order in which they were sent, including duplicates.
#[derive(Debug)]
pub struct JsonObject(Vec<(String, Value)>);

impl<S: Send + Sync> FromRequest<S> for JsonObject
where
    BodyTimeout: FromRef<S>,
{
    type Rejection = RequestError;

    async fn from_request(request: Request, state: &S) -> Result<Self, RequestError> {
        if !has_type(&request, JSON) {
            return Err(RequestError::UnsupportedMediaType);
        }
        read(request, FromRef::from_ref(state)).await
    }
}

/// Reads a body, which must arrive in time. Without this limit, a client that never finishes its body would
/// keep its connection open.
async fn read(request: Request, BodyTimeout(timeout): BodyTimeout) -> Result<JsonObject, RequestError> {
    if !is_uncoded(request.headers()) {
        return Err(RequestError::UnsupportedContentEncoding);
    }
    let reading = Bytes::from_request(request, &());
    let bytes = tokio::time::timeout(timeout, reading)
        .await
        .map_err(|_| RequestError::BodyTooSlow)?
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

fn too_large(rejection: &BytesRejection) -> RequestError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        RequestError::TooLarge(MAX_BODY)
    } else {
        RequestError::MalformedJson("it was cut off".to_owned())
    }
}

impl JsonObject {
    /// Parses a body.
    ///
    /// # Errors
    ///
    /// [`RequestError::MalformedJson`]; [`RequestError::Invalid`] if the body is not a JSON object.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        // Parsers may ignore a byte order mark (RFC 8259, section 8.1), which Windows programs often write.
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        serde_json::from_slice(bytes).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                RequestError::Invalid(vec![FieldProblem::in_body("", "must be a JSON object")])
            }
            _ if error.to_string().starts_with("recursion limit exceeded") => {
                RequestError::MalformedJson("it is nested too deeply".to_owned())
            }
            // The message of serde_json contains no personal data here, but the position helps most people
            // more.
            _ => RequestError::MalformedJson(format!("see line {}, column {}", error.line(), error.column())),
        })
    }

    /// Returns the strings of the fields `names`, in that order, and the problems of all members. A field
    /// that is missing, duplicate, unknown or not a string is a problem. A field with a problem has no
    /// string.
    #[must_use]
    pub fn strings<const N: usize>(
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
    #[must_use]
    pub fn some_strings<const N: usize>(
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
pub struct MergePatch(pub JsonObject);

/// Media type of a JSON merge patch.
pub const MERGE_PATCH: &str = "application/merge-patch+json";

impl<S: Send + Sync> FromRequest<S> for MergePatch
where
    BodyTimeout: FromRef<S>,
{
    type Rejection = RequestError;

    async fn from_request(request: Request, state: &S) -> Result<Self, RequestError> {
        if !has_type(&request, MERGE_PATCH) && !has_type(&request, JSON) {
            return Err(RequestError::UnsupportedMediaType);
        }
        read(request, FromRef::from_ref(state)).await.map(Self)
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
