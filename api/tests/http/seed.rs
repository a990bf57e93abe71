//! Tests of the behavior that clients of the replaced service rely on.

use axum::http::StatusCode;
use serde_json::json;

use crate::rig::{Rig, patient};

#[tokio::test]
async fn the_sample_payload_goes_in_and_the_same_five_fields_come_out() {
    let rig = Rig::new().await;
    let sample = patient("john@example.com");
    let created = rig.post("/register", &sample).await;
    assert_eq!(created.status, StatusCode::CREATED);
    assert_eq!(created.header("location"), format!("/patients/{}", created.id()));
    assert_eq!(created.header("event-position"), "1");
    assert_eq!(created.header("content-type"), "application/json");
    let mut expected = sample.clone();
    expected["id"] = json!(created.id());
    assert_eq!(created.body, expected);

    let read = rig.get(&format!("/patients/{}", created.id())).await;
    assert_eq!((read.status, &read.body), (StatusCode::OK, &expected));
    assert_eq!(read.header("etag"), "\"1\"");

    rig.project().await;
    let listed = rig.get("/getPatients").await;
    assert_eq!(
        (listed.status, listed.body),
        (
            StatusCode::OK,
            json!([{"id": created.id(), "name": "John Doe", "email": "john@example.com"}])
        )
    );
    assert_eq!(
        rig.get(&format!("/patients/{}", created.id())).await.body,
        expected
    );

    let deleted = rig.delete(created.id()).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    assert_eq!(deleted.header("event-position"), "2");
    assert_eq!(
        rig.get(&format!("/patients/{}", created.id())).await.status,
        StatusCode::GONE
    );
    rig.project().await;
    assert_eq!(rig.get("/getPatients").await.body, json!([]));
    assert_eq!(
        rig.get(&format!("/patients/{}", created.id())).await.status,
        StatusCode::GONE
    );
}

#[tokio::test]
async fn every_path_of_the_seed_and_the_plain_ones_register_and_list() {
    let rig = Rig::new().await;
    for (path, email) in [
        ("/register", "a@example.com"),
        ("/patients/register", "b@example.com"),
        ("/patients", "c@example.com"),
    ] {
        assert_eq!(
            rig.post(path, &patient(email)).await.status,
            StatusCode::CREATED,
            "{path}"
        );
    }
    rig.project().await;
    for path in ["/getPatients", "/patients"] {
        assert_eq!(rig.get(path).await.body.as_array().unwrap().len(), 3, "{path}");
    }
}
