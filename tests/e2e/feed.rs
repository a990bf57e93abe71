//! The feed: following the log over HTTP.

use std::path::Path;
use std::time::{Duration, Instant};

use eventstore::{Append, NewEvent};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{PrivateMysql, Program, free_port, installed_flavours, wait_until};
use tokio::time::timeout;

use crate::client::Client;
use crate::log::fill;
use crate::rig::{Production, SOON, patients};

/// A reader of a live stream.
struct Follower {
    response: Response,
    text: String,
}

impl Follower {
    async fn after(client: &Client, last_seen: Option<u64>) -> Self {
        let mut request = testkit::http_client()
            .build()
            .unwrap()
            .get(client.url("/events/stream"));
        if let Some(position) = last_seen {
            request = request.header("last-event-id", position);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Self {
            response,
            text: String::new(),
        }
    }

    /// Returns the position of the next event, or `None` at the end of the stream.
    async fn next(&mut self) -> Option<u64> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let rest = self.text.split_off(end + 2);
                let block = std::mem::replace(&mut self.text, rest);
                if let Some(id) = block.lines().find_map(|line| line.strip_prefix("id: ")) {
                    return Some(id.parse().unwrap());
                }
                continue;
            }
            let chunk = timeout(SOON, self.response.chunk()).await.unwrap().unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test]
async fn a_follower_that_loses_its_connection_again_and_again_misses_nothing_and_gets_nothing_twice() {
    const ALL: u64 = 1000;
    Production::on_each(async |production| {
        let (_writing, writer) = production.api().await;
        let (_reading, reader) = production.api().await;
        let clerks: Vec<_> = (0..8)
            .map(|clerk| {
                let writer = writer.clone();
                tokio::spawn(async move {
                    for number in 0..ALL / 8 {
                        writer
                            .register_for_sure(&format!("p{number}.{clerk}@example.com"))
                            .await;
                    }
                })
            })
            .collect();
        let mut seen = Vec::new();
        let mut lost = 0;
        while seen.len() < 1000 {
            let mut stream = Follower::after(&reader, seen.last().copied()).await;
            // The stream is dropped at varying offsets within a chunk, and often while more data is in
            // transit.
            for _ in 0..(seen.len() % 37 + 1).min(1000 - seen.len()) {
                seen.push(stream.next().await.unwrap());
            }
            lost += 1;
        }
        assert_eq!(seen, (1..=ALL).collect::<Vec<_>>());
        println!("the connection was lost {lost} times");
        for clerk in clerks {
            clerk.await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_live_stream_waits_for_a_database_that_is_away_and_then_goes_on() {
    for flavour in installed_flavours() {
        let mut server = PrivateMysql::start(flavour).await;
        let production = Production::on(server.server()).await;
        let (api, client) = production.api().await;
        let mut stream = Follower::after(&client, None).await;
        client.register_for_sure("a@example.com").await;
        assert_eq!(stream.next().await, Some(1));
        server.kill().await;
        wait_until(SOON, "the failure is logged", async || {
            api.log().contains("a live stream cannot read the log")
        })
        .await;
        server.restart().await;
        client.register_for_sure("b@example.com").await;
        assert_eq!(stream.next().await, Some(2));
    }
}

/// Creates an SQLite database with 60,000 events, 100 per patient.
async fn filled(folder: &Path) -> String {
    let url = format!("sqlite://{}", folder.join("patients.db").display());
    let appends = (0..600).map(|patient| {
        let events = (1..=100).map(|sequence| NewEvent {
            aggregate_type: "patient".into(),
            aggregate_id: format!("00000000-0000-7000-8000-{patient:012}"),
            sequence,
            event_type: "PatientRegistered".into(),
            event_version: "1.0".into(),
            payload: json!({"type": "PatientRegistered", "name": "x".repeat(2_000)}),
            metadata: json!({}),
        });
        Append::new(events.collect(), Vec::new()).unwrap()
    });
    fill(&url, appends).await;
    url
}

/// Returns the peak memory of a process, in bytes.
fn peak_memory(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    peak.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

async fn export(client: &Client, limit: &str) -> (usize, u64) {
    let http = testkit::http_client().build().unwrap();
    let request = http.get(client.url(&format!("/events{limit}")));
    let mut response = request
        .header("accept", "application/x-ndjson")
        .send()
        .await
        .unwrap();
    let (mut lines, mut bytes) = (0, 0);
    while let Some(chunk) = response.chunk().await.unwrap() {
        lines += chunk.split(|byte| *byte == b'\n').count() - 1;
        bytes += chunk.len() as u64;
    }
    (lines, bytes)
}

#[tokio::test]
async fn an_export_takes_no_more_memory_for_a_longer_log() {
    let folder = TempDir::new().unwrap();
    let url = filled(folder.path()).await;
    let port = free_port();
    let api = Program::start(
        patients("api")
            .env("DATABASE_URL", url)
            .env("HTTP_ADDR", format!("127.0.0.1:{port}")),
    );
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;

    let idle = peak_memory(&api);
    let (some, _) = export(&client, "?after=55000").await;
    let before = peak_memory(&api);
    let (all, bytes) = export(&client, "").await;
    let after = peak_memory(&api);
    println!("peak memory: {idle} bytes, {before} after {some} events, {after} after {all} ({bytes} bytes)");
    assert_eq!((some, all), (5_000, 60_000));
    // Only a few pages of events and the socket buffers are in memory. The allocator's reserve varies by
    // megabytes.
    assert!(bytes > 120_000_000, "{bytes}");
    assert!(
        after.saturating_sub(before) < 20_000_000,
        "memory grew with the log"
    );
}

#[tokio::test]
async fn open_streams_do_not_keep_a_process_from_stopping() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let mut serve = patients("serve");
    serve
        .current_dir(folder.path())
        .env("HTTP_ADDR", format!("127.0.0.1:{port}"));
    let program = Program::start(&serve);
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    let mut followers = Vec::new();
    for _ in 0..10 {
        followers.push(Follower::after(&client, None).await);
    }
    let created: Value = client
        .register("a@example.com")
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    for follower in &mut followers {
        assert_eq!(follower.next().await, Some(1), "{created}");
    }
    let asked = Instant::now();
    program.terminate();
    for follower in &mut followers {
        assert_eq!(follower.next().await, None);
    }
    assert_eq!(program.wait(SOON).await, 0, "{}", program.log());
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(5), "it took {took:?}");
}
