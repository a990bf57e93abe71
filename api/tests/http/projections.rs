//! Tests of the routes below `/projections`.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::rig::{Answer, Rig, patient};

const REBUILD: &str = "/projections/patient_view/rebuild";

impl Rig {
    async fn ask(&self, method: &str, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Returns the status of `patient_view`.
    async fn view(&self) -> Value {
        let all = self.get("/projections").await.body;
        let mut all = all["subscriptions"].as_array().unwrap().iter();
        let view = all.find(|one| one["name"] == "patient_view");
        view.unwrap().clone()
    }
}

#[tokio::test]
async fn every_subscription_is_shown_with_what_it_has_not_finished() {
    let rig = Rig::new().await;
    for email in ["a@example.com", "b@example.com"] {
        rig.post("/register", &patient(email)).await;
    }
    let shown = async || rig.view().await;
    let behind = shown().await;
    assert_eq!(
        (
            &behind["name"],
            &behind["position"],
            &behind["head"],
            &behind["lag_events"]
        ),
        (&json!("patient_view"), &json!(0), &json!(2), &json!(2))
    );
    assert!(behind["lag_seconds"].is_f64() && behind["owner"].is_null() && behind["failure"].is_null());
    let projection = json!({ "active_generation": 1, "rebuild": null, "skips": [] });
    assert_eq!(behind["projection"], projection);
    rig.project().await;
    let done = shown().await;
    assert_eq!(
        (&done["lag_events"], &done["lag_seconds"]),
        (&json!(0), &json!(0.0))
    );
}

#[tokio::test]
async fn a_rebuild_is_asked_for_watched_and_called_off() {
    let rig = Rig::new().await;
    rig.post("/register", &patient("a@example.com")).await;
    let accepted = rig.ask("POST", REBUILD).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    let location = accepted.header("location").to_owned();
    assert_eq!(location, "/projections/patient_view/rebuilds/2");
    let shown = rig.get(&location).await;
    assert_eq!(shown.status, StatusCode::OK);
    assert_eq!(shown.body, accepted.body);
    let expected = json!({
        "projection": "patient_view", "generation": 2, "state": "filling", "runner": "projector", "replaced": null,
        "position": 0, "head": 1, "owner": null, "failure": null, "requested_by": "anonymous",
        "requested_at": accepted.body["requested_at"], "finished_at": null,
    });
    assert_eq!(shown.body, expected);
    assert_eq!(rig.view().await["projection"]["rebuild"], expected);
    // Until a projector starts the rebuild, another request returns the same rebuild.
    let again = rig.ask("POST", REBUILD).await;
    assert_eq!(
        (again.status, again.header("location")),
        (StatusCode::ACCEPTED, location.as_str())
    );

    let cancelled = rig.ask("DELETE", &location).await;
    assert_eq!(cancelled.status, StatusCode::ACCEPTED);
    assert_eq!(cancelled.body["state"], "cancelling");
    assert_eq!(rig.get(&location).await.body["state"], "cancelling");
    let refused = rig.ask("POST", REBUILD).await;
    assert_eq!(
        (refused.status, refused.header("location")),
        (StatusCode::CONFLICT, location.as_str())
    );
    assert_eq!(refused.body["type"], "/problems/rebuild-under-way");
}

#[tokio::test]
async fn what_is_no_projection_and_no_rebuild_is_not_found_and_what_is_over_cannot_be_called_off() {
    let rig = Rig::new().await;
    for (method, path, kind) in [
        ("POST", "/projections/nothing/rebuild", "projection-not-found"),
        ("GET", "/projections/patient_view/rebuilds/2", "rebuild-not-found"),
        (
            "DELETE",
            "/projections/patient_view/rebuilds/2",
            "rebuild-not-found",
        ),
        ("GET", "/projections/patient_view/rebuilds/x", "rebuild-not-found"),
        (
            "GET",
            "/projections/patient_view/rebuilds/99999999999999999999",
            "rebuild-not-found",
        ),
    ] {
        let answer = rig.ask(method, path).await;
        let expected = Value::from(format!("/problems/{kind}"));
        assert_eq!(
            (answer.status, &answer.body["type"]),
            (StatusCode::NOT_FOUND, &expected),
            "{path}"
        );
    }
    rig.ask("POST", REBUILD).await;
    rig.execute("UPDATE projection_rebuilds SET state = 'done', unfinished = NULL")
        .await;
    let late = rig.ask("DELETE", "/projections/patient_view/rebuilds/2").await;
    assert_eq!(late.status, StatusCode::CONFLICT);
    assert_eq!(late.body["type"], "/problems/rebuild-too-far");
}

#[tokio::test]
async fn readiness_tells_of_a_projection_that_has_stopped() {
    let rig = Rig::new().await;
    assert_eq!(rig.get("/health/ready").await.body["read_table"], "kept");
    rig.execute(
        "INSERT INTO subscription_failures VALUES ('patient_view', 7, 'unknown event type', 1, 1, 1, 1)",
    )
    .await;
    let told = rig.get("/health/ready").await;
    assert_eq!(
        (told.status, &told.body["read_table"]),
        (StatusCode::OK, &json!("stopped"))
    );
}
