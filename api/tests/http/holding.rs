//! Holds, and the retention period: when an erasure is rejected.

use api::ApiOptions;
use api::retention::Retention;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use eventstore::SystemClock;
use serde_json::{Value, json};
use web::access::Access;

use crate::rig::{Answer, Rig, patient};

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
    let options = ApiOptions {
        retention: Retention {
            period: Some(period.parse().unwrap()),
            override_for_requests,
        },
        ..ApiOptions::default()
    };
    Rig::with_options(Access::open(), options).await
}

/// Moves the times of deletions into the past. The last event must not be a deletion, because appends verify
/// it.
async fn age(rig: &Rig, days: u64) {
    let micros = days * 24 * 3_600_000_000;
    rig.execute(&format!(
        "UPDATE events SET recorded_at = recorded_at - {micros} WHERE event_type = 'PatientDeleted'"
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
