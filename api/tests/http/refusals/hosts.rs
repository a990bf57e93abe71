//! Tests of the host that a request is sent to (RFC 9112, section 3.2).

use futures::FutureExt;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use web::{Metrics, serve_metrics};

use super::shapes::LAST;
use super::{Answer, Server, exchange};

/// HTTP version, headers, and expected status.
const HOSTS: [(&str, &str, u16); 23] = [
    ("1.1", "host: test", 200),
    ("1.1", "host: clinic.example.com:8443", 200),
    ("1.1", "HOST:\t127.0.0.1:8000 ", 200),
    ("1.1", "host: [::1]:8000", 200),
    ("1.1", "x-a: b", 400),
    ("1.1", "x-forwarded-host: test", 400),
    ("1.1", "host:", 400),
    ("1.1", "host: ", 400),
    ("1.1", "host: a\r\nhost: b", 400),
    ("1.1", "host: a\r\nhost: a", 400),
    ("1.1", "host: a\r\nHost:", 400),
    ("1.1", "host: a, b", 400),
    ("1.1", "host: a b", 400),
    ("1.1", "host: a@b", 400),
    ("1.1", "host: a/b", 400),
    ("1.1", "host: http://a", 400),
    ("1.1", "host: a:http", 400),
    ("1.1", "host: [::1", 400),
    ("1.1", "host: b\u{fc}cher.example", 400),
    ("1.0", "x-a: b", 200),
    ("1.0", "host: test", 200),
    ("1.0", "host: a\r\nhost: b", 400),
    ("1.0", "host: a b", 400),
];

/// Returns a request with these headers.
fn request(line: &str, version: &str, headers: &str) -> Vec<u8> {
    format!("{line} HTTP/{version}\r\n{headers}\r\nconnection: close\r\n\r\n").into()
}

fn only(what: &str, mut answers: Vec<Answer>) -> Answer {
    assert_eq!(answers.len(), 1, "{what}: {answers:?}");
    answers.remove(0)
}

#[tokio::test]
async fn a_request_names_one_host_whatever_it_asks_for() {
    let server = Server::start().await;
    for (version, headers, status) in HOSTS {
        for line in [
            "GET /health/live",
            "GET /patients",
            "GET http://test/patients",
            "OPTIONS /register",
        ] {
            let what = format!("{line} of {version} with {headers:?}");
            let answer = only(
                &what,
                server.exchange(&what, &request(line, version, headers)).await,
            );
            let expected = if status == 200 && line.starts_with("OPTIONS") {
                204
            } else {
                status
            };
            assert_eq!(answer.status, expected, "{what}: {answer:?}");
            assert!(answer.head.contains("x-request-id: "), "{what}: {answer:?}");
            if status == 400 {
                let problem: Value = serde_json::from_str(&answer.body).unwrap();
                assert_eq!(problem["type"], "/problems/invalid-host", "{what}");
                assert_eq!(problem["status"], 400, "{what}");
            }
        }
    }
    // The command is not executed, and the connection can be used for the next request.
    let posted = [
        b"POST /register HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
        LAST,
    ];
    let answers = server.exchange("no host", &posted.concat()).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [400, 200]);
    server.stop().await;
}

#[tokio::test]
async fn the_page_of_metrics_asks_for_a_host_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Metrics::new(|| async { "# EOF\n".to_owned() }.boxed());
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve_metrics(listener, metrics, stop.clone()));
    for (version, headers, status) in HOSTS {
        let what = format!("{version} with {headers:?}");
        let sent = request("GET /metrics", version, headers);
        let answer = only(&what, exchange(address, &what, &sent).await);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
    }
    stop.cancel();
    serving.await.unwrap().unwrap();
}
