//! Tests of the feed: pages, NDJSON, and the live stream.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::rig::Rig;
use crate::streams::Blocks;

/// Records ten events: eight registrations, and then the deletion of the second and the third patient.
/// Returns the ids of the eight patients.
async fn fill(rig: &Rig) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..8 {
        let created = rig.register(&format!("p{number}@example.com")).await;
        ids.push(created.id().to_owned());
    }
    rig.delete(&ids[1]).await;
    rig.delete(&ids[2]).await;
    ids
}

fn positions(events: &[Value]) -> Vec<u64> {
    events
        .iter()
        .map(|event| event["position"].as_u64().unwrap())
        .collect()
}

/// Follows the links of the pages from `path` to the last page, and returns the positions on each page.
async fn pages(rig: &Rig, path: &str) -> Vec<Vec<u64>> {
    let mut path = path.to_owned();
    let mut pages = Vec::new();
    loop {
        let page = rig.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.body);
        assert_eq!(page.header("cache-control"), "no-store");
        pages.push(positions(page.body.as_array().unwrap()));
        assert!(page.link("first").unwrap().starts_with("/events?after=0&"));
        let Some(next) = page.link("next") else {
            assert_eq!(page.header("event-position"), "10");
            return pages;
        };
        path = next;
    }
}

async fn lines(rig: &Rig, path: &str) -> Vec<Value> {
    let request = Request::get(path)
        .header("accept", "application/x-ndjson")
        .body(Body::empty())
        .unwrap();
    let (parts, text) = rig.text(request).await;
    assert_eq!(parts.status, StatusCode::OK, "{text}");
    assert_eq!(parts.headers["content-type"], "application/x-ndjson");
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn pages_follow_one_another_by_their_links_and_the_filters_stay() {
    Rig::on_each(async |rig| {
        assert_eq!(rig.get("/events").await.body, json!([]));
        let ids = fill(&rig).await;
        let (all, deleted) = ("/events", "type=PatientDeleted");
        assert_eq!(pages(&rig, all).await, [(1..=10).collect::<Vec<_>>()]);
        assert_eq!(
            pages(&rig, "/events?limit=4").await,
            [vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![9, 10]]
        );
        assert_eq!(pages(&rig, "/events?limit=5").await.len(), 2);
        assert_eq!(pages(&rig, "/events?after=9").await, [vec![10]]);
        assert_eq!(
            pages(&rig, &format!("/events?{deleted}&limit=1")).await,
            [vec![9], vec![10]]
        );
        assert_eq!(
            pages(&rig, &format!("/events?aggregate_id={}", ids[2])).await,
            [vec![3, 10]]
        );
        assert_eq!(
            pages(&rig, &format!("/events?aggregate_id={}&{deleted}", ids[1])).await,
            [vec![9]]
        );
        let beyond = rig.get("/events?after=11").await;
        assert_eq!((beyond.status, beyond.body), (StatusCode::OK, json!([])));
    })
    .await;
}

#[tokio::test]
async fn lines_are_the_same_events_to_the_end_or_as_many_as_asked_for() {
    Rig::on_each(async |rig| {
        assert!(lines(&rig, "/events").await.is_empty());
        fill(&rig).await;
        let all = lines(&rig, "/events").await;
        assert_eq!(json!(all), rig.get("/events").await.body);
        assert_eq!(positions(&lines(&rig, "/events?after=7").await), [8, 9, 10]);
        assert_eq!(positions(&lines(&rig, "/events?limit=3").await), [1, 2, 3]);
        assert_eq!(
            positions(&lines(&rig, "/events?type=PatientDeleted").await),
            [9, 10]
        );
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_whatever_the_form() {
    let rig = Rig::new().await;
    for (path, field) in [
        ("/events?after=-1", "after"),
        ("/events?after=x", "after"),
        ("/events?limit=0", "limit"),
        ("/events?limit=1001", "limit"),
        ("/events?type=PatientMoved", "type"),
        ("/events?type=patientdeleted", "type"),
        ("/events?aggregate_id=7", "aggregate_id"),
        ("/events/stream?after=x", "after"),
        ("/events/stream?type=x", "type"),
    ] {
        for accept in ["application/json", "application/x-ndjson", "text/event-stream"] {
            let request = Request::get(path).header("accept", accept);
            let answer = rig.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
            assert_eq!(answer.body["errors"][0]["field"], field, "{path}");
        }
    }
    let request = Request::get("/events/stream").header("last-event-id", "x");
    let answer = rig.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.body["errors"][0]["field"], "last-event-id");
    for path in ["/events", "/events/stream"] {
        let request = Request::post(path).body(Body::empty()).unwrap();
        let answer = rig.send(request).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.header("allow"), "GET,HEAD,OPTIONS");
    }
}

/// The rig polls every ten minutes, so an event that arrives soon was triggered by the signal.
#[tokio::test]
async fn a_live_stream_gives_what_is_there_and_then_what_comes() {
    Rig::on_each(async |rig| {
        fill(&rig).await;
        let mut stream = Blocks::open(&rig, "/events/stream?after=8", None).await;
        assert_eq!(stream.events(2).await, [9, 10]);
        stream.wait().await;
        rig.register("new@example.com").await;
        assert_eq!(stream.events(1).await, [11]);
        rig.register("newer@example.com").await;
        rig.register("newest@example.com").await;
        assert_eq!(stream.events(2).await, [12, 13]);

        let mut filtered = Blocks::open(&rig, "/events/stream?type=PatientDeleted", None).await;
        assert_eq!(filtered.events(2).await, [9, 10]);
    })
    .await;
}

#[tokio::test]
async fn a_live_stream_resumes_after_the_last_event_that_was_seen() {
    let rig = Rig::new().await;
    fill(&rig).await;
    // A browser repeats the request for the same path, and sends its last position in a header.
    let mut stream = Blocks::open(&rig, "/events/stream?after=2", Some("8")).await;
    assert_eq!(stream.events(2).await, [9, 10]);
    let mut stream = Blocks::open(&rig, "/events/stream?after=9", Some("")).await;
    assert_eq!(stream.events(1).await, [10]);
}

#[tokio::test]
async fn a_live_stream_says_every_15_seconds_that_it_is_there() {
    let rig = Rig::new().await;
    rig.register("a@example.com").await;
    let mut stream = Blocks::open(&rig, "/events/stream", None).await;
    assert_eq!(stream.events(1).await, [1]);
    // Wait until the stream waits for a signal. The signal does not arrive.
    stream.wait().await;
    tokio::time::pause();
    for _ in 0..3 {
        let before = tokio::time::Instant::now();
        assert_eq!(
            stream.line().await,
            ":",
            "a line alone, with no blank line after it"
        );
        assert!(before.elapsed() <= Duration::from_secs(16));
    }
}

#[tokio::test]
async fn one_stream_too_many_is_refused_until_another_ends() {
    let rig = Rig::new().await;
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(Blocks::open(&rig, "/events/stream", None).await);
    }
    for path in ["/events/stream", "/events"] {
        let request = Request::get(path).header("accept", "application/x-ndjson");
        let refused = rig.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.body["type"], "/problems/too-many-streams");
        assert_eq!(refused.header("retry-after"), "1");
    }
    // Pages do not count as streams, and writes are still accepted.
    assert_eq!(rig.get("/events").await.status, StatusCode::OK);
    rig.register("a@example.com").await;
    for stream in &mut open {
        assert_eq!(stream.events(1).await, [1]);
    }
    open.pop();
    Blocks::open(&rig, "/events/stream", None).await;
}
