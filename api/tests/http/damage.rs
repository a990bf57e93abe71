//! Tests with an altered database: the API never returns wrong data, and its error response names the damaged
//! part.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use eventstore::{Clock, ManualClock, NewEvent, Position, Skip, SystemClock};
use serde_json::json;
use testkit::{mysql_servers, wait_until};
use web::access::Access;

use crate::rig::{Answer, Rig, every_host, patient};

const SOON: Duration = Duration::from_secs(10);

fn is_problem(answer: &Answer, slug: &str) {
    assert_eq!(
        answer.body["type"],
        format!("/problems/{slug}"),
        "{}",
        answer.body
    );
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "30");
}

async fn listed_from(rig: &Rig, position: u64) -> Answer {
    let request = Request::get("/patients")
        .header("min-position", position.to_string())
        .body(Body::empty())
        .unwrap();
    rig.send(request).await
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_true_is_not_believed_by_list_read_and_readiness() {
    Rig::on_each(async |rig| {
        let gone = rig.register("gone@example.com").await;
        rig.register("b@example.com").await;
        rig.project().await;
        assert_eq!(rig.get("/health/ready").await.body["read_table"], "kept");
        for position in ["1000", "3", "-1"] {
            rig.execute(&format!("UPDATE checkpoints SET position = {position}"))
                .await;
            // The position of the projection is read every few milliseconds.
            wait_until(SOON, "the list waits for no such checkpoint", async || {
                listed_from(&rig, 2).await.status == StatusCode::SERVICE_UNAVAILABLE
            })
            .await;
            is_problem(&listed_from(&rig, 2).await, "read-table-damaged");
            let ready = rig.get("/health/ready").await;
            assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE, "{position}");
            assert_eq!(ready.body["read_table"], "damaged");
            let all = rig.get("/projections").await;
            let subscriptions = all.body["subscriptions"].as_array().unwrap();
            let view = subscriptions
                .iter()
                .find(|one| one["name"] == "patient_view")
                .unwrap();
            assert!(
                view["damage"]
                    .as_str()
                    .unwrap()
                    .contains("checkpoint patient_view"),
                "{view}"
            );
            assert_ne!(view["lag_events"], 0);
            assert_ne!(view["lag_seconds"], 0.0);
        }
        rig.execute("UPDATE checkpoints SET position = 1000").await;
        let id = gone.id().to_owned();
        assert_eq!(rig.delete(&id).await.status, StatusCode::NO_CONTENT);
        // The read table still contains the row, but the log contains the deletion.
        assert_eq!(rig.get(&format!("/patients/{id}")).await.status, StatusCode::GONE);
    })
    .await;
}

#[tokio::test]
async fn a_generation_that_was_never_built_is_not_served_as_an_empty_list() {
    Rig::on_each(async |rig| {
        let empty = rig.get("/patients").await;
        assert_eq!((empty.status, empty.body), (StatusCode::OK, json!([])));
        let registered = rig.register("a@example.com").await;
        rig.project().await;
        for generation in [77, -1] {
            rig.execute(&format!(
                "UPDATE projections SET active_generation = {generation}"
            ))
            .await;
            for path in ["/patients", "/getPatients?limit=1", "/patients?name=john"] {
                is_problem(&rig.get(path).await, "read-table-damaged");
            }
            let ready = rig.get("/health/ready").await;
            assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(ready.body["read_table"], "damaged");
        }
        // Generation 0 is not damage: the first generation is being filled.
        rig.execute("UPDATE projections SET active_generation = 0").await;
        for path in ["/patients", "/patients?name=john"] {
            is_problem(&rig.get(path).await, "read-table-not-filled");
        }
        assert_eq!(rig.get("/health/ready").await.status, StatusCode::OK);
        // The generation is still rejected after rows have been written to it.
        rig.execute("UPDATE projections SET active_generation = 77").await;
        rig.register("b@example.com").await;
        rig.execute("UPDATE patient_view SET generation = 77").await;
        is_problem(&rig.get("/patients").await, "read-table-damaged");
        let one = rig.get(&format!("/patients/{}", registered.id())).await;
        assert_eq!(one.status, StatusCode::OK);
        rig.execute("DELETE FROM projections").await;
        is_problem(&rig.get("/patients").await, "read-table-damaged");
    })
    .await;
}

