//! Tests of the modes of the record of reads: which reads are recorded, and when their entries are durable.

mod chains;
mod published;

use std::time::Duration;

use api::ApiOptions;
use api::read_log::verify::{ReadsVerified, verify};
use api::read_log::{ReadLogOptions, ReadRecording};
use axum::http::StatusCode;
use eventstore::Session;
use serde_json::{Value, json};
use testkit::{mysql_servers, wait_until};
use web::access::Access;

use crate::rig::{Answer, Rig, every_host};
use crate::streams::Blocks;

const SOON: Duration = Duration::from_secs(30);
const NOBODY: &str = "00000000-0000-7000-8000-000000000000";

fn options(recording: ReadRecording, capacity: usize) -> ApiOptions {
    ApiOptions {
        read_log: ReadLogOptions { recording, capacity },
        ..every_host().into()
    }
}

/// Runs `test` on SQLite and on every available MySQL and MariaDB server.
async fn on_each(recording: ReadRecording, capacity: usize, test: impl AsyncFn(Rig)) {
    test(Rig::with_options(Access::open(), options(recording, capacity)).await).await;
    for server in mysql_servers() {
        println!("on {}", server.flavour.name());
        let database = server.create_database().await;
        test(Rig::over(&database.url, Access::open(), options(recording, capacity), None).await).await;
    }
}

/// Returns all entries, once there are this many.
async fn entries(rig: &Rig, count: usize) -> Vec<Value> {
    wait_until(SOON, "the entries are recorded", async || {
        rig.get("/audit/reads").await.body.as_array().unwrap().len() >= count
    })
    .await;
    let all = rig.get("/audit/reads").await.body.as_array().unwrap().clone();
    assert_eq!(all.len(), count, "{all:?}");
    all
}

async fn report(rig: &Rig) -> ReadsVerified {
    verify(rig.log.database(), &[]).await.unwrap()
}

fn gist(read: &Value) -> Value {
    json!([read["kind"], read["outcome"], read["patient_id"], read["to"]])
}

/// Reads the same patients in every way. Returns the expected entries, with the requests' ids.
async fn read_everything(rig: &Rig) -> Vec<(String, Value)> {
    let mut ids: Vec<String> = Vec::new();
    for email in ["a@example.com", "b@example.com"] {
        ids.push(rig.register(email).await.id().to_owned());
    }
    let gone = rig.register("c@example.com").await.id().to_owned();
    assert_eq!(rig.delete(&gone).await.status, StatusCode::NO_CONTENT);
    rig.project().await;
    ids.sort_unstable();
    let both = |kind: &str| {
        let entry = |id: &String| json!([kind, "given", id, null]);
        ids.iter().map(entry).collect::<Vec<_>>()
    };
    let a = ids[0].clone();
    let mut expected = Vec::new();
    for (path, entries) in [
        (format!("/patients/{a}"), vec![json!(["patient", "given", a, 1])]),
        (
            format!("/patients/{gone}"),
            vec![json!(["patient", "not_found", gone, null])],
        ),
        (
            format!("/patients/{NOBODY}"),
            vec![json!(["patient", "not_found", NOBODY, null])],
        ),
        ("/patients".to_owned(), both("list")),
        ("/getPatients".to_owned(), both("list")),
        ("/patients?name=doe".to_owned(), both("search")),
        (
            "/patients?email=nobody@example.com".to_owned(),
            vec![json!(["search", "not_found", null, null])],
        ),
        (
            format!("/patients?after={}", ids[1]),
            vec![json!(["list", "not_found", null, null])],
        ),
        // Rejected requests read nothing.
        ("/patients?limit=0".to_owned(), vec![]),
        ("/patients/x".to_owned(), vec![]),
    ] {
        let answer = rig.get(&path).await;
        let request = answer.header("x-request-id").to_owned();
        expected.extend(entries.into_iter().map(|entry| (request.clone(), entry)));
    }
    let found = rig.get("/patients?email=b@example.com").await;
    let request = found.header("x-request-id").to_owned();
    expected.push((request, json!(["search", "given", found.body[0]["id"], null])));
    // A patch that changes nothing returns the patient without an event.
    let patch = axum::http::Request::patch(format!("/patients/{a}"))
        .header("content-type", "application/merge-patch+json")
        .body(json!({"name": "John Doe"}).to_string().into());
    let patched = rig.send(patch.unwrap()).await;
    assert_eq!(patched.status, StatusCode::OK);
    let request = patched.header("x-request-id").to_owned();
    expected.push((request, json!(["patient", "given", a, 1])));
    expected
}

