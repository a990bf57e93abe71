//! Tests of retries, conflicts and preconditions.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use domain::{PatientDetails, PatientEvent};
use eventstore::{Append, NewEvent};
use futures::future::select;
use serde_json::{Value, json};
use uuid::Uuid;
use web::access::{Access, Role, Token, Tokens};

use crate::rig::{Answer, Rig, at_once, patient, post};

async fn with_key(rig: &Rig, key: &str, body: &Value) -> Answer {
    let mut request = post("/register", body.to_string());
    request
        .headers_mut()
        .insert("idempotency-key", key.parse().unwrap());
    rig.send(request).await
}

#[tokio::test]
async fn the_same_key_gives_the_first_answer_again_and_never_a_second_patient() {
    let rig = Rig::new().await;
    let first = with_key(&rig, "key-1", &patient("a@example.com")).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let again = with_key(&rig, "key-1", &patient("a@example.com")).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.header("event-position"), first.header("event-position"));
    assert_eq!(again.header("location"), first.header("location"));

    let other = with_key(&rig, "key-1", &patient("b@example.com")).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(other.body["type"], "/problems/idempotency-key-reused");

    rig.delete(first.id()).await;
    let after_deletion = with_key(&rig, "key-1", &patient("a@example.com")).await;
    assert_eq!(
        (after_deletion.status, after_deletion.body),
        (first.status, first.body)
    );
    rig.project().await;
    assert_eq!(rig.get("/patients").await.body.as_array().unwrap().len(), 0);
}

/// Returns access control for clerks with these names, and the `Authorization` header of each clerk.
fn clerks<const N: usize>(names: [&str; N]) -> (Access, [String; N]) {
    let tokens = names.map(|name| (name, Token::generate().unwrap()));
    let lines = tokens
        .each_ref()
        .map(|(name, token)| token.line(name, Role::Clerk));
    let access = Access::by(Tokens::parse(&lines.join("\n")).unwrap());
    (
        access,
        tokens.map(|(_, token)| format!("Bearer {}", token.secret())),
    )
}

async fn as_caller(rig: &Rig, bearer: &str, key: &str, email: &str) -> Answer {
    let mut request = post("/register", patient(email).to_string());
    let headers = request.headers_mut();
    headers.insert("idempotency-key", key.parse().unwrap());
    headers.insert("authorization", bearer.parse().unwrap());
    rig.send(request).await
}

#[tokio::test]
async fn a_key_of_one_caller_never_meets_the_patient_of_another() {
    let (access, [desk, ward]) = clerks(["desk", "ward"]);
    let rig = Rig::with(access).await;
    let first = as_caller(&rig, &desk, "1", "a@example.com").await;
    assert_eq!(first.status, StatusCode::CREATED);
    let other = as_caller(&rig, &ward, "1", "b@example.com").await;
    assert_eq!(other.status, StatusCode::CREATED, "{}", other.body);
    assert_ne!(other.id(), first.id());
    for (bearer, email, expected) in [(&desk, "a@example.com", &first), (&ward, "b@example.com", &other)] {
        let again = as_caller(&rig, bearer, "1", email).await;
        assert_eq!((again.status, &again.body), (StatusCode::CREATED, &expected.body));
    }
    let taken = as_caller(&rig, &ward, "1", "a@example.com").await;
    assert_eq!(
        taken.body["type"], "/problems/idempotency-key-reused",
        "ward's own key"
    );
    let taken = as_caller(&rig, &ward, "2", "a@example.com").await;
    assert_eq!(
        taken.body["type"], "/problems/email-taken",
        "and not desk's patient"
    );
    assert_eq!(rig.head().await, 2);
}

