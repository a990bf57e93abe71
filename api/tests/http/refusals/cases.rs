//! Requests that the API rejects.

use serde_json::{Value, json};

use crate::rig::patient;

/// A request and the expected response.
pub(super) struct Case {
    pub(super) what: &'static str,
    pub(super) head: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) status: u16,
    pub(super) kind: &'static str,
    /// Text that the response must contain.
    pub(super) says: &'static str,
}

impl Case {
    /// Returns the bytes of the request.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut lines = self.head.lines();
        let mut request = vec![
            format!("{} HTTP/1.1", lines.next().unwrap()),
            "host: test".to_owned(),
            "connection: close".to_owned(),
        ];
        request.extend(lines.map(str::to_owned));
        if !self.body.is_empty() || self.head.contains(JSON) {
            request.push(format!("content-length: {}", self.body.len()));
        }
        let request = request.join("\r\n") + "\r\n\r\n";
        [request.as_bytes(), &self.body].concat()
    }
}

pub(super) const JSON: &str = "content-type: application/json";

fn case(what: &'static str, head: &'static str, status: u16, kind: &'static str, says: &'static str) -> Case {
    Case {
        what,
        head,
        body: Vec::new(),
        status,
        kind,
        says,
    }
}

/// Returns a case for a JSON registration with this body.
fn registration(
    what: &'static str,
    body: impl Into<Vec<u8>>,
    status: u16,
    kind: &'static str,
    says: &'static str,
) -> Case {
    Case {
        body: body.into(),
        ..case(
            what,
            "POST /register\ncontent-type: application/json",
            status,
            kind,
            says,
        )
    }
}

fn with(member: &str, value: Value) -> Vec<u8> {
    let mut body = patient("a@example.com");
    body[member] = value;
    body.to_string().into()
}

#[expect(clippy::too_many_lines, reason = "the function is a table of cases")]
pub(super) fn cases() -> Vec<Case> {
    let good = patient("a@example.com").to_string();
    let mut not_utf8 = good.clone().into_bytes();
    not_utf8[10] = 0xff;
    let mut cases = vec![
        registration(
            "cut off",
            &good.as_bytes()[..20],
            400,
            "malformed-json",
            "line 1, column",
        ),
        registration("empty", "", 400, "malformed-json", "line 1, column 0"),
        registration(
            "two values",
            format!("{good}{good}"),
            400,
            "malformed-json",
            "column",
        ),
        registration("not UTF-8", not_utf8, 400, "malformed-json", "column"),
        registration(
            "half a surrogate",
            r#"{"name":"\ud800"}"#,
            400,
            "malformed-json",
            "column",
        ),
        registration(
            "too deep",
            "[".repeat(2000),
            422,
            "invalid-request",
            "must be a JSON object",
        ),
        registration(
            "too deep inside",
            format!("{{\"name\":{}", "[".repeat(2000)),
            400,
            "malformed-json",
            "nested too deeply",
        ),
        registration("an array", "[]", 422, "invalid-request", "must be a JSON object"),
        registration("null", "null", 422, "invalid-request", "must be a JSON object"),
        registration("a member missing", "{}", 422, "invalid-request", "is required"),
        registration(
            "unknown",
            with("age", json!(7)),
            422,
            "invalid-request",
            "is not a field",
        ),
        registration(
            "a number",
            with("name", json!(7)),
            422,
            "invalid-request",
            "must be a string",
        ),
        registration(
            "null in it",
            with("phone", json!(null)),
            422,
            "invalid-request",
            "must be a string",
        ),
        registration(
            "control",
            with("name", json!("a\u{0}b")),
            422,
            "invalid-request",
            "control characters",
        ),
        registration(
            "an email",
            with("email", json!("a@b")),
            422,
            "invalid-request",
            "full domain",
        ),
        registration(
            "twice",
            good.replacen('{', "{\"name\":\"Ana\",", 1),
            422,
            "invalid-request",
            "was sent more than once",
        ),
        registration(
            "one byte too many",
            format!("{good}{}", " ".repeat(64 * 1024 + 1 - good.len())),
            413,
            "too-large",
            "65536 bytes",
        ),
        case(
            "no such path",
            "GET /nothing",
            404,
            "not-found",
            "path does not exist",
        ),
        case(
            "bad UTF-8 in a path",
            "GET /nothing/%FF",
            404,
            "not-found",
            "path does not exist",
        ),
        case(
            "a method",
            "PUT /patients",
            405,
            "method-not-allowed",
            "allow: POST,GET,HEAD,OPTIONS",
        ),
        case(
            "an unknown method",
            "BREW /health/live",
            405,
            "method-not-allowed",
            "allow: GET,HEAD,OPTIONS",
        ),
        case(
            "not an id",
            "GET /patients/7",
            404,
            "patient-not-found",
            "Use the id that the registration",
        ),
        case(
            "not an id to delete",
            "DELETE /patients/7",
            404,
            "patient-not-found",
            "Use the id that the registration",
        ),
        case(
            "not an id of a history",
            "GET /patients/7/history",
            404,
            "patient-not-found",
            "Use the id that the registration",
        ),
        case(
            "a generation",
            "GET /projections/patient_view/rebuilds/x",
            404,
            "rebuild-not-found",
            "never",
        ),
        case(
            "a projection",
            "POST /projections/x/rebuild",
            404,
            "projection-not-found",
            "/projections",
        ),
        case(
            "a limit",
            "GET /patients?limit=1001",
            422,
            "invalid-request",
            "from 1 to 1000",
        ),
        case(
            "an email that nobody can have",
            "GET /patients?email=nobody",
            422,
            "invalid-request",
            "must be a plain email address",
        ),
        case(
            "the beginning of a name",
            "GET /patients?name=%FF",
            422,
            "invalid-request",
            "must be percent-encoded UTF-8",
        ),
        case(
            "bad UTF-8 in a query",
            "GET /events?limit=%FF",
            422,
            "invalid-request",
            "from 1 to 1000",
        ),
        case(
            "an event type",
            "GET /events?type=x",
            422,
            "invalid-request",
            "must be PatientRegistered or",
        ),
        case(
            "a position",
            "GET /patients\nmin-position: x",
            422,
            "invalid-request",
            "whole number, 0 or greater",
        ),
        case(
            "an entity tag",
            "DELETE /patients/00000000-0000-7000-8000-000000000000\nif-match: x",
            422,
            "invalid-request",
            "must be a list of ETags",
        ),
    ];
    for head in ["POST /register", "POST /register\ncontent-type: text/plain"] {
        cases.push(Case {
            body: good.clone().into(),
            ..case(
                "no JSON",
                head,
                415,
                "unsupported-media-type",
                "as application/json",
            )
        });
    }
    cases.push(Case {
        body: good.into(),
        ..case(
            "a key sent twice",
            "POST /register\ncontent-type: application/json\nidempotency-key: a\nidempotency-key: b",
            422,
            "invalid-request",
            "was sent more than once",
        )
    });
    cases
}
