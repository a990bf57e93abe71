//! Erasing a patient: the answers before, during and after it.

use std::collections::BTreeSet;

use api::erasure::Certificate;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::openapi::document;
use crate::rig::{Answer, Rig, at_once, patient};

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

async fn certificate(rig: &Rig, id: &str) -> Answer {
    rig.get(&format!("{}/certificate", erasure(id))).await
}

/// Moves the checkpoint of the mailer to the head, as if the mailer had processed all events.
async fn pass_mail(rig: &Rig) {
    let position = rig.head().await;
    rig.execute("DELETE FROM checkpoints WHERE name = 'mailer'").await;
    let insert = "INSERT INTO checkpoints (name, position, updated_at) VALUES ('mailer'";
    rig.execute(&format!("{insert}, {position}, 0)")).await;
}

#[tokio::test]
async fn only_a_complete_erasure_has_a_certificate_which_checks() {
    Rig::on_each(async |rig| {
        let created = rig.register("a@example.com").await;
        let id = created.id();
        is_problem(&certificate(&rig, id).await, "not-erased");
        is_problem(
            &certificate(&rig, "01a20c52-84f4-752b-9b94-14a23061549a").await,
            "patient-not-found",
        );
        is_problem(&certificate(&rig, "x").await, "patient-not-found");
        erase(&rig, id).await;
        let answer = certificate(&rig, id).await;
        is_problem(&answer, "erasure-incomplete");
        assert_eq!(
            (answer.status, &answer.body["detail"]),
            (
                StatusCode::CONFLICT,
                &json!("The erasure is not complete. Still pending: patient_view, patient_names, mail. Try again later.")
            )
        );
        rig.project().await;
        is_problem(&certificate(&rig, id).await, "erasure-incomplete");
        pass_mail(&rig).await;
        let answer = certificate(&rig, id).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("cache-control"), "no-store");
        let status = rig.get(&erasure(id)).await.body;
        let attestation = &answer.body["attestation"];
        assert_eq!(attestation["patient_id"], json!(id));
        for member in ["reason", "scope", "erased_at", "key_destroyed_at"] {
            assert_eq!(attestation[member], status[member], "{member}");
        }
        let read: Certificate = serde_json::from_value(answer.body.clone()).unwrap();
        assert_eq!(read.check(), Ok(()));
        let position = &answer.body["proof"]["inclusion"]["event"]["position"];
        assert_eq!(*position, status["position"]);
        for (schema, part) in [
            ("ErasureCertificate", &answer.body),
            ("ErasureAttestation", attestation),
            ("InclusionProof", &answer.body["proof"]),
            ("Tree", &answer.body["proof"]["tree"]),
            ("Inclusion", &answer.body["proof"]["inclusion"]),
        ] {
            let has: BTreeSet<_> = part.as_object().unwrap().keys().cloned().collect();
            let properties = &document()["components"]["schemas"][schema]["properties"];
            let named = properties.as_object().unwrap().keys().cloned().collect();
            assert_eq!(has, named, "{schema}");
        }
        let reads = rig.get(&format!("/audit/reads?patient_id={id}")).await.body;
        let read = json!([reads[0]["kind"], reads[0]["after"], reads[0]["to"], reads[1]]);
        assert_eq!(read, json!(["proof", 2, 3, null]));
    })
    .await;
}

#[tokio::test]
async fn data_that_comes_back_after_an_erasure_and_a_damaged_log_prevent_a_certificate() {
    Rig::on_each(async |rig| {
        let created = rig.register("a@example.com").await;
        let id = created.id();
        rig.execute("CREATE TABLE kept AS SELECT * FROM subject_keys")
            .await;
        erase(&rig, id).await;
        rig.project().await;
        pass_mail(&rig).await;
        rig.execute("CREATE TABLE destroyed AS SELECT * FROM subject_keys")
            .await;
        assert_eq!(certificate(&rig, id).await.status, StatusCode::OK);
        for (done, undone, slug, detail) in [
            (
                &[
                    "DELETE FROM subject_keys",
                    "INSERT INTO subject_keys SELECT * FROM kept",
                ][..],
                &[
                    "DELETE FROM subject_keys",
                    "INSERT INTO subject_keys SELECT * FROM destroyed",
                ][..],
                "erasure-incomplete",
                "pending: key",
            ),
            (
                &["UPDATE events SET event_version = '1.0' WHERE position = 1"],
                &["UPDATE events SET event_version = '2.0' WHERE position = 1"],
                "erasure-partial",
                "in the log: 1. Their first positions: 1.",
            ),
            (
                &["UPDATE log_head SET recorded_at = recorded_at + 1"],
                &["UPDATE log_head SET recorded_at = recorded_at - 1"],
                "log-damaged",
                "altered",
            ),
        ] {
            for sql in done {
                rig.execute(sql).await;
            }
            let answer = certificate(&rig, id).await;
            is_problem(&answer, slug);
            let said = answer.body["detail"].as_str().unwrap();
            assert!(said.contains(detail), "{said}");
            for sql in undone {
                rig.execute(sql).await;
            }
            assert_eq!(certificate(&rig, id).await.status, StatusCode::OK, "{slug}");
        }
    })
    .await;
}

#[tokio::test]
async fn certificates_are_made_one_at_a_time() {
    let rig = Rig::new().await;
    let created = rig.register("a@example.com").await;
    let id = created.id();
    erase(&rig, id).await;
    rig.project().await;
    pass_mail(&rig).await;
    let answers = at_once((0..50).map(|_| certificate(&rig, id))).await;
    let (made, rejected): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == StatusCode::OK);
    assert!(!made.is_empty() && !rejected.is_empty(), "{}", made.len());
    for answer in rejected {
        is_problem(answer, "overloaded");
        assert!(!answer.header("retry-after").is_empty());
    }
}