#[tokio::test]
async fn all_and_strict_record_every_read_of_patients() {
    for recording in [ReadRecording::All, ReadRecording::Strict] {
        on_each(recording, 1000, async |rig| {
            // The rig reads lists while it waits for the projections.
            let expected = read_everything(&rig).await;
            let first = &expected[0].0;
            let found = async || {
                let all = rig.get("/audit/reads?limit=1000").await.body;
                let all = all.as_array().unwrap().iter();
                all.map(|read| (read["request_id"].as_str().unwrap().to_owned(), gist(read)))
                    .skip_while(|(request, _)| request != first)
                    .collect::<Vec<_>>()
            };
            wait_until(SOON, "all are recorded", async || {
                found().await.len() >= expected.len()
            })
            .await;
            assert_eq!(found().await, expected);
            let text = rig.get("/audit/reads?limit=1000").await.body.to_string();
            assert!(!text.contains("example.com") && !text.contains("Doe"), "{text}");
            assert!(report(&rig).await.fits);
        })
        .await;
    }
}

#[tokio::test]
async fn off_records_nothing_and_past_records_no_current_state() {
    for (recording, count) in [(ReadRecording::Off, 0), (ReadRecording::Past, 3)] {
        let rig = Rig::with_options(Access::open(), options(recording, 1000)).await;
        let expected = read_everything(&rig).await;
        let id = expected[0].1[2].as_str().unwrap();
        for path in [
            format!("/patients/{id}/history"),
            format!("/patients/{id}/history/1"),
            "/events".to_owned(),
        ] {
            assert_eq!(rig.get(&path).await.status, StatusCode::OK);
        }
        rig.api.shutdown().await;
        entries(&rig, count).await;
    }
}

#[tokio::test]
async fn an_access_log_of_a_patient_has_all_kinds_page_by_page() {
    on_each(ReadRecording::Strict, 1000, async |rig| {
        let id = rig.register("a@example.com").await.id().to_owned();
        rig.project().await;
        let own = format!("/patients/{id}/reads");
        let before = rig
            .get(&format!("{own}?limit=1000"))
            .await
            .body
            .as_array()
            .unwrap()
            .len();
        rig.get(&format!("/patients/{id}")).await;
        rig.get(&format!("/patients/{id}/history")).await;
        rig.get("/patients?name=john").await;
        rig.get(&format!("/patients/{NOBODY}")).await;
        rig.delete(&id).await;
        rig.get(&format!("/patients/{id}")).await;
        let all = rig.get(&format!("{own}?limit=1000")).await;
        let kinds: Vec<_> = all.body.as_array().unwrap()[before..]
            .iter()
            .map(|read| {
                format!(
                    "{} {}",
                    read["kind"].as_str().unwrap(),
                    read["outcome"].as_str().unwrap()
                )
            })
            .collect();
        assert_eq!(
            kinds,
            [
                "patient given",
                "history given",
                "search given",
                "patient not_found"
            ]
        );
        let same = rig.get(&format!("/audit/reads?patient_id={id}&limit=1000")).await;
        assert_eq!(all.body, same.body);
        let (mut paged, mut next) = (Vec::new(), Some(format!("{own}?limit=2")));
        while let Some(path) = next {
            assert!(path.starts_with(&own), "{path}");
            let page = rig.get(&path).await;
            paged.extend(page.body.as_array().unwrap().clone());
            next = page.link("next");
        }
        assert_eq!(json!(paged), all.body);
        let of_nobody = rig.get(&format!("/patients/{NOBODY}/reads")).await;
        assert_eq!(of_nobody.body.as_array().unwrap().len(), 1);
        let of_another = rig
            .get("/patients/00000000-0000-7000-8000-000000000001/reads")
            .await;
        assert_eq!((of_another.status, of_another.body), (StatusCode::OK, json!([])));
        assert_eq!(rig.get("/patients/x/reads").await.status, StatusCode::NOT_FOUND);
    })
    .await;
}

/// Takes the number of the next link, so that the writer waits until the transaction of the test ends.
const TAKE: &str = "INSERT INTO audit_read_links (chain, number, recorded_at, entries, digest, previous_hash, hash) \
                    SELECT chain, number + 1, recorded_at, entries, digest, previous_hash, hash FROM audit_read_links";

