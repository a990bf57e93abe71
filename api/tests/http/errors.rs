//! Tests of invalid input: the status, and a message that explains how to correct the input.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use uuid::Uuid;
use web::access::Access;
use web::{HttpOptions, Listening, RateLimit};

use crate::rig::{QUEUE, Rig, patient, post};

#[tokio::test]
async fn every_bad_field_is_reported_at_once() {
    let rig = Rig::new().await;
    let body = json!({"name": "  ", "email": "nobody", "phone": 5, "document_url": "ftp://x/y", "x": 1});
    let refused = rig.post("/register", &body).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.header("content-type"), "application/problem+json");
    insta::assert_json_snapshot!(refused.body);
}

#[tokio::test]
async fn a_body_that_is_not_json_or_not_said_to_be_or_too_large_is_refused() {
    let rig = Rig::new().await;
    let good = patient("a@example.com").to_string();
    let too_large = format!("{good}{}", " ".repeat(64 * 1024));
    let with_type = |content_type: &str| {
        Request::post("/register")
            .header("content-type", content_type)
            .body(Body::from(good.clone()))
            .unwrap()
    };
    for (request, status, kind) in [
        (post("/register", "{"), StatusCode::BAD_REQUEST, "malformed-json"),
        (post("/register", ""), StatusCode::BAD_REQUEST, "malformed-json"),
        (
            post("/register", "[]"),
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-request",
        ),
        (
            post("/register", too_large),
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
        ),
        (
            with_type("text/plain"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
        ),
        (
            Request::post("/register").body(Body::from(good.clone())).unwrap(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
        ),
    ] {
        let answer = rig.send(request).await;
        assert_eq!(
            (answer.status, &answer.body["type"]),
            (status, &json!(format!("/problems/{kind}")))
        );
    }
    assert_eq!(
        rig.send(with_type("Application/JSON; charset=utf-8"))
            .await
            .status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn unknown_paths_methods_ids_and_parameters_are_problems_too() {
    let rig = Rig::new().await;
    for (method, path, status, kind) in [
        (Method::GET, "/nothing", StatusCode::NOT_FOUND, "not-found"),
        (
            Method::PUT,
            "/patients",
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
        ),
        (
            Method::GET,
            "/register",
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
        ),
        (
            Method::GET,
            "/patients/1",
            StatusCode::NOT_FOUND,
            "patient-not-found",
        ),
        (
            Method::DELETE,
            "/patients/1",
            StatusCode::NOT_FOUND,
            "patient-not-found",
        ),
        (
            Method::GET,
            "/patients/%FF",
            StatusCode::NOT_FOUND,
            "patient-not-found",
        ),
        (
            Method::GET,
            "/patients?limit=0",
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-request",
        ),
        (
            Method::GET,
            "/getPatients?after=x",
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-request",
        ),
    ] {
        let request = Request::builder()
            .method(method.clone())
            .uri(path)
            .body(Body::empty())
            .unwrap();
        let answer = rig.send(request).await;
        assert_eq!(
            (answer.status, &answer.body["type"]),
            (status, &json!(format!("/problems/{kind}"))),
            "{method} {path}"
        );
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{method} {path}"
        );
        if status == StatusCode::METHOD_NOT_ALLOWED {
            assert!(!answer.header("allow").is_empty(), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_path_that_names_nothing_is_a_problem_whatever_it_says() {
    let rig = Rig::new().await;
    for (method, path, kind) in [
        (
            "GET",
            "/patients/%FF?at=2026-01-01T00:00:00Z",
            "patient-not-found",
        ),
        ("GET", "/patients/%FF/history", "patient-not-found"),
        ("GET", "/patients/%FF/history/1", "not-found"),
        ("POST", "/projections/%FF/rebuild", "projection-not-found"),
        ("GET", "/projections/%FF/rebuilds/2", "rebuild-not-found"),
        (
            "DELETE",
            "/projections/patient_view/rebuilds/%FF",
            "rebuild-not-found",
        ),
    ] {
        let request = Request::builder().method(method).uri(path);
        let answer = rig.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(
            answer.body["type"],
            format!("/problems/{kind}"),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_request_keeps_its_id_or_gets_one() {
    let rig = Rig::new().await;
    let ask = async |ids: &[&str]| {
        let request = ids.iter().fold(Request::get("/health/live"), |request, id| {
            request.header("x-request-id", *id)
        });
        let answer = rig.send(request.body(Body::empty()).unwrap()).await;
        answer.header("x-request-id").to_owned()
    };
    let id = "01a20c52-84f4-7444-83a5-f001d7d34c61";
    assert_eq!(ask(&[id]).await, id);
    assert_eq!(ask(&[&id.to_uppercase()]).await, id);
    for unusable in [
        &[][..],
        &[""],
        &["trace-7"],
        &["with space"],
        &["maria@example.com"],
        &["maria%40example.com"],
        &["x".repeat(300).as_str()],
        &[format!("{{{id}}}").as_str()],
        &[id.replace('-', "").as_str()],
        &[id, id],
        &["maria@example.com", id],
    ] {
        let given: Uuid = ask(unusable).await.parse().unwrap();
        assert_eq!(given.get_version_num(), 7, "{unusable:?}");
        assert_ne!(given.to_string(), id, "{unusable:?}");
    }
}

#[tokio::test]
async fn an_event_and_the_record_of_reads_have_the_request_id_of_the_response() {
    let rig = Rig::new().await;
    let id = "01A20C52-84F4-7444-83A5-F001D7D34C61";
    for (number, (sent, kept)) in (1..).zip([(id, true), ("maria@example.com", false)]) {
        let mut request = post(
            "/register",
            patient(&format!("p{number}@example.com")).to_string(),
        );
        request
            .headers_mut()
            .insert("x-request-id", sent.parse().unwrap());
        let registered = rig.send(request).await;
        assert_eq!(registered.status, StatusCode::CREATED);
        let given = registered.header("x-request-id");
        assert_eq!(given == id.to_lowercase(), kept, "{given}");

        let read = Request::get(format!("/events?after={}", number - 1)).header("x-request-id", sent);
        let read = rig.send(read.body(Body::empty()).unwrap()).await;
        let events = read.body.as_array().unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["metadata"]["request_id"], given);
        let reads = rig.get("/audit/reads").await.body;
        let last = reads.as_array().unwrap().last().unwrap();
        assert_eq!(last["request_id"], read.header("x-request-id"));
        assert_eq!(last["request_id"] == id.to_lowercase(), kept, "{last}");
    }
}

#[tokio::test]
async fn health_tells_live_and_ready() {
    let rig = Rig::new().await;
    assert_eq!(rig.get("/health/live").await.body, json!({"status": "live"}));
    rig.register("a@example.com").await;
    assert_eq!(
        rig.get("/health/ready").await.body,
        json!({"status": "ready", "database": "up", "append_queue": "open", "position": 1, "read_table": "kept"})
    );
}

/// Sends registrations until the queue is full. Returns tasks that wait for the status of each registration.
async fn fill_the_queue(rig: &Arc<Rig>) -> Vec<JoinHandle<StatusCode>> {
    let mut waiting = Vec::new();
    while rig.get("/health/ready").await.body["append_queue"] == "open" {
        assert!(waiting.len() < 3 * QUEUE, "the queue has no bound");
        let (rig, email) = (Arc::clone(rig), format!("p{}@example.com", waiting.len()));
        waiting.push(tokio::spawn(async move {
            rig.post("/register", &patient(&email)).await.status
        }));
    }
    waiting
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_harms_nobody_in_it() {
    let rig = Arc::new(Rig::new().await);
    let transaction = rig.hold_the_database().await;
    let waiting = fill_the_queue(&rig).await;
    let refused = rig.post("/register", &patient("late@example.com")).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.body["type"], "/problems/overloaded");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.header("x-request-id").len(), 36);
    assert_eq!(rig.get("/health/ready").await.body["append_queue"], "full");
    assert_eq!(rig.get("/patients").await.status, StatusCode::OK);
    drop(transaction);
    let mut registered = 0;
    for registration in waiting {
        match registration.await.unwrap() {
            StatusCode::CREATED => registered += 1,
            // The request arrived just after the queue became full.
            status => assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE),
        }
    }
    assert!(registered >= QUEUE, "{registered}");
}

/// Sends the bytes of a request unchanged, and reads the response: status line, headers and body.
async fn exchange(stream: &mut TcpStream, bytes: &str) -> (String, BTreeMap<String, String>, String) {
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    loop {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "it hung up");
        let text = String::from_utf8_lossy(&answer).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let (status, headers) = head.split_once("\r\n").unwrap();
        let headers: BTreeMap<String, String> = headers
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if body.len().to_string() == headers["content-length"] {
            return (status.to_owned(), headers, body.to_owned());
        }
    }
}

#[tokio::test]
async fn what_is_turned_away_in_front_of_the_routes_gets_the_answer_that_it_would_get_behind_them() {
    let rig = Arc::new(Rig::new().await);
    let address = rig.listen(Listening::default()).await;
    let transaction = rig.hold_the_database().await;
    let waiting = fill_the_queue(&rig).await;
    let body = patient("late@example.com").to_string();
    let length = body.len();
    let head = "x-request-id: 01a20c52-84f4-7444-83a5-f001d7d34c61\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    let ask = |path: &str, host: &str| {
        format!(
            "POST {path} HTTP/1.1\r\n{host}{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    let mut stream = TcpStream::connect(address).await.unwrap();
    for path in ["/register", "/patients/register", "/patients?x=1"] {
        let (status, mut headers, told) = exchange(&mut stream, &ask(path, "host: test\r\n")).await;
        assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
        let mut request = post(path, body.clone());
        for line in head.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (behind, text) = rig.text(request).await;
        let expected: BTreeMap<String, String> = behind
            .headers
            .iter()
            .filter(|(name, _)| *name != "content-length")
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        // The server adds these headers.
        headers.retain(|name, _| name != "date" && name != "content-length");
        assert_eq!(headers, expected);
        assert_eq!(told, text);
    }
    let (status, ..) = exchange(&mut stream, &ask("/register", "")).await;
    assert_eq!(status, "HTTP/1.1 400 Bad Request");
    // Bodies that were not read are not interpreted as requests.
    let (status, ..) = exchange(&mut stream, "GET /health/live HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    drop(transaction);
    for registration in waiting {
        registration.await.unwrap();
    }
}

#[tokio::test]
async fn what_is_turned_away_is_counted_once_and_refused_for_the_quota_first() {
    let quota = RateLimit::new(2, Duration::from_hours(1)).unwrap();
    let options = HttpOptions {
        rate_limit: Some(quota),
        ..HttpOptions::default()
    };
    let rig = Arc::new(Rig::with_options(Access::open(), options).await);
    let address = rig.listen(Listening::default()).await;
    let transaction = rig.hold_the_database().await;
    let waiting = fill_the_queue(&rig).await;
    let body = patient("late@example.com").to_string();
    let ask = format!(
        "POST /register HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    for (expected, left) in [("503", "r=1"), ("503", "r=0"), ("429", "r=0")] {
        let (status, headers, _) = exchange(&mut stream, &ask).await;
        assert!(status.contains(expected), "{status}");
        assert!(headers["ratelimit"].contains(left), "{headers:?}");
    }
    drop(transaction);
    for registration in waiting {
        registration.await.unwrap();
    }
}