#[tokio::test]
async fn a_search_by_email_never_gives_a_patient_who_has_another_one() {
    Rig::on_each(async |rig| {
        let a = rig.register("a@example.com").await;
        let b = rig.register("b@example.com").await;
        let c = rig.register("c@example.com").await;
        let (a, b, c) = (a.id(), b.id(), c.id());
        rig.project().await;
        rig.execute(&format!(
            "UPDATE claims SET aggregate_id = '{b}' WHERE aggregate_id = '{a}'"
        ))
        .await;
        is_problem(&rig.get("/patients?email=A@example.com").await, "claims-damaged");
        let found = rig.get("/patients?email=b@example.com").await;
        assert_eq!(found.body[0]["id"], b);
        // Deleting B releases the claim of B, and not the claim of A.
        assert_eq!(rig.delete(b).await.status, StatusCode::NO_CONTENT);
        let again = rig.post("/register", &patient("a@example.com")).await;
        assert_eq!(again.status, StatusCode::CONFLICT, "{}", again.body);
        rig.register("b@example.com").await;
        // The claim of A names a deleted patient.
        is_problem(&rig.get("/patients?email=a@example.com").await, "claims-damaged");
        for nobody in ["'nobody'", "'00000000-0000-4000-8000-000000000000'"] {
            rig.execute(&format!(
                "UPDATE claims SET aggregate_id = {nobody} WHERE aggregate_id = '{b}'"
            ))
            .await;
            is_problem(&rig.get("/patients?email=a@example.com").await, "claims-damaged");
            rig.execute(&format!(
                "UPDATE claims SET aggregate_id = '{b}' WHERE aggregate_id = {nobody}"
            ))
            .await;
        }
        assert_eq!(rig.get("/patients?email=c@example.com").await.body[0]["id"], c);
        assert_eq!(
            rig.get("/patients?email=nobody@example.com").await.body,
            json!([])
        );
    })
    .await;
}

#[tokio::test]
async fn nothing_is_written_behind_a_damaged_head_and_the_problem_says_so() {
    Rig::on_each(async |rig| {
        let first = rig.register("a@example.com").await;
        rig.register("c@example.com").await;
        for damage in [
            "position = 99",
            "position = -1",
            "position = 0",
            "recorded_at = 4102444800000000",
            "hash = (SELECT digest FROM (SELECT hash AS digest, position FROM events) e WHERE position = 1)",
        ] {
            rig.execute("CREATE TABLE saved_head AS SELECT * FROM log_head")
                .await;
            rig.execute(&format!("UPDATE log_head SET {damage}")).await;
            is_problem(
                &rig.post("/register", &patient("b@example.com")).await,
                "log-damaged",
            );
            is_problem(&rig.delete(first.id()).await, "log-damaged");
            let ready = rig.get("/health/ready").await;
            assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE, "{damage}");
            assert_eq!(ready.body["log"], "damaged", "{damage}");
            rig.execute("DELETE FROM log_head").await;
            is_problem(
                &rig.post("/register", &patient("b@example.com")).await,
                "log-damaged",
            );
            rig.execute("INSERT INTO log_head SELECT * FROM saved_head").await;
            rig.execute("DROP TABLE saved_head").await;
            assert_eq!(rig.get("/health/ready").await.status, StatusCode::OK, "{damage}");
        }
        let next = rig.register("b@example.com").await;
        assert_eq!(next.header("event-position"), "3");
    })
    .await;
}

