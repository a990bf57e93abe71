//! The access log: one line per response, without personal data.

use std::collections::HashMap;

use serde_json::Value;
use tempfile::TempDir;
use testkit::{Program, free_port, wait_until};

use crate::client::Client;
use crate::rig::{SOON, patients};

/// Returns the lines of the access log, by request id.
fn lines(program: &Program) -> HashMap<String, Value> {
    let log = program.stderr();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["message"] == "access")
        .filter_map(|line| Some((line["request.id"].as_str()?.to_owned(), line)))
        .collect()
}

#[tokio::test]
async fn each_answer_has_a_line_without_personal_data_if_that_is_switched_on() {
    for (setting, is_on) in [("on", true), ("off", false), ("", false)] {
        let folder = TempDir::new().unwrap();
        let port = free_port();
        let program = Program::start(
            patients("serve")
                .current_dir(folder.path())
                .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
                .env("LOG_FORMAT", "json")
                .env("RATE_LIMIT", "5/h")
                .env("ACCESS_LOG", setting),
        );
        let client = Client::new(port);
        wait_until(SOON, "it is ready", async || client.ready().await).await;
        let registered = client.register("secret@example.com").await.unwrap();
        let location = registered.headers()["location"].to_str().unwrap().to_owned();
        let http = testkit::http_client().build().unwrap();
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let mut expected = vec![];
        for (number, method, path, route, status) in [
            (1, "GET", location.as_str(), "/patients/{id}", 200),
            (2, "GET", "/patients?email=secret@example.com", "/patients", 200),
            (3, "SECRET", "/secret@example.com", "(none)", 404),
            (4, "DELETE", location.as_str(), "/patients/{id}", 204),
            (5, "GET", location.as_str(), "/patients/{id}", 429),
        ] {
            let id = format!("00000000-0000-0000-0000-00000000000{number}");
            let method_sent = method.parse().unwrap();
            let answer = http
                .request(method_sent, client.url(path))
                .header("x-request-id", &id)
                .header("traceparent", trace)
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), status, "{path}");
            assert_eq!(answer.headers()["x-request-id"], id);
            let method = if method == "SECRET" { "_OTHER" } else { method };
            expected.push((id, method, route, status, answer.bytes().await.unwrap().len()));
        }
        program.terminate();
        program.wait(SOON).await;
        let lines = lines(&program);
        if !is_on {
            assert!(lines.is_empty(), "{lines:?}");
            continue;
        }
        for (id, method, route, status, bytes) in expected {
            let line = lines
                .get(&id)
                .unwrap_or_else(|| panic!("{id}: {}", program.stderr()));
            let found = [
                "http.method",
                "http.route",
                "http.status",
                "http.bytes",
                "trace_id",
            ];
            let found = found.map(|field| line[field].clone());
            let [.., trace] = &found;
            assert_eq!(
                found[..4],
                [
                    Value::from(method),
                    Value::from(route),
                    Value::from(status),
                    Value::from(bytes)
                ],
                "{id}"
            );
            assert_eq!(trace, "0af7651916cd43dd8448eb211c80319c", "{id}");
            assert!(line["elapsed_us"].is_u64(), "{line}");
        }
        let (_, patient) = location.rsplit_once('/').unwrap();
        for personal in ["secret", "SECRET", "example.com", patient] {
            let log = program.stderr();
            let line = log
                .lines()
                .find(|line| line.contains("\"access\"") && line.contains(personal));
            assert_eq!(line, None);
        }
    }
}
