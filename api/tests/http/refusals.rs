//! Tests of invalid requests over a real socket: the status, the problem type, and a message that explains
//! how to correct the request.

mod cases;
mod hosts;
mod shapes;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{Rig, Served};
use cases::{JSON, cases};
use shapes::{LAST, shapes};
use web::Listening;

const SOON: Duration = Duration::from_secs(30);

/// A listening API, and its database.
struct Server {
    rig: Rig,
    served: Served,
}

impl Server {
    async fn start() -> Self {
        let rig = Rig::new().await;
        let served = Served::start(&rig, Listening::default()).await;
        Self { rig, served }
    }

    async fn exchange(&self, what: &str, bytes: &[u8]) -> Vec<Answer> {
        exchange(self.served.address, what, bytes).await
    }

    async fn stop(self) -> Rig {
        self.served.stop().await;
        self.rig
    }
}

/// Sends bytes, and returns all responses up to the end of the connection.
pub(crate) async fn exchange(address: SocketAddr, what: &str, bytes: &[u8]) -> Vec<Answer> {
    let (mut reading, mut writing) = TcpStream::connect(address).await.unwrap().into_split();
    let mut answers = Vec::new();
    let exchange = async {
        // The server may close the connection early. Its earlier responses can still be read.
        let (_sent, _end) = tokio::join!(writing.write_all(bytes), reading.read_to_end(&mut answers));
    };
    let closed = tokio::time::timeout(SOON, exchange).await;
    assert!(closed.is_ok(), "{what}: the connection is left open");
    Answer::all(&answers)
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    fn all(mut bytes: &[u8]) -> Vec<Self> {
        let mut answers = Vec::new();
        while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let (head, rest) = bytes.split_at(end + 4);
            let head = String::from_utf8(head.to_vec()).unwrap();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            let (body, rest) = rest.split_at(length);
            answers.push(Self {
                status: head[9..12].parse().unwrap(),
                body: String::from_utf8(body.to_vec()).unwrap(),
                head,
            });
            bytes = rest;
        }
        assert!(bytes.is_empty(), "{}", String::from_utf8_lossy(bytes));
        answers
    }
}

#[tokio::test]
async fn every_refusal_is_a_problem_that_a_person_can_act_on() {
    let server = Server::start().await;
    for case in cases() {
        let answers = server.exchange(case.what, &case.bytes()).await;
        let [Answer { status, head, body }] = &answers[..] else {
            panic!("{}: {answers:?}", case.what)
        };
        let place = format!("{}: {head}\n{body}", case.what);
        assert_eq!(*status, case.status, "{place}");
        assert!(head.contains("content-type: application/problem+json"), "{place}");
        assert!(head.contains("x-request-id: "), "{place}");
        let problem: Value = serde_json::from_str(body).unwrap();
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
    assert_eq!(server.stop().await.head().await, 0, "nobody was registered");
}

#[tokio::test]
async fn what_is_no_good_http_is_refused_and_nothing_behind_it_is_taken_for_a_request() {
    let server = Server::start().await;
    let mut wrong = Vec::new();
    for shape in shapes() {
        let answers = server.exchange(shape.what, &shape.sent).await;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        if statuses != shape.statuses {
            wrong.push(format!("{}: {statuses:?}, not {:?}", shape.what, shape.statuses));
        }
        for answer in answers {
            for injected in ["set-cookie", "x-injected"] {
                assert!(!answer.head.contains(injected), "{}: {}", shape.what, answer.head);
            }
        }
        let after = server.exchange("a good request", LAST).await;
        assert_eq!(after.len(), 1, "after {}", shape.what);
        assert_eq!(after[0].status, 200, "after {}", shape.what);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(server.stop().await.head().await, 0, "nothing was recorded");
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