#[tokio::test]
async fn reads_by_id_do_not_wait_for_the_writer_until_the_queue_is_full() {
    on_each(ReadRecording::All, 5, async |rig| {
        let id = rig.register("a@example.com").await.id().to_owned();
        let path = format!("/patients/{id}");
        assert_eq!(rig.get(&path).await.status, StatusCode::OK);
        entries(&rig, 1).await;
        let mut lock = rig.hold_the_database().await;
        lock.query(TAKE).execute().await.unwrap();
        let mut recorded = Vec::new();
        for _ in 0..5 {
            let answer = rig.get(&path).await;
            assert_eq!(answer.status, StatusCode::OK);
            recorded.push(answer.header("x-request-id").to_owned());
        }
        for path in [
            path.as_str(),
            &format!("/patients/{NOBODY}"),
            "/patients?email=a@example.com",
        ] {
            let full = rig.get(path).await;
            assert_eq!(full.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert_eq!(full.body["type"], "/problems/overloaded");
        }
        lock.rollback().await.unwrap();
        // The entries of all answered reads are recorded, once.
        let all = entries(&rig, 6).await;
        let requests: Vec<_> = all[1..]
            .iter()
            .map(|read| read["request_id"].as_str().unwrap())
            .collect();
        assert_eq!(requests, recorded);
        wait_until(SOON, "there is room again", async || {
            rig.get(&path).await.status == StatusCode::OK
        })
        .await;
        rig.api.shutdown().await;
        // The shutdown writes what waits.
        entries(&rig, 7).await;
        assert!(report(&rig).await.fits);
    })
    .await;
}

#[tokio::test]
async fn entries_of_answered_reads_are_written_again_after_a_failure() {
    on_each(ReadRecording::All, 100, async |rig| {
        rig.get(&format!("/patients/{NOBODY}")).await;
        entries(&rig, 1).await;
        rig.execute("ALTER TABLE audit_read_links RENAME TO elsewhere")
            .await;
        for _ in 0..3 {
            let answer = rig.get(&format!("/patients/{NOBODY}")).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND);
        }
        // A read of the past is recorded first, and shares the failed transaction.
        let past = rig.get(&format!("/patients/{NOBODY}/history")).await;
        assert_eq!(past.status, StatusCode::SERVICE_UNAVAILABLE);
        rig.execute("ALTER TABLE elsewhere RENAME TO audit_read_links")
            .await;
        let all = entries(&rig, 4).await;
        assert!(all.iter().all(|read| read["kind"] == "patient"), "{all:?}");
        let found = report(&rig).await;
        assert_eq!((found.fits, found.entries, found.chains), (true, 4, 1));
    })
    .await;
}

#[tokio::test]
async fn the_end_of_a_stream_is_written_again_after_a_failure() {
    on_each(ReadRecording::Past, 100, async |rig| {
        let live = Blocks::open(&rig, "/events/stream", None).await;
        entries(&rig, 1).await;
        rig.execute("ALTER TABLE audit_read_links RENAME TO elsewhere")
            .await;
        drop(live);
        // A read of the past shows that the writes fail by now.
        let past = rig.get(&format!("/patients/{NOBODY}/history")).await;
        assert_eq!(past.status, StatusCode::SERVICE_UNAVAILABLE);
        rig.execute("ALTER TABLE elsewhere RENAME TO audit_read_links")
            .await;
        let all = entries(&rig, 2).await;
        assert_eq!(gist(&all[1]), json!(["stream", "ended", null, 0]));
        assert!(report(&rig).await.fits);
    })
    .await;
}

#[tokio::test]
async fn strict_returns_nothing_that_is_not_recorded() {
    let rig = Rig::with_options(Access::open(), options(ReadRecording::Strict, 100)).await;
    let id = rig.register("a@example.com").await.id().to_owned();
    rig.execute("ALTER TABLE audit_read_links RENAME TO elsewhere")
        .await;
    for path in [
        format!("/patients/{id}"),
        "/patients?email=a@example.com".to_owned(),
    ] {
        assert_eq!(
            rig.get(&path).await.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{path}"
        );
    }
    rig.execute("ALTER TABLE elsewhere RENAME TO audit_read_links")
        .await;
    let answer: Answer = rig.get(&format!("/patients/{id}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    entries(&rig, 1).await;
}