#[tokio::test]
async fn a_patient_whose_id_is_stored_in_another_case_is_named_as_damage() {
    Rig::on_each(async |rig| {
        let a = rig.register("a@example.com").await;
        let b = rig.register("b@example.com").await;
        for spelled in [a.id().to_uppercase(), format!("{} ", a.id())] {
            rig.execute(&format!(
                "UPDATE events SET aggregate_id = '{spelled}' WHERE position = 1"
            ))
            .await;
            let path = format!("/patients/{}", a.id());
            let read = rig.get(&path).await;
            let deleted = rig.delete(a.id()).await;
            // SQLite compares ids case-sensitively, and therefore finds no patient with this id.
            if read.status != StatusCode::NOT_FOUND {
                is_problem(&read, "log-damaged");
                is_problem(&deleted, "log-damaged");
            }
            assert_eq!(
                rig.get(&format!("/patients/{}", b.id())).await.status,
                StatusCode::OK
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_patient_with_a_skipped_event_is_not_shown_as_if_it_had_not_happened() {
    Rig::on_each_in_clear(async |rig| {
        let gone = rig.register("gone@example.com").await;
        let stays = rig.register("stays@example.com").await;
        rig.project().await;
        let path = format!("/patients/{}", gone.id());
        assert_eq!(rig.get(&path).await.status, StatusCode::OK);
        // A deletion that a newer version of this program wrote.
        let deletion = NewEvent {
            aggregate_type: "patient".into(),
            aggregate_id: gone.id().into(),
            sequence: 2,
            event_type: "PatientDeleted".into(),
            event_version: "9.0".into(),
            payload: json!({"type": "PatientDeleted", "reason": "asked"}),
            metadata: json!({}),
        };
        let append = eventstore::Append::new(vec![deletion], Vec::new()).unwrap();
        rig.appends.append(append).await.unwrap();
        is_problem(&rig.get(&path).await, "patient-unreadable");
        rig.execute(
            "INSERT INTO subscription_failures (name, position, error, attempts, since, last_at, retry_at) \
             VALUES ('patient_view', 3, 'unreadable', 1, 1, 1, 1), ('patient_names', 3, 'unreadable', 1, 1, 1, 1)",
        )
        .await;
        for projection in ["patient_view", "patient_names"] {
            let skip = Skip {
                position: Position::new(3).unwrap(),
                reason: "too new".into(),
                skipped_by: "test".into(),
                skipped_at: SystemClock.now(),
            };
            skip.record(rig.log.database(), projection).await.unwrap();
        }
        rig.project().await;
        is_problem(&rig.get(&path).await, "patient-unreadable");
        is_problem(
            &rig.get("/patients?email=gone@example.com").await,
            "patient-unreadable",
        );
        is_problem(&rig.delete(gone.id()).await, "patient-unreadable");
        for list in ["/patients", "/patients?name=john", "/patients?limit=1"] {
            let page = rig.get(list).await;
            let ids: Vec<_> = page
                .body
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["id"].clone())
                .collect();
            assert!(!ids.contains(&json!(gone.id())), "{list}: {}", page.body);
        }
        let second = rig
            .get(&rig.get("/patients?limit=1").await.link("next").unwrap())
            .await;
        assert_eq!(second.body[0]["id"], stays.id(), "the next page goes on");
        assert_eq!(
            rig.get(&format!("/patients/{}", stays.id())).await.status,
            StatusCode::OK
        );
    })
    .await;
}

#[tokio::test]
async fn a_process_whose_clock_is_not_the_databases_writes_nothing_and_is_not_ready() {
    for server in mysql_servers() {
        let database = server.create_database().await;
        let right = SystemClock.now();
        let clock = ManualClock::at(right);
        let options = every_host();
        let rig = Rig::by_clock(&database.url, Access::open(), options, None, clock.clone()).await;
        let first = rig.register("a@example.com").await;
        for wrong in [
            right + Duration::from_hours(24 * 3650),
            right - Duration::from_mins(10),
        ] {
            clock.set(wrong);
            is_problem(
                &rig.post("/register", &patient("b@example.com")).await,
                "clock-wrong",
            );
            is_problem(&rig.delete(first.id()).await, "clock-wrong");
            let ready = rig.get("/health/ready").await;
            assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(ready.body["clock"], "wrong");
            let read = rig.get(&format!("/patients/{}", first.id())).await;
            assert_eq!(read.status, StatusCode::OK, "reads go on");
        }
        clock.set(right);
        let second = rig.register("b@example.com").await;
        assert_eq!(second.header("event-position"), "2");
        assert_eq!(rig.get("/health/ready").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_process_on_sqlite_whose_clock_was_set_is_not_ready_until_the_clock_is_right() {
    let rig = Rig::new().await;
    // The first append of a process is compared with the time of the last event.
    rig.register("a@example.com").await;
    let clock = ManualClock::at(SystemClock.now());
    let rig = rig.restart(every_host(), clock.clone());
    rig.register("b@example.com").await;
    let right = clock.now();
    assert_eq!(rig.get("/health/ready").await.status, StatusCode::OK);
    clock.set(right - Duration::from_hours(24 * 365 * 53));
    let ready = rig.get("/health/ready").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.body["clock"], "wrong");
    is_problem(
        &rig.post("/register", &patient("c@example.com")).await,
        "clock-wrong",
    );
    // The load balancer sends no request to a process that is not ready.
    clock.set(right);
    assert_eq!(rig.get("/health/ready").await.status, StatusCode::OK);
    rig.register("c@example.com").await;
}