/// Earlier versions derived the id of a patient from the key alone, without the caller.
#[tokio::test]
async fn a_key_from_before_keys_had_callers_still_gives_its_own_caller_the_first_answer() {
    let (access, [desk, ward]) = clerks(["desk", "ward"]);
    let rig = Rig::in_clear_with(access).await;
    let keys = Uuid::from_u128(0x6f1f_0f5e_9d0c_5c3b_8a44_2f6b_7a90_31d7);
    let id = Uuid::new_v5(&keys, b"1").to_string();
    let details = PatientDetails {
        name: "John Doe".into(),
        email: "a@example.com".into(),
        phone: "+1234567890".into(),
        document_url: "https://example.com/photos/john.jpg".into(),
    };
    let registered = NewEvent {
        aggregate_type: "patient".into(),
        aggregate_id: id.clone(),
        sequence: 1,
        event_type: "PatientRegistered".into(),
        event_version: "1.0".into(),
        payload: serde_json::to_value(PatientEvent::from(details)).unwrap(),
        metadata: json!({"actor": "desk", "request_id": "before"}),
    };
    rig.appends
        .append(Append::new(vec![registered], Vec::new()).unwrap())
        .await
        .unwrap();
    let again = as_caller(&rig, &desk, "1", "a@example.com").await;
    assert_eq!(
        (again.status, again.id()),
        (StatusCode::CREATED, id.as_str()),
        "{}",
        again.body
    );
    assert_eq!(again.header("event-position"), "1");
    let reused = as_caller(&rig, &desk, "1", "b@example.com").await;
    assert_eq!(reused.body["type"], "/problems/idempotency-key-reused");
    assert_eq!(rig.head().await, 1);
    let other = as_caller(&rig, &ward, "1", "c@example.com").await;
    assert_eq!(other.status, StatusCode::CREATED, "{}", other.body);
    assert_ne!(other.id(), id);

    // The result is the same after the patient was deleted.
    let deleted = Request::delete(format!("/patients/{id}")).header("authorization", &desk);
    let deleted = rig.send(deleted.body(Body::empty()).unwrap()).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    let again = as_caller(&rig, &desk, "1", "a@example.com").await;
    assert_eq!((again.status, again.id()), (StatusCode::CREATED, id.as_str()));
}

#[tokio::test]
async fn a_hundred_copies_at_once_make_one_patient() {
    let rig = Rig::new().await;
    let body = patient("a@example.com");
    let copies = (0..100).map(|_| with_key(&rig, "key", &body));
    let answers = at_once(copies).await;
    let first = with_key(&rig, "key", &body).await;
    assert_eq!(first.status, StatusCode::CREATED);
    for answer in &answers {
        if answer.status == StatusCode::CREATED {
            assert_eq!(answer.body, first.body);
        } else {
            assert_eq!(answer.body["type"], "/problems/request-in-progress");
        }
    }
    assert!(answers.iter().any(|answer| answer.status == StatusCode::CREATED));
    assert_eq!(rig.head().await, 1);
}

#[tokio::test]
async fn while_the_first_is_under_way_a_copy_is_refused_and_its_own_answer_waits() {
    let rig = Rig::new().await;
    let held = rig.hold_the_database().await;
    let body = patient("a@example.com");
    // The request that arrives first waits for the database.
    let one = Box::pin(with_key(&rig, "key", &body));
    let other = Box::pin(with_key(&rig, "key", &body));
    let (refused, first) = select(one, other).await.factor_first();
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert_eq!(refused.body["type"], "/problems/request-in-progress");
    assert_eq!(refused.header("retry-after"), "1");
    drop(held);
    let first = first.await;
    assert_eq!(first.status, StatusCode::CREATED);
    let again = with_key(&rig, "key", &body).await;
    assert_eq!((again.status, again.body), (first.status, first.body));
}

#[tokio::test]
async fn a_key_whose_registration_failed_can_be_used_again() {
    let rig = Rig::new().await;
    let taken = rig.register("a@example.com").await;
    let body = patient("a@example.com");
    assert_eq!(
        with_key(&rig, "key", &body).await.body["type"],
        "/problems/email-taken"
    );
    rig.delete(taken.id()).await;
    assert_eq!(with_key(&rig, "key", &body).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn an_email_is_taken_whatever_its_case_until_its_patient_is_deleted() {
    let rig = Rig::new().await;
    let first = rig.register("John@Example.com").await;
    let taken = rig.post("/register", &patient("jOHN@example.COM")).await;
    assert_eq!(taken.status, StatusCode::CONFLICT);
    assert_eq!(taken.body["type"], "/problems/email-taken");
    assert!(
        !taken.body.to_string().to_lowercase().contains("john"),
        "{}",
        taken.body
    );
    rig.delete(first.id()).await;
    rig.register("john@example.com").await;
}

#[tokio::test]
async fn deleting_twice_is_gone_and_deleting_nobody_is_not_found() {
    let rig = Rig::new().await;
    let created = rig.register("a@example.com").await;
    assert_eq!(rig.delete(created.id()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(rig.delete(created.id()).await.status, StatusCode::GONE);
    assert_eq!(
        rig.delete("0197f1a0-0000-7000-8000-000000000000").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn if_match_deletes_only_the_patient_that_was_read() {
    let rig = Rig::new().await;
    let created = rig.register("a@example.com").await;
    let delete = |tag: &str| {
        Request::delete(format!("/patients/{}", created.id()))
            .header("if-match", tag)
            .body(Body::empty())
            .unwrap()
    };
    let stale = rig.send(delete("\"7\"")).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(
        rig.send(delete("not a tag")).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        rig.send(delete(created.header("etag"))).await.status,
        StatusCode::NO_CONTENT
    );
}
