//! Holds, and the retention period: when an erasure is rejected.

use std::time::Duration;

use api::ApiOptions;
use api::retention::Retention;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use eventstore::{Clock, ManualClock, SystemClock};
use serde_json::{Value, json};
use web::access::Access;

use crate::rig::{Answer, Rig, every_host, patient};

fn hold(id: &str) -> String {
    format!("/patients/{id}/hold")
}

async fn put(rig: &Rig, id: &str, body: &Value) -> Answer {
    let request = Request::put(hold(id))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()));
    rig.send(request.unwrap()).await
}

async fn release(rig: &Rig, id: &str) -> Answer {
    rig.send(Request::delete(hold(id)).body(Body::empty()).unwrap())
        .await
}

async fn erase(rig: &Rig, id: &str, reason: &str) -> Answer {
    rig.post(&format!("/patients/{id}/erasure"), &json!({ "reason": reason }))
        .await
}

fn is_problem(answer: &Answer, slug: &str) {
    assert_eq!(
        answer.body["type"],
        format!("/problems/{slug}"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_hold_protects_a_patient_from_every_erasure_until_it_is_released() {
    Rig::on_each(async |rig| {
        let id = rig.register("a@example.com").await.id().to_owned();
        is_problem(&rig.get(&hold(&id)).await, "not-held");
        let held = put(
            &rig,
            &id,
            &json!({ "until": "2999-12-31", "reason": "legal_claim" }),
        )
        .await;
        assert_eq!(held.status, StatusCode::OK, "{}", held.body);
        assert_eq!(held.body["position"], 2);
        assert_eq!(
            (&held.body["until"], &held.body["expired"]),
            (&json!("2999-12-31"), &json!(false))
        );
        // The same hold again changes nothing; another hold replaces it.
        let again = put(
            &rig,
            &id,
            &json!({ "until": "2999-12-31", "reason": "legal_claim" }),
        )
        .await;
        assert_eq!(again.body, held.body);
        let longer = put(&rig, &id, &json!({ "until": "9999-12-31", "reason": "research" })).await;
        assert_eq!(longer.body["position"], 3);
        assert_eq!(rig.get(&hold(&id)).await.body, longer.body);

        for reason in ["request", "retention", "error"] {
            let refused = erase(&rig, &id, reason).await;
            assert_eq!(refused.status, StatusCode::CONFLICT);
            is_problem(&refused, "patient-held");
            assert_eq!(refused.body["until"], "9999-12-31");
        }
        // The patient can be read, changed and deleted as before, and the hold outlives the deletion.
        rig.project().await;
        let read = rig.get(&format!("/patients/{id}")).await;
        assert_eq!((read.status, read.header("etag")), (StatusCode::OK, "\"3\""));
        assert_eq!(
            rig.get("/patients?email=a%40example.com").await.body[0]["id"],
            id.as_str()
        );
        assert_eq!(rig.delete(&id).await.status, StatusCode::NO_CONTENT);
        is_problem(&erase(&rig, &id, "request").await, "patient-held");
        is_problem(&rig.get(&format!("/patients/{id}")).await, "patient-deleted");

        assert_eq!(release(&rig, &id).await.status, StatusCode::NO_CONTENT);
        assert_eq!(release(&rig, &id).await.status, StatusCode::NO_CONTENT);
        is_problem(&rig.get(&hold(&id)).await, "not-held");
        assert_eq!(rig.head().await, 5);
        rig.project().await;
        assert!(erase(&rig, &id, "request").await.status.is_success());
        for answer in [
            rig.get(&hold(&id)).await,
            release(&rig, &id).await,
            put(&rig, &id, &json!({ "until": "2999-12-31", "reason": "research" })).await,
        ] {
            is_problem(&answer, "patient-erased");
        }
        // Somebody else can have the email again.
        assert_eq!(rig.register("a@example.com").await.status, StatusCode::CREATED);
    })
    .await;
}

#[tokio::test]
async fn a_hold_needs_a_day_from_today_on_and_a_known_reason() {
    let rig = Rig::new().await;
    let id = rig.register("a@example.com").await.id().to_owned();
    let now = SystemClock::shared().now();
    let today = now.to_string()[..10].to_owned();
    let yesterday = (now - std::time::Duration::from_hours(24)).to_string()[..10].to_owned();
    assert_eq!(
        put(&rig, &id, &json!({ "until": today, "reason": "research" }))
            .await
            .status,
        StatusCode::OK
    );
    let head = rig.head().await;
    for until in [
        json!(yesterday),
        json!("2031-02-30"),
        json!("31-12-2031"),
        json!("+12031-12-31"),
        json!("2031-12-31T00:00:00Z"),
        json!(""),
        json!(2031),
        json!(null),
        json!("20310-1-01"),
    ] {
        let refused = put(&rig, &id, &json!({ "until": until, "reason": "research" })).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{until}");
        assert_eq!(refused.body["errors"][0]["field"], "until");
    }
    for reason in [json!("Ana asked"), json!("LEGAL_CLAIM"), json!(1)] {
        let refused = put(&rig, &id, &json!({ "until": "2031-12-31", "reason": reason })).await;
        assert_eq!(refused.body["errors"][0]["field"], "reason");
    }
    let refused = put(&rig, &id, &json!({ "note": "x" })).await;
    assert_eq!(
        refused.body["errors"].as_array().unwrap().len(),
        3,
        "{}",
        refused.body
    );
    let unknown = "01a20c52-84f4-752b-9b94-14a23061549a";
    for answer in [
        rig.get(&hold(unknown)).await,
        put(
            &rig,
            unknown,
            &json!({ "until": "2031-12-31", "reason": "research" }),
        )
        .await,
        release(&rig, unknown).await,
    ] {
        is_problem(&answer, "patient-not-found");
    }
    assert_eq!(rig.head().await, head);
}

/// Older programs, which do not know the events, may still use an unencrypted log.
#[tokio::test]
async fn nobody_is_held_in_a_log_in_clear() {
    let rig = Rig::in_clear().await;
    let id = rig.register("a@example.com").await.id().to_owned();
    is_problem(
        &put(&rig, &id, &json!({ "until": "2031-12-31", "reason": "research" })).await,
        "log-in-clear",
    );
    is_problem(&release(&rig, &id).await, "log-in-clear");
    is_problem(&rig.get(&hold(&id)).await, "not-held");
}

/// Creates an API with a retention period.
async fn retaining(period: &str, override_for_requests: bool) -> Rig {
    Rig::with_options(Access::open(), retention(period, override_for_requests)).await
}

fn retention(period: &str, override_for_requests: bool) -> ApiOptions {
    ApiOptions {
        http: every_host(),
        retention: Retention {
            period: Some(period.parse().unwrap()),
            override_for_requests,
        },
        ..ApiOptions::default()
    }
}

/// Moves the times of deletions and of all events before them into the past. The last event must not be a
/// deletion, because appends verify it.
async fn age(rig: &Rig, days: u64) {
    let micros = days * 24 * 3_600_000_000;
    rig.execute(&format!(
        "UPDATE events SET recorded_at = recorded_at - {micros} \
         WHERE position <= (SELECT MAX(position) FROM events WHERE event_type = 'PatientDeleted')"
    ))
    .await;
}

#[tokio::test]
async fn an_erasure_is_rejected_until_the_retention_period_has_ended() {
    let rig = retaining("5y", false).await;
    let id = rig.register("a@example.com").await.id().to_owned();
    for reason in ["request", "retention", "error"] {
        let refused = erase(&rig, &id, reason).await;
        assert_eq!(refused.status, StatusCode::CONFLICT);
        is_problem(&refused, "retention-period");
        assert_eq!(refused.body.get("until"), None, "the patient is not deleted");
    }
    rig.delete(&id).await;
    rig.register("b@example.com").await;
    age(&rig, 4 * 365).await;
    let refused = erase(&rig, &id, "request").await;
    is_problem(&refused, "retention-period");
    let deleted: Value = rig.get("/events?type=PatientDeleted").await.body;
    let (deleted, until) = (
        deleted[0]["recorded_at"].as_str().unwrap(),
        refused.body["until"].as_str().unwrap(),
    );
    assert_eq!(
        until[..4].parse::<u32>().unwrap(),
        deleted[..4].parse::<u32>().unwrap() + 5
    );
    assert_eq!(until[4..], deleted[4..]);
    assert!(refused.body["detail"].as_str().unwrap().contains(until));
    assert_eq!(rig.head().await, 3);

    age(&rig, 366 + 1).await;
    rig.project().await;
    assert!(erase(&rig, &id, "retention").await.status.is_success());
    // The answer to a second erasure does not depend on the period.
    assert!(erase(&rig, &id, "request").await.status.is_success());
    is_problem(
        &erase(&rig, "01a20c52-84f4-752b-9b94-14a23061549a", "request").await,
        "patient-not-found",
    );
}

#[tokio::test]
async fn with_the_override_a_patient_who_requests_it_is_erased_at_once() {
    let rig = retaining("90d", true).await;
    let id = rig.register("a@example.com").await.id().to_owned();
    for reason in ["retention", "error"] {
        is_problem(&erase(&rig, &id, reason).await, "retention-period");
    }
    assert!(erase(&rig, &id, "request").await.status.is_success());
    // A hold rejects even an erasure that the patient requests.
    let other = rig
        .post("/register", &patient("b@example.com"))
        .await
        .id()
        .to_owned();
    put(
        &rig,
        &other,
        &json!({ "until": "2999-12-31", "reason": "public_health" }),
    )
    .await;
    is_problem(&erase(&rig, &other, "request").await, "patient-held");
}

/// Returns the ids in a list and its pages, which have at most `limit` items each.
async fn listed(rig: &Rig, path: &str, limit: u32) -> Vec<Value> {
    let (mut next, mut rows) = (Some(format!("{path}?limit={limit}")), Vec::new());
    while let Some(path) = next {
        let page = rig.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        let page_rows = page.body.as_array().unwrap();
        assert!(page_rows.len() <= limit as usize);
        rows.extend(page_rows.iter().cloned());
        next = page.link("next");
    }
    rows
}

fn column(rows: &[Value], name: &str) -> Vec<Value> {
    rows.iter().map(|row| row[name].clone()).collect()
}

#[tokio::test]
async fn the_holds_are_listed_without_those_that_were_replaced_or_released() {
    Rig::on_each(async |rig| {
        let mut ids = Vec::new();
        for number in 0..5 {
            let answer = rig.register(&format!("{number}@example.com")).await;
            ids.push(answer.id().to_owned());
        }
        assert_eq!(listed(&rig, "/holds", 2).await, [Value::Null; 0]);
        for (id, until) in [
            (0, "2999-12-31"),
            (1, "2999-12-31"),
            (2, "2999-12-31"),
            (0, "9999-12-31"),
        ] {
            let body = json!({ "until": until, "reason": "legal_claim" });
            put(&rig, &ids[id], &body).await;
        }
        release(&rig, &ids[1]).await;
        let today = SystemClock::shared().now().to_string()[..10].to_owned();
        put(&rig, &ids[4], &json!({ "until": today, "reason": "research" })).await;
        for limit in [1, 2, 100] {
            let rows = listed(&rig, "/holds", limit).await;
            assert_eq!(
                column(&rows, "id"),
                [&*ids[2], &*ids[0], &*ids[4]],
                "in pages of {limit}"
            );
            assert_eq!(column(&rows, "until"), ["2999-12-31", "9999-12-31", &*today]);
            assert_eq!(rows[1], rig.get(&hold(&ids[0])).await.body);
        }
        // Only the hold of the erased patient disappears.
        release(&rig, &ids[2]).await;
        rig.delete(&ids[2]).await;
        assert!(erase(&rig, &ids[2], "request").await.status.is_success());
        let rows = listed(&rig, "/holds", 100).await;
        assert_eq!(column(&rows, "id"), [&*ids[0], &*ids[4]]);
    })
    .await;
}

#[tokio::test]
async fn the_erasures_that_are_due_are_listed_with_their_holds_and_without_personal_data() {
    let rig = retaining("90d", false).await;
    let mut ids = Vec::new();
    for number in 0..6 {
        let answer = rig.register(&format!("{number}@example.com")).await;
        ids.push(answer.id().to_owned());
    }
    put(
        &rig,
        &ids[1],
        &json!({ "until": "2999-12-31", "reason": "legal_claim" }),
    )
    .await;
    for id in &ids[..4] {
        rig.delete(id).await;
    }
    rig.register("last@example.com").await;
    assert_eq!(listed(&rig, "/erasures/due", 100).await, [Value::Null; 0]);
    age(&rig, 91).await;
    // This patient was deleted a moment ago.
    rig.delete(&ids[4]).await;
    assert!(erase(&rig, &ids[2], "retention").await.status.is_success());
    for limit in [1, 2, 100] {
        let rows = listed(&rig, "/erasures/due", limit).await;
        assert_eq!(
            column(&rows, "id"),
            [&*ids[0], &*ids[1], &*ids[3]],
            "in pages of {limit}"
        );
        assert_eq!(
            column(&rows, "held_until"),
            [json!(null), json!("2999-12-31"), json!(null)]
        );
        let names: Vec<_> = rows[0].as_object().unwrap().keys().collect();
        assert_eq!(names, ["deleted_at", "due_at", "held_until", "id", "position"]);
        assert!(rows[0]["due_at"].as_str() > rows[0]["deleted_at"].as_str());
    }
    // A released hold no longer protects the patient.
    release(&rig, &ids[1]).await;
    let rows = listed(&rig, "/erasures/due", 100).await;
    assert_eq!(
        column(&rows, "held_until"),
        [json!(null), json!(null), json!(null)]
    );
    let refused = rig.get("/erasures/due?limit=0&after=x").await;
    assert_eq!(refused.body["errors"].as_array().unwrap().len(), 2);

    // Without a period, a patient can be erased as soon as it is deleted.
    let rig = Rig::new().await;
    let id = rig.register("a@example.com").await.id().to_owned();
    rig.delete(&id).await;
    let rows = listed(&rig, "/erasures/due", 100).await;
    assert_eq!(rows[0]["due_at"], rows[0]["deleted_at"]);
}

#[tokio::test]
async fn a_deletion_by_a_clock_that_was_behind_is_kept_for_the_whole_retention_period() {
    // Each process has a clock of its own, which SQLite cannot compare with another clock.
    let restart = |rig: Rig, now| rig.restart(retention("2y", false), ManualClock::at(now));
    let right = SystemClock.now();
    let rig = restart(Rig::new().await, right);
    let id = rig.register("a@example.com").await.id().to_owned();
    rig.register("b@example.com").await;

    let behind = right - Duration::from_hours(24 * 365 * 53);
    let rig = restart(rig, behind);
    // The first event by the wrong clock is not a deletion.
    let later = rig.register("c@example.com").await.id().to_owned();
    for id in [&id, &later] {
        let deleted = rig.delete(id).await;
        assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{}", deleted.body);
    }

    let rig = restart(rig, right + Duration::from_mins(5));
    let deletions = rig.get("/events?type=PatientDeleted").await.body;
    assert!(deletions[0]["recorded_at"].as_str().unwrap() < "1980");
    assert_eq!(listed(&rig, "/erasures/due", 100).await, [Value::Null; 0]);
    for id in [&id, &later] {
        let refused = erase(&rig, id, "retention").await;
        is_problem(&refused, "retention-period");
        assert!(refused.body["until"].as_str().unwrap() > right.to_string().as_str());
    }

    let rig = restart(rig, right + Duration::from_hours(24 * 366 * 2));
    let due = listed(&rig, "/erasures/due", 100).await;
    assert_eq!(column(&due, "id"), [&*id, &*later]);
    assert_eq!(due[1]["deleted_at"], right.to_string());
    assert!(erase(&rig, &id, "retention").await.status.is_success());
}
