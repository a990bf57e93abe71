//! Tests of request bodies that do not arrive in time, over real connections.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use web::Listening;
use web::access::Access;

use crate::rig::{Rig, patient};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_given_up_and_its_connection_is_free_again() {
    let rig = Rig::with_timeout(Access::open(), Duration::from_secs(1)).await;
    // The server accepts one connection at a time, so the next client is served after the previous connection
    // has ended.
    let listening = Listening {
        connections: 1,
        ..Listening::default()
    };
    let address = rig.listen(listening).await;
    let body = patient("a@example.com").to_string();
    for trickles in [false, true] {
        let (mut answers, mut slow) = TcpStream::connect(address).await.unwrap().into_split();
        let head = "POST /register HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";
        slow.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let sending = tokio::spawn(async move {
            // The client keeps sending, but never finishes the body.
            while trickles && slow.write_all(b" ").await.is_ok() {
                sleep(Duration::from_millis(50)).await;
            }
            slow
        });
        let mut answer = Vec::new();
        // Bytes that are sent after the server has closed the connection cause a reset. The earlier response
        // can still be read.
        let _end = timeout(SOON, answers.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(answer.contains("/problems/body-too-slow"), "{answer}");
        sending.abort();
    }

    let mut next = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "POST /register HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    next.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, next.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(rig.head().await, 1, "nothing was done for the slow ones");
}
