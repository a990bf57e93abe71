//! Tests of streams over real connections: slow clients, and the end of a stream.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use domain::PatientDetails;
use eventstore::{Append, NewEvent};
use futures::StreamExt;
use serde_json::json;
use testkit::wait_until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use web::Listening;

use crate::rig::{Rig, Served};

const SOON: Duration = Duration::from_secs(20);

/// A body of server-sent events, read block by block.
pub(crate) struct Blocks {
    body: BodyDataStream,
    text: String,
}

impl Blocks {
    pub(crate) async fn open(rig: &Rig, path: &str, last_event_id: Option<&str>) -> Self {
        let mut request = Request::get(path);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        Self::of(rig.respond(request.body(Body::empty()).unwrap()).await).await
    }

    pub(crate) async fn of(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let mut blocks = Self {
            body: response.into_body().into_data_stream(),
            text: String::new(),
        };
        // The stream sends this line at once. The rest of the block is the first event.
        while !blocks.text.contains('\n') {
            blocks.more().await.unwrap();
        }
        assert_eq!(blocks.text, "retry: 1000\n");
        blocks
    }

    /// Returns the next block, or `None` at the end.
    pub(crate) async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block.replace(": ", ":"));
            }
            self.more().await?;
        }
    }

    /// Returns the next line, which may belong to an event.
    pub(crate) async fn line(&mut self) -> String {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let (line, rest) = (line.to_owned(), rest.to_owned());
                self.text = rest;
                return line;
            }
            self.more().await.unwrap();
        }
    }

    async fn more(&mut self) -> Option<()> {
        let chunk = self.body.next().await?.unwrap();
        self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        Some(())
    }

    /// Checks that no block arrives for a while. The stream then waits for a signal.
    pub(crate) async fn wait(&mut self) {
        timeout(Duration::from_millis(300), self.block())
            .await
            .unwrap_err();
    }

    /// Returns the positions of the next events. Checks that the id of each event is its position.
    pub(crate) async fn events(&mut self, number: usize) -> Vec<u64> {
        let mut positions = Vec::new();
        while positions.len() < number {
            let block = timeout(SOON, self.block()).await.unwrap().unwrap();
            let field = |name| block.lines().find_map(|line| line.strip_prefix(name));
            // Each block must be an event, because some clients treat every block as an event.
            let data = field("data:");
            assert!(data.is_some(), "{block}");
            let event: serde_json::Value = serde_json::from_str(data.unwrap()).unwrap();
            assert_eq!(field("id:").unwrap(), event["position"].to_string());
            positions.push(event["position"].as_u64().unwrap());
        }
        positions
    }
}

impl Served {
    /// Requests a path on a new connection, whose receive buffer has `buffer` bytes. Does not read the
    /// response.
    async fn ask(&self, path: &str, buffer: u32) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(buffer).unwrap();
        let mut connection = socket.connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\naccept: application/x-ndjson\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        connection
    }
}

/// Appends registrations of about 10 kB each, one hundred at a time.
async fn fill(rig: &Rig, hundreds: u64) {
    let details = PatientDetails {
        name: "x".repeat(10_000),
        email: "a@example.com".into(),
        phone: "+1234567890".into(),
        document_url: "https://example.com/a.jpg".into(),
    };
    for hundred in 0..hundreds {
        let id = format!("00000000-0000-7000-8000-{hundred:012}");
        let events = (1..=100).map(|sequence| NewEvent {
            aggregate_type: "patient".into(),
            aggregate_id: id.clone(),
            sequence,
            event_type: "PatientRegistered".into(),
            event_version: "1.0".into(),
            payload: serde_json::to_value(domain::PatientEvent::from(details.clone())).unwrap(),
            metadata: json!({}),
        });
        let append = Append::new(events.collect(), Vec::new()).unwrap();
        rig.appends.append(append).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_read_nothing_keep_nobody_from_reading() {
    Rig::on_each_in_clear(async |rig| {
        // These 5 MB exceed the socket buffers of a connection.
        fill(&rig, 5).await;
        let served = Served::start(&rig, Listening::default()).await;
        let mut late = served.ask("/events", 1_000_000).await;
        let mut stuck = Vec::new();
        for path in ["/events", "/events/stream"].repeat(12) {
            stuck.push(served.ask(path, 8192).await);
        }
        // There are more streams than database connections, so no stream can occupy a connection.
        for connection in &mut stuck {
            connection.read_exact(&mut [0; 12]).await.unwrap();
        }
        let mut live = Blocks::open(&rig, "/events/stream?after=500", None).await;
        let created = timeout(SOON, rig.register("new@example.com")).await.unwrap();
        assert_eq!(live.events(1).await, [501]);
        let read = timeout(SOON, rig.get(&format!("/patients/{}", created.id())))
            .await
            .unwrap();
        assert_eq!(read.status, StatusCode::OK);

        // A client that resumes reading receives the whole response.
        let mut bytes = Vec::new();
        let ended = b"\r\n0\r\n\r\n";
        while !bytes.ends_with(ended) {
            assert_ne!(
                timeout(SOON, late.read_buf(&mut bytes)).await.unwrap().unwrap(),
                0
            );
        }
        assert!(bytes.len() > 5_000_000);

        // The other clients do not prevent the server from stopping.
        let took = served.stop().await;
        assert!(took < Duration::from_secs(5), "{took:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_stop_a_live_stream_ends_and_an_export_breaks_off() {
    let rig = Rig::in_clear().await;
    fill(&rig, 5).await;
    let served = Served::start(&rig, Listening::default()).await;
    let mut live = served.ask("/events/stream?after=500", 8192).await;
    let mut export = served.ask("/events", 8192).await;
    let (mut told, mut exported) = (Vec::new(), Vec::new());
    wait_until(SOON, "both have begun", async || {
        if told.is_empty() {
            live.read_buf(&mut told).await.unwrap();
        }
        export.read_buf(&mut exported).await.unwrap();
        exported.len() > 1000
    })
    .await;
    let stopping = tokio::spawn(served.stop());
    // The live stream ends normally, and the export is cut off.
    live.read_to_end(&mut told).await.unwrap();
    assert!(told.ends_with(b"0\r\n\r\n"));
    let broken = export.read_to_end(&mut exported).await;
    assert!(broken.is_err() || !exported.ends_with(b"0\r\n\r\n"));
    let took = stopping.await.unwrap();
    assert!(took < Duration::from_secs(1), "{took:?}");

    let refused = rig.get("/events/stream").await;
    assert_eq!(refused.body["type"], "/problems/shutting-down");
}
