//! Retries, conflicts, preconditions.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures::future::select;
use serde_json::Value;

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
    // Whichever of them comes first waits for the database.
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
