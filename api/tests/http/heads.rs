//! Tests of the limits on the size of a request's head and on the time to send it, over real connections.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use testkit::Certificates;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use web::{Certificate, Listening, Tls};

use crate::rig::Rig;

const SOON: Duration = Duration::from_secs(30);

/// Returns all bytes of the response to `sent`, up to the end of the connection.
async fn answer(address: SocketAddr, sent: &[u8]) -> String {
    let (mut answers, mut requests) = TcpStream::connect(address).await.unwrap().into_split();
    // The server may have rejected the request and closed the connection already.
    let _end = requests.write_all(sent).await;
    let mut answer = Vec::new();
    let _end = timeout(SOON, answers.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn is_live(address: SocketAddr) -> bool {
    let request = b"GET /health/live HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    answer(address, request).await.starts_with("HTTP/1.1 200 ")
}

#[tokio::test]
async fn a_head_is_bounded_in_headers_and_in_bytes() {
    let rig = Rig::new().await;
    let address = rig.listen(Listening::default()).await;
    let head = |headers: usize, length: usize| {
        let mut head = "GET /health/live HTTP/1.1\r\nhost: test\r\nconnection: close\r\n".to_owned();
        for number in 2..headers {
            write!(head, "x-{number}: {}\r\n", "x".repeat(length)).unwrap();
        }
        head + "\r\n"
    };
    for (headers, length, status) in [(100, 1, 200), (101, 1, 431), (3, 30_000, 200), (3, 100_000, 431)] {
        let answer = answer(address, head(headers, length).as_bytes()).await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{headers} of {length}: {answer}");
        // hyper writes this response. docs/http.md explains why it has no body.
        let empty = answer.contains("content-length: 0\r\n") && answer.ends_with("\r\n\r\n");
        assert_eq!(empty, status == 431, "{answer}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nhost: test\r\n\r\n", "x".repeat(100_000));
    let answer = answer(address, long.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(is_live(address).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_finish_a_head_make_way_for_one_that_does() {
    let rig = Rig::new().await;
    let listening = Listening {
        connections: 50,
        head_timeout: Duration::from_secs(4),
        tls: None,
    };
    let address = rig.listen(listening).await;
    let mut slow = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Some clients send nothing, some send part of a head, and some have received a response and stay
        // connected.
        let said: &[u8] = match number % 3 {
            0 => b"",
            1 => b"GET /health/live HTTP/1.1\r\nx-slow: ",
            _ => b"GET /health/live HTTP/1.1\r\nhost: test\r\n\r\n",
        };
        stream.write_all(said).await.unwrap();
        slow.push(stream);
    }
    let asked = Instant::now();
    assert!(timeout(SOON, is_live(address)).await.unwrap());
    // There are four times as many clients as allowed connections. When few connections are free, each new
    // client gets only one second to send a head.
    println!("answered after {:?}", asked.elapsed());
    for mut stream in slow {
        let mut rest = Vec::new();
        let _end = timeout(SOON, stream.read_to_end(&mut rest))
            .await
            .expect("it is cut");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_trickles_a_head_is_cut_all_the_same() {
    let rig = Rig::new().await;
    let listening = Listening {
        connections: 1,
        head_timeout: Duration::from_secs(1),
        tls: None,
    };
    let address = rig.listen(listening).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nx-slow: ").await.unwrap();
    let trickling = async {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        while slow.write_all(b"x").await.is_ok() {
            pause.tick().await;
        }
    };
    timeout(SOON, trickling).await.expect("it is cut");
    assert!(timeout(SOON, is_live(address)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_agree_on_tls_are_cut_and_keep_nobody_waiting() {
    let made = Certificates::lasting(1);
    let read = |path| std::fs::read(path).unwrap();
    let certificate = Certificate::from_pem(&read(made.certificate()), &read(made.key())).unwrap();
    let rig = Rig::new().await;
    let listening = Listening {
        connections: 4,
        head_timeout: Duration::from_secs(2),
        tls: Some(Tls::with(certificate).unwrap()),
    };
    let address = rig.listen(listening).await;
    let plain = answer(address, b"GET /health/live HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert!(!plain.contains("HTTP/1.1 200"), "{plain}");
    // Use up all allowed connections. Each client sends the first bytes of a handshake, or nothing.
    let mut silent = Vec::new();
    for said in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"", b"\x16"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said).await.unwrap();
        silent.push(stream);
    }
    let connector = made.connector();
    let name = "localhost".try_into().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let mut agreed = timeout(SOON, connector.connect(name, stream))
        .await
        .unwrap()
        .unwrap();
    agreed
        .write_all(b"GET /health/live HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut said = String::new();
    timeout(SOON, agreed.read_to_string(&mut said))
        .await
        .unwrap()
        .unwrap();
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    for mut stream in silent {
        let _end = timeout(SOON, stream.read_to_end(&mut Vec::new()))
            .await
            .expect("it is cut");
    }
}
