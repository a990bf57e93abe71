//! Tests of the routes below `/projections`.

use axum::body::{Body, to_bytes};
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

/// Returns the lines of a verification of a projection.
async fn verification(rig: &Rig, projection: &str) -> Vec<Value> {
    let path = format!("/projections/{projection}/verify");
    let request = Request::post(path).body(Body::empty()).unwrap();
    let answer = rig.respond(request).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    let lines = body.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n');
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[tokio::test]
async fn a_verification_finds_the_rows_that_differ_from_the_log() {
    Rig::on_each(async |rig| {
        for email in ["a@example.com", "b@example.com"] {
            rig.register(email).await;
        }
        rig.project().await;
        for projection in ["patient_view", "patient_names"] {
            let lines = verification(&rig, projection).await;
            let (last, before) = lines.split_last().unwrap();
            assert!(
                before.iter().all(|line| line["state"] == "comparing"),
                "{lines:?}"
            );
            let summary =
                ["state", "projection", "same", "position", "differing", "first"].map(|name| &last[name]);
            let expected = [
                json!("finished"),
                json!(projection),
                json!(true),
                json!(2),
                json!(0),
                json!([]),
            ];
            assert_eq!(summary, expected.each_ref(), "{last}");
            assert_eq!(last["table"], last["replay"]);
        }
        rig.execute("UPDATE patient_view SET phone = 'x' WHERE email = 'a@example.com'")
            .await;
        let lines = verification(&rig, "patient_view").await;
        let last = lines.last().unwrap();
        assert_eq!((&last["same"], &last["differing"]), (&json!(false), &json!(1)));
        assert_eq!(last["first"][0]["what"], "different");
        assert!(!last.to_string().contains("example.com"), "{last}");

        // The events of the second patient become unreadable.
        rig.execute("UPDATE events SET event_type = 'PatientMoved' WHERE position = 2")
            .await;
        let lines = verification(&rig, "patient_view").await;
        let last = lines.last().unwrap();
        assert_eq!(
            (&last["state"], &last["projection"]),
            (&json!("failed"), &json!("patient_view"))
        );
        assert_eq!(last["problem"]["type"], "/problems/patient-unreadable");
    })
    .await;
    let rig = Rig::new().await;
    let unknown = rig.ask("POST", "/projections/nothing/verify").await;
    assert_eq!(unknown.body["type"], "/problems/projection-not-found");
}

async fn skip(rig: &Rig, path: &str, body: &Value) -> Answer {
    let request = Request::put(format!("/projections/{path}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()));
    rig.send(request.unwrap()).await
}

#[tokio::test]
async fn only_the_event_at_which_a_projection_has_stopped_is_skipped_and_only_with_a_reason() {
    Rig::on_each(async |rig| {
        let reason = json!({ "reason": " written by a test " });
        let early = skip(&rig, "patient_view/skips/7", &reason).await;
        assert_eq!(
            (early.status, &early.body["type"]),
            (StatusCode::CONFLICT, &json!("/problems/not-stopped-there"))
        );
        rig.execute(
            "INSERT INTO subscription_failures VALUES ('patient_view', 7, 'unknown event type', 1, 1, 1, 1)",
        )
        .await;
        for path in ["x", "0", "-7", "99999999999999999999"] {
            let refused = skip(&rig, &format!("patient_view/skips/{path}"), &reason).await;
            assert_eq!(refused.body["errors"][0]["field"], "position", "{path}");
        }
        let elsewhere = skip(&rig, "patient_view/skips/6", &reason).await;
        assert!(elsewhere.body["detail"].as_str().unwrap().contains("position 7"));
        // The other projection has not stopped.
        let other = skip(&rig, "patient_names/skips/7", &reason).await;
        assert_eq!(other.status, StatusCode::CONFLICT);
        let unknown = skip(&rig, "nothing/skips/7", &reason).await;
        assert_eq!(unknown.body["type"], "/problems/projection-not-found");
        for body in [
            json!({}),
            json!({ "reason": "  " }),
            json!({ "reason": "x".repeat(501) }),
            json!({ "reason": 7 }),
            json!({ "reason": "x", "force": true }),
        ] {
            let refused = skip(&rig, "patient_view/skips/7", &body).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        }
        assert_eq!(rig.view().await["projection"]["skips"], json!([]));

        let skipped = skip(&rig, "patient_view/skips/7", &reason).await;
        assert_eq!(skipped.status, StatusCode::OK, "{}", skipped.body);
        assert_eq!(skipped.body["reason"], "written by a test");
        assert_eq!(skipped.body["skipped_by"], "anonymous");
        // The first record stands.
        let again = skip(&rig, "patient_view/skips/7", &json!({ "reason": "another" })).await;
        assert_eq!((again.status, &again.body), (StatusCode::OK, &skipped.body));
        assert_eq!(rig.view().await["projection"]["skips"], json!([skipped.body]));
    })
    .await;
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
