//! Tests of content negotiation: the format of a response, and the coding of bodies.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;

use crate::rig::{Answer, Rig, patient, post};

async fn media_type(rig: &Rig, path: &str, accept: Option<&str>) -> String {
    let mut request = Request::get(path);
    if let Some(accept) = accept {
        request = request.header("accept", accept);
    }
    let answer = rig.respond(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path} {accept:?}");
    assert_eq!(answer.headers()["vary"], "accept", "{path} {accept:?}");
    answer.headers()["content-type"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn accept_chooses_by_its_weights_wherever_there_is_a_choice() {
    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let rig = Rig::new().await;
    rig.register("a@example.com").await;
    let (json, lines) = ("application/json", "application/x-ndjson");
    let (html, text) = ("text/html; charset=utf-8", "text/plain; charset=utf-8");
    for (path, accept, expected) in [
        ("/events", None, json),
        ("/events", Some("*/*"), json),
        ("/events", Some(BROWSER), json),
        ("/events", Some("text/csv"), json),
        (
            "/events",
            Some("application/json, application/x-ndjson;q=0.1"),
            json,
        ),
        (
            "/events",
            Some("application/x-ndjson;q=0.1, application/json;q=0.2"),
            json,
        ),
        ("/events", Some("application/x-ndjson;q=0, */*"), json),
        ("/events", Some("application/x-ndjson"), lines),
        (
            "/events",
            Some("application/json;q=0.5, application/x-ndjson"),
            lines,
        ),
        ("/events", Some("application/json;q=0, */*;q=0.1"), lines),
        ("/problems", None, text),
        ("/problems", Some(BROWSER), html),
        ("/problems", Some("text/html;q=0.5, text/plain"), text),
        (
            "/problems/email-taken",
            Some("text/plain;q=0.5, text/html;q=0.6"),
            html,
        ),
        (
            "/problems/email-taken",
            Some("text/html;q=0.5, text/*;q=0.6"),
            text,
        ),
        ("/problems/email-taken", Some("application/json"), text),
        ("/", None, text),
        ("/", Some("*/*"), text),
        ("/", Some(BROWSER), html),
        ("/", Some("application/json"), json),
        ("/", Some("application/json, text/plain, */*"), json),
        ("/", Some("text/html;q=0.5, application/json;q=0.4"), html),
    ] {
        assert_eq!(
            media_type(&rig, path, accept).await,
            expected,
            "{path} {accept:?}"
        );
    }
}

async fn coded(rig: &Rig, path: &str, codings: &[&str]) -> Answer {
    let mut request = post(path, patient("a@example.com").to_string());
    for coding in codings {
        request
            .headers_mut()
            .append("content-encoding", coding.parse().unwrap());
    }
    rig.send(request).await
}

#[tokio::test]
async fn a_body_with_a_content_coding_is_refused_and_told_what_is_taken() {
    let rig = Rig::new().await;
    let codings = [
        &["gzip"][..],
        &["GZIP"],
        &["x-gzip"],
        &["br"],
        &["deflate"],
        &["zstd"],
        &["compress"],
        &["aws-chunked"],
        &["identity, gzip"],
        &["identity", "gzip"],
        &["utf-8"],
        &["\u{e9}"],
    ];
    for path in ["/register", "/patients/register", "/patients", "/mail/test"] {
        for coding in codings {
            let answer = coded(&rig, path, coding).await;
            assert_eq!(
                answer.status,
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "{path} {coding:?}"
            );
            assert_eq!(answer.body["type"], "/problems/unsupported-content-encoding");
            assert_eq!(answer.header("accept-encoding"), "identity");
        }
    }
    assert_eq!(rig.head().await, 0);
    let wrong_type = Request::post("/register").header("content-type", "text/plain");
    let answer = rig.send(wrong_type.body(Body::from("{}")).unwrap()).await;
    assert_eq!(answer.body["type"], "/problems/unsupported-media-type");
    assert_eq!(answer.header("accept-encoding"), "");
    for coding in [&["identity"][..], &["Identity"], &[""], &["identity, identity"]] {
        let answer = coded(&rig, "/register", coding).await;
        assert_ne!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{coding:?}");
    }
    assert_eq!(rig.head().await, 1);
}

#[tokio::test]
async fn a_byte_order_mark_of_utf_8_is_passed_over_and_utf_16_is_not_json() {
    let rig = Rig::new().await;
    let body = patient("a@example.com").to_string();
    let marked = [b"\xEF\xBB\xBF", body.as_bytes()].concat();
    let created = rig.send(post("/register", marked.clone())).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    assert_eq!(created.body["name"], "John Doe");
    let utf_16 = |bytes: fn(u16) -> [u8; 2], mark: bool| {
        let text: String = mark
            .then_some('\u{feff}')
            .into_iter()
            .chain(body.chars())
            .collect();
        text.encode_utf16().flat_map(bytes).collect::<Vec<_>>()
    };
    for refused in [
        utf_16(u16::to_le_bytes, true),
        utf_16(u16::to_be_bytes, true),
        utf_16(u16::to_le_bytes, false),
        utf_16(u16::to_be_bytes, false),
        [b"\xEF\xBB\xBF", marked.as_slice()].concat(),
        [body.as_bytes(), b"\xEF\xBB\xBF"].concat(),
        b"\xEF\xBB\xBF".to_vec(),
        b"\xEF\xBB{}".to_vec(),
    ] {
        let answer = rig.send(post("/register", refused)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.body["type"], json!("/problems/malformed-json"));
    }
}
