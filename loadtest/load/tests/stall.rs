//! The real program against a server that stalls.

#![expect(clippy::unwrap_used, reason = "a failed test must stop")]

use std::process::Output;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server that answers immediately, except from 1 s to 2 s after the first read.
async fn server() -> String {
    let first = Arc::new(OnceLock::new());
    let read = async move || -> Json<Value> {
        let began = *first.get_or_init(Instant::now);
        let (from, to) = (began + Duration::from_secs(1), began + Duration::from_secs(2));
        if (from..to).contains(&Instant::now()) {
            tokio::time::sleep_until(to.into()).await;
        }
        Json(json!({"patients": []}))
    };
    let register = async || (StatusCode::CREATED, Json(json!({"id": "1"})));
    let router = Router::new()
        .route("/health/ready", get(async || "ready"))
        .route("/register", post(register))
        .route("/patients", get(read));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

/// Runs the program. Returns its output, and the report.
async fn load(arguments: &[&str]) -> (Output, String) {
    let folder = TempDir::new().unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_load"))
        .args(arguments)
        .current_dir(folder.path())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let report = std::fs::read_to_string(folder.path().join("load.html")).unwrap_or_default();
    (output, report)
}

#[tokio::test]
async fn every_request_that_was_due_while_the_server_stalled_has_a_long_latency() {
    let target = server().await;
    let run = [
        "--target",
        &target,
        "--mix",
        "list=1",
        "--rate",
        "200",
        "--patients",
        "1",
    ];
    let time = ["--for", "3s", "--warm-up", "0s"];
    let limits = ["--p50", "500ms", "--p95", "500ms"];
    let (output, report) = load(&[&run[..], &time, &limits].concat()).await;
    let text = String::from_utf8(output.stdout).unwrap();
    // A third of the requests are due during the stall, and half of these wait for more than 0.5 s.
    assert!(
        text.contains("missed: p95") && !text.contains("missed: p50"),
        "{text}"
    );
    assert!(
        text.contains("list            600       0"),
        "every request was sent: {text}"
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(report.contains("Missed: p95"), "{report}");
}

#[tokio::test]
async fn a_request_for_which_there_is_no_room_has_failed() {
    let target = server().await;
    let run = [
        "--target",
        &target,
        "--mix",
        "list=1",
        "--rate",
        "200",
        "--patients",
        "1",
    ];
    let limits = ["--for", "2s", "--warm-up", "0s", "--max-in-flight", "20"];
    let (output, _) = load(&[&run[..], &limits].concat()).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("× not sent: too many requests in flight"), "{text}");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_or_is_not_ready_is_not_tested() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    let (output, report) = load(&["--target", &format!("http://{address}")]).await;
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("the service is not ready"), "{text}");
    assert_eq!((output.status.code(), report.as_str()), (Some(2), ""));
}
