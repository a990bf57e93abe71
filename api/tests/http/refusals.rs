//! What is wrong with a request, through a real socket: the status, the kind of problem, and a sentence to act on.

mod cases;

use std::time::Duration;

use api::{Listening, serve};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::rig::Rig;
use cases::{Case, JSON, cases};

/// The head of the answer, and its body.
async fn exchange(address: std::net::SocketAddr, case: &Case) -> (String, String) {
    let mut lines = case.head.lines();
    let mut request = vec![
        format!("{} HTTP/1.1", lines.next().unwrap()),
        "host: test".to_owned(),
        "connection: close".to_owned(),
    ];
    request.extend(lines.map(str::to_owned));
    if !case.body.is_empty() || case.head.contains(JSON) {
        request.push(format!("content-length: {}", case.body.len()));
    }
    let request = request.join("\r\n") + "\r\n\r\n";
    let mut stream = TcpStream::connect(address).await.unwrap();
    let whole = [request.as_bytes(), &case.body].concat();
    stream.write_all(&whole).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn every_refusal_is_a_problem_that_a_person_can_act_on() {
    let rig = Rig::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(
        listener,
        rig.api.clone(),
        Listening::default(),
        stop.clone(),
    ));
    for case in cases() {
        let (head, body) = exchange(address, &case).await;
        let place = format!("{}: {head}\n{body}", case.what);
        assert!(head.starts_with(&format!("HTTP/1.1 {} ", case.status)), "{place}");
        assert!(head.contains("content-type: application/problem+json"), "{place}");
        assert!(head.contains("x-request-id: "), "{place}");
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["type"], format!("/problems/{}", case.kind), "{place}");
        assert_eq!(problem["status"], case.status, "{place}");
        assert!(!problem["title"].as_str().unwrap().is_empty(), "{place}");
        assert!(format!("{head}\n{body}").contains(case.says), "{place}");
        let sentence = problem["detail"].as_str().unwrap();
        assert!(sentence.ends_with('.') && sentence.contains(' '), "{place}");
        for error in problem["errors"].as_array().into_iter().flatten() {
            let in_body = case.head.contains(JSON) && !case.head.contains("idempotency-key");
            assert_eq!(error["pointer"].is_string(), in_body, "{place}");
        }
    }
    assert_eq!(rig.head().await, 0, "nobody was registered");
    stop.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_pointer_leads_to_the_member_that_was_refused() {
    let rig = Rig::new().await;
    let refused = rig
        .post("/register", &json!({"a/b~c": 1, "email": "nobody"}))
        .await;
    let pointers: Vec<_> = refused.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(
        pointers,
        ["/a~1b~0c", "/name", "/phone", "/document_url", "/email"]
    );
}
