//! `PATCH /patients/{id}`.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::rig::{Answer, Rig, at_once, patient};

fn patch(id: &str, headers: &[(&str, &str)], body: &Value) -> Request<Body> {
    let request =
        Request::patch(format!("/patients/{id}")).header("content-type", "application/merge-patch+json");
    headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value))
        .body(Body::from(body.to_string()))
        .unwrap()
}

async fn amend(rig: &Rig, id: &str, body: &Value) -> Answer {
    rig.send(patch(id, &[], body)).await
}

async fn amend_with(rig: &Rig, id: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    rig.send(patch(id, headers, body)).await
}

fn is_problem(answer: &Answer, status: StatusCode, slug: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(
        answer.body["type"],
        format!("/problems/{slug}"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn an_amendment_changes_its_fields_and_is_read_everywhere() {
    Rig::on_each(async |rig| {
        let id = rig.register("john@example.com").await.id().to_owned();
        let amended = amend(&rig, &id, &json!({"name": " Jon  Doe ", "phone": "12 34"})).await;
        assert_eq!(amended.status, StatusCode::OK, "{}", amended.body);
        let expected = json!({
            "id": id, "name": "Jon  Doe", "email": "john@example.com", "phone": "12 34",
            "document_url": "https://example.com/photos/john.jpg",
        });
        assert_eq!(amended.body, expected);
        assert_eq!(
            (amended.header("etag"), amended.header("event-position")),
            ("\"2\"", "2")
        );
        // The row is behind the log, then up to date.
        for projected in [false, true] {
            if projected {
                rig.project().await;
            }
            let read = rig.get(&format!("/patients/{id}")).await;
            assert_eq!(
                (read.body, read.headers["etag"].to_str().unwrap()),
                (expected.clone(), "\"2\"")
            );
        }
        let listed = rig.get("/patients").await;
        assert_eq!(listed.body[0]["name"], "Jon  Doe");
        let history = rig.get(&format!("/patients/{id}/history")).await;
        let payload = json!({"type": "PatientAmended", "name": "Jon  Doe", "phone": "12 34"});
        assert_eq!(history.body[1]["payload"], payload, "{}", history.body);
        let changes = json!({
            "name": {"from": "John Doe", "to": "Jon  Doe"}, "phone": {"from": "+1234567890", "to": "12 34"},
        });
        assert_eq!(history.body[1]["changes"], changes, "{}", history.body);
        assert_eq!(history.body[0].get("changes"), None);
        let page = rig.get(&format!("/patients/{id}/history?after=1")).await;
        assert_eq!(
            page.body[0]["changes"], changes,
            "a page that begins after the registration"
        );
        let states = [(1, "John Doe"), (2, "Jon  Doe")];
        for (sequence, name) in states {
            let state = rig.get(&format!("/patients/{id}/history/{sequence}")).await;
            assert_eq!(state.body["name"], name, "{}", state.body);
        }
        assert_eq!(rig.delete(&id).await.status, StatusCode::NO_CONTENT);
        rig.project().await;
        assert_eq!(rig.get("/patients").await.body, json!([]));
        is_problem(
            &amend(&rig, &id, &json!({"name": "J"})).await,
            StatusCode::GONE,
            "patient-deleted",
        );
    })
    .await;
}

#[tokio::test]
async fn an_amendment_that_changes_nothing_records_nothing() {
    let rig = Rig::new().await;
    let id = rig.register("john@example.com").await.id().to_owned();
    let mut same = patient("john@example.com");
    same.as_object_mut().unwrap().remove("phone");
    let amended = amend(&rig, &id, &same).await;
    assert_eq!(amended.status, StatusCode::OK);
    assert_eq!(
        (amended.header("etag"), amended.header("event-position")),
        ("\"1\"", "1")
    );
    assert_eq!(rig.head().await, 1);
}

#[tokio::test]
async fn a_patch_without_a_change_or_with_a_wrong_member_is_refused() {
    let rig = Rig::new().await;
    let id = rig.register("john@example.com").await.id().to_owned();
    for (body, pointer) in [
        (json!({}), ""),
        (json!([]), ""),
        (json!({"name": null}), "/name"),
        (json!({"name": "Jon", "age": 3}), "/age"),
        (json!({"email": "nobody"}), "/email"),
        (json!({"id": id}), "/id"),
    ] {
        let refused = amend(&rig, &id, &body).await;
        is_problem(&refused, StatusCode::UNPROCESSABLE_ENTITY, "invalid-request");
        assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{}", refused.body);
    }
    let both = amend(&rig, &id, &json!({"name": "", "phone": 7})).await;
    assert_eq!(both.body["errors"].as_array().unwrap().len(), 2, "{}", both.body);
    let form = Request::patch(format!("/patients/{id}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from("name=Jon"))
        .unwrap();
    let form = rig.send(form).await;
    is_problem(
        &form,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported-media-type",
    );
    let plain = Request::patch(format!("/patients/{id}"))
        .header("content-type", "application/json; charset=utf-8")
        .body(Body::from(json!({"name": "Jon"}).to_string()))
        .unwrap();
    assert_eq!(rig.send(plain).await.status, StatusCode::OK);
    let unknown = "01a20c52-84f4-752b-9b94-14a23061549a";
    let unknown = amend(&rig, unknown, &json!({"name": "Jon"})).await;
    is_problem(&unknown, StatusCode::NOT_FOUND, "patient-not-found");
    assert_eq!(rig.head().await, 2);
}

#[tokio::test]
async fn if_match_is_honoured() {
    let rig = Rig::new().await;
    let id = rig.register("john@example.com").await.id().to_owned();
    let jon = json!({"name": "Jon"});
    let first = amend_with(&rig, &id, &[("if-match", "\"1\"")], &jon).await;
    assert_eq!((first.status, first.header("etag")), (StatusCode::OK, "\"2\""));
    let stale = amend_with(&rig, &id, &[("if-match", "\"1\"")], &json!({"name": "Joan"})).await;
    is_problem(&stale, StatusCode::PRECONDITION_FAILED, "precondition-failed");
    assert_eq!(stale.header("etag"), "\"2\"");
    let any = amend_with(&rig, &id, &[("if-match", "*")], &json!({"name": "Joan"})).await;
    assert_eq!((any.status, any.header("etag")), (StatusCode::OK, "\"3\""));
    let listed = amend_with(&rig, &id, &[("if-match", "\"1\", \"3\"")], &jon).await;
    assert_eq!((listed.status, listed.header("etag")), (StatusCode::OK, "\"4\""));
    for tag in ["W/\"4\"", "\"1\", \"3\"", "\"other\""] {
        let stale = amend_with(&rig, &id, &[("if-match", tag)], &json!({"name": "Joan"})).await;
        is_problem(&stale, StatusCode::PRECONDITION_FAILED, "precondition-failed");
        let delete = Request::delete(format!("/patients/{id}")).header("if-match", tag);
        let stale = rig.send(delete.body(Body::empty()).unwrap()).await;
        is_problem(&stale, StatusCode::PRECONDITION_FAILED, "precondition-failed");
    }
    let delete = Request::delete(format!("/patients/{id}")).header("if-match", "\"9\", \"4\"");
    let deleted = rig.send(delete.body(Body::empty()).unwrap()).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn the_claim_moves_with_the_email() {
    Rig::on_each(async |rig| {
        let john = rig.register("john@example.com").await.id().to_owned();
        let jane = rig.register("jane@example.com").await.id().to_owned();
        let email = |email: &str| json!({ "email": email });
        let taken = amend(&rig, &john, &email("JANE@example.com")).await;
        is_problem(&taken, StatusCode::CONFLICT, "email-taken");
        let moved = amend(&rig, &john, &email("jon@example.com")).await;
        assert_eq!(moved.status, StatusCode::OK, "{}", moved.body);
        // The old address is free, and the new address is taken.
        let again = rig.post("/register", &patient("jon@example.com")).await;
        is_problem(&again, StatusCode::CONFLICT, "email-taken");
        let third = rig.register("john@example.com").await.id().to_owned();
        let back = amend(&rig, &john, &email("john@example.com")).await;
        is_problem(&back, StatusCode::CONFLICT, "email-taken");
        rig.delete(&third).await;
        let back = amend(&rig, &john, &email("john@example.com")).await;
        assert_eq!(back.status, StatusCode::OK, "{}", back.body);
        // A change of case keeps the claim, and a deletion releases it.
        let shouted = amend(&rig, &jane, &email("Jane@Example.com")).await;
        assert_eq!(shouted.status, StatusCode::OK, "{}", shouted.body);
        rig.project().await;
        let found = rig.get("/patients?email=jane@example.com").await;
        assert_eq!(found.body[0]["id"], jane.as_str());
        for (free, id) in [("john@example.com", &john), ("jane@example.com", &jane)] {
            rig.delete(id).await;
            rig.register(free).await;
        }
    })
    .await;
}

#[tokio::test]
async fn simultaneous_amendments_are_each_decided_on_the_newest_state() {
    Rig::on_each(async |rig| {
        let id = rig.register("john@example.com").await.id().to_owned();
        let bodies = [
            json!({"name": "Jon"}),
            json!({"phone": "12"}),
            json!({"document_url": "https://example.com/other.jpg"}),
        ];
        let answers = at_once(bodies.iter().map(|body| amend(&rig, &id, body))).await;
        for answer in &answers {
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        }
        let read = rig.get(&format!("/patients/{id}")).await;
        let expected = json!({
            "id": id, "name": "Jon", "email": "john@example.com", "phone": "12",
            "document_url": "https://example.com/other.jpg",
        });
        assert_eq!((read.body, rig.head().await), (expected, 4));
        // If an amendment and a registration use the same free email, only one of them succeeds.
        let free = json!({"email": "free@example.com"});
        let body = patient("free@example.com");
        let (amended, registered) = tokio::join!(amend(&rig, &id, &free), rig.post("/register", &body));
        let statuses = [amended.status, registered.status];
        let conflicts = statuses
            .iter()
            .filter(|status| **status == StatusCode::CONFLICT)
            .count();
        assert_eq!(conflicts, 1, "{statuses:?}");
    })
    .await;
}

#[tokio::test]
async fn many_simultaneous_amendments_of_one_patient_all_succeed() {
    Rig::on_each(async |rig| {
        let id = rig.register("john@example.com").await.id().to_owned();
        let names: Vec<_> = (0..32)
            .map(|number| json!({"name": format!("Jon {number}")}))
            .collect();
        let amended = at_once(names.iter().map(|name| amend(&rig, &id, name))).await;
        // Amendments in another process conflict, and are decided again.
        let other = rig.another_api();
        let in_two = names
            .iter()
            .take(8)
            .flat_map(|name| [(&rig, name), (&other, name)]);
        let in_two = at_once(in_two.map(|(rig, name)| amend(rig, &id, name))).await;
        for answer in amended.iter().chain(&in_two) {
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        }
        assert!(rig.head().await > 33, "every name differs from the name before");
    })
    .await;
}

#[tokio::test]
async fn a_late_copy_gets_the_first_answer_and_undoes_nothing() {
    Rig::on_each(async |rig| {
        let id = rig.register("john@example.com").await.id().to_owned();
        let jon = json!({"name": "Jon", "phone": "+1234567890"});
        let keyed = [("idempotency-key", "k1"), ("if-match", "\"1\"")];
        let first = amend_with(&rig, &id, &keyed, &jon).await;
        assert_eq!((first.status, first.header("etag")), (StatusCode::OK, "\"2\""));
        let later = amend(&rig, &id, &json!({"name": "Joan"})).await;
        assert_eq!(later.header("etag"), "\"3\"");
        let copy = amend_with(&rig, &id, &keyed, &jon).await;
        assert_eq!((copy.status, &copy.body), (StatusCode::OK, &first.body));
        assert_eq!(
            (copy.header("etag"), copy.header("event-position")),
            ("\"2\"", "2")
        );
        assert_eq!(rig.head().await, 3);
        let other = amend_with(&rig, &id, &keyed, &json!({"name": "Jim"})).await;
        is_problem(&other, StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused");
        let elsewhere = [("idempotency-key", "k1"), ("if-match", "\"3\"")];
        let other = amend_with(&rig, &id, &elsewhere, &jon).await;
        is_problem(&other, StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused");
        for headers in [
            &[("idempotency-key", "k2")][..],
            &[("idempotency-key", "k2"), ("if-match", "*")],
            &[("idempotency-key", "k2"), ("if-match", "\"1\", \"3\"")],
        ] {
            let refused = amend_with(&rig, &id, headers, &jon).await;
            is_problem(&refused, StatusCode::UNPROCESSABLE_ENTITY, "invalid-request");
        }
        // For another patient, the same key belongs to another amendment.
        let jane = rig.register("jane@example.com").await.id().to_owned();
        assert_eq!(amend_with(&rig, &jane, &keyed, &jon).await.status, StatusCode::OK);
        rig.delete(&id).await;
        let copy = amend_with(&rig, &id, &keyed, &jon).await;
        assert_eq!((copy.status, copy.body), (StatusCode::OK, first.body));
    })
    .await;
}

#[tokio::test]
async fn simultaneous_copies_record_one_event() {
    Rig::on_each(async |rig| {
        let id = rig.register("john@example.com").await.id().to_owned();
        let (jon, keyed) = (
            json!({"name": "Jon"}),
            [("idempotency-key", "k"), ("if-match", "\"1\"")],
        );
        let answers = at_once((0..8).map(|_| amend_with(&rig, &id, &keyed, &jon))).await;
        for answer in &answers {
            assert_eq!(
                (answer.status, answer.header("etag")),
                (StatusCode::OK, "\"2\""),
                "{}",
                answer.body
            );
        }
        assert_eq!(rig.head().await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_repeated_registration_gets_its_first_answer_after_an_amendment() {
    let rig = Rig::new().await;
    let register = || {
        Request::post("/register")
            .header("content-type", "application/json")
            .header("idempotency-key", "k")
            .body(Body::from(patient("john@example.com").to_string()))
            .unwrap()
    };
    let first = rig.send(register()).await;
    let amended = amend(
        &rig,
        first.id(),
        &json!({"name": "Jon", "email": "jon@example.com"}),
    )
    .await;
    assert_eq!(amended.status, StatusCode::OK);
    let again = rig.send(register()).await;
    assert_eq!(
        (again.status, again.header("etag")),
        (StatusCode::CREATED, "\"1\"")
    );
    assert_eq!((again.body, rig.head().await), (first.body, 2));
}
