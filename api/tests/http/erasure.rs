//! Erasing a patient: the answers before, during and after it.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::rig::{Answer, Rig, patient};

fn erasure(id: &str) -> String {
    format!("/patients/{id}/erasure")
}

async fn erase(rig: &Rig, id: &str) -> Answer {
    rig.post(&erasure(id), &json!({ "reason": "request" })).await
}

/// Changes the email.
async fn amend(rig: &Rig, id: &str, email: &str) -> Answer {
    let request = Request::patch(format!("/patients/{id}"))
        .header("content-type", "application/merge-patch+json")
        .body(Body::from(json!({ "email": email }).to_string()));
    rig.send(request.unwrap()).await
}

fn is_problem(answer: &Answer, slug: &str) {
    assert_eq!(
        answer.body["type"],
        format!("/problems/{slug}"),
        "{}",
        answer.body
    );
}

async fn register_with_key(rig: &Rig, key: &str, email: &str) -> Answer {
    let request = Request::post("/register")
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(Body::from(patient(email).to_string()));
    rig.send(request.unwrap()).await
}

#[tokio::test]
async fn an_erased_patient_is_gone_from_every_answer() {
    Rig::on_each(async |rig| {
        let created = rig.register("a@example.com").await;
        let id = created.id().to_owned();
        let path = format!("/patients/{id}");
        assert_eq!(amend(&rig, &id, "b@example.com").await.status, StatusCode::OK);
        let before: Value = rig.get("/events").await.body;

        // Without a projector, the rows of the read tables are pending.
        let answer = erase(&rig, &id).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        assert_eq!(answer.header("location"), erasure(&id));
        assert_eq!(
            answer.body["pending"],
            json!(["patient_view", "patient_names", "mail"])
        );
        assert_eq!(answer.body["complete"], false);
        for reading in [
            path.clone(),
            format!("{path}?at=2999-01-01T00:00:00Z"),
            format!("{path}/history/1"),
            format!("{path}/history/2"),
        ] {
            let read = rig.get(&reading).await;
            if reading.contains("2999") {
                is_problem(&read, "invalid-request");
            } else {
                is_problem(&read, "patient-erased");
            }
        }
        is_problem(&rig.delete(&id).await, "patient-erased");
        is_problem(&amend(&rig, &id, "c@example.com").await, "patient-erased");

        // The projector deletes the rows by the events alone.
        rig.project().await;
        assert_eq!(rig.get("/patients").await.body, json!([]));
        assert_eq!(rig.get(&erasure(&id)).await.body["pending"], json!(["mail"]));
        assert_eq!(rig.get("/patients?email=b%40example.com").await.body, json!([]));

        // The history has the events, without the personal data.
        let history = rig.get(&format!("{path}/history")).await.body;
        let types: Vec<_> = history
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["event_type"].as_str().unwrap())
            .collect();
        assert_eq!(
            types,
            [
                "PatientRegistered",
                "PatientAmended",
                "PatientDeleted",
                "PatientErased"
            ]
        );
        for event in &history.as_array().unwrap()[..2] {
            let names: Vec<_> = event["payload"].as_object().unwrap().keys().collect();
            assert_eq!(names, ["erased", "type"]);
            assert_eq!(event.get("changes"), None);
        }
        assert_eq!(
            history[3]["payload"],
            json!({ "type": "PatientErased", "reason": "request", "scope": "full" })
        );

        // The stored events are the same, byte for byte, and do not open.
        let after: Value = rig.get("/events").await.body;
        for (before, after) in before.as_array().unwrap().iter().zip(after.as_array().unwrap()) {
            for member in ["payload", "hash", "metadata", "event_version"] {
                assert_eq!(before[member], after[member]);
            }
            assert!(before["opened"]["email"].is_string() && after["opened"]["erased"].is_string());
            assert_eq!(after["opened"].get("email"), None);
        }
        let verified = eventstore::verify(&rig.log, Vec::new(), |_| {}).await.unwrap();
        assert_eq!(verified.unwrap().position.get(), 4);

        // The email is free again, and the first answer is repeated.
        assert_eq!(rig.register("b@example.com").await.status, StatusCode::CREATED);
        let again = rig.post(&erasure(&id), &json!({ "reason": "error" })).await;
        assert_eq!(
            (&again.body["position"], &again.body["reason"]),
            (&json!(4), &json!("request"))
        );
        assert_eq!(rig.head().await, 5);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_patient_is_erased_without_another_deletion() {
    let rig = Rig::new().await;
    let created = rig.register("a@example.com").await;
    rig.delete(created.id()).await;
    let answer = erase(&rig, created.id()).await;
    assert_eq!(answer.body["position"], 3);
    assert!(answer.body["key_destroyed_at"].is_string());
    let history = rig.get(&format!("/patients/{}/history", created.id())).await.body;
    assert_eq!(history[2]["event_type"], "PatientErased");
}

#[tokio::test]
async fn a_repeated_registration_of_an_erased_patient_makes_no_second_patient() {
    let rig = Rig::new().await;
    let created = register_with_key(&rig, "k-1", "a@example.com").await;
    assert_eq!(created.status, StatusCode::CREATED);
    erase(&rig, created.id()).await;
    is_problem(
        &register_with_key(&rig, "k-1", "a@example.com").await,
        "patient-erased",
    );
    assert_eq!(rig.head().await, 3);
}

#[tokio::test]
async fn an_erasure_needs_a_known_reason_and_a_patient() {
    let rig = Rig::new().await;
    let created = rig.register("a@example.com").await;
    let path = erasure(created.id());
    for body in [
        json!({}),
        json!({ "reason": "whim" }),
        json!({ "reason": 1 }),
        json!({ "reason": "request", "name": "x" }),
        json!(["request"]),
    ] {
        is_problem(&rig.post(&path, &body).await, "invalid-request");
    }
    is_problem(&rig.get(&path).await, "not-erased");
    let nobody = erasure("01a20c52-84f4-752b-9b94-14a23061549a");
    is_problem(&rig.get(&nobody).await, "patient-not-found");
    let unknown = rig.post(&nobody, &json!({ "reason": "error" })).await;
    is_problem(&unknown, "patient-not-found");
    assert_eq!(rig.head().await, 1);
}

#[tokio::test]
async fn in_a_log_in_clear_nobody_can_be_erased() {
    let rig = Rig::in_clear().await;
    let created = rig.register("a@example.com").await;
    is_problem(&erase(&rig, created.id()).await, "log-in-clear");
    assert_eq!(rig.head().await, 1);
    let event = &rig.get("/events").await.body[0];
    assert_eq!(event["payload"]["email"], "a@example.com");
    assert_eq!(event.get("opened"), None);
}
