//! Tests of the history and the past states of a patient.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::rig::{Rig, patient};

const NOBODY: &str = "0197f1a0-0000-7000-8000-000000000000";

/// Registers and deletes a patient, with one event of another patient before and one in between. Returns the
/// patient's id and history.
async fn deleted(rig: &Rig) -> (String, Vec<Value>) {
    rig.register("before@example.com").await;
    let id = rig.register("a@example.com").await.id().to_owned();
    rig.register("between@example.com").await;
    rig.delete(&id).await;
    let history = rig.get(&format!("/patients/{id}/history")).await;
    assert_eq!(history.status, StatusCode::OK, "{}", history.body);
    assert_eq!(history.header("cache-control"), "no-store");
    (id, history.body.as_array().unwrap().clone())
}

/// Returns the time at which an event was recorded, moved by `micros`.
fn moved(event: &Value, micros: i64) -> String {
    let recorded: eventstore::Timestamp = event["recorded_at"].as_str().unwrap().parse().unwrap();
    eventstore::Timestamp::from_micros(recorded.as_micros() + micros).to_string()
}

#[tokio::test]
async fn a_history_has_every_event_with_all_that_is_recorded_of_it() {
    Rig::on_each(async |rig| {
        let (id, history) = deleted(&rig).await;
        let told: Vec<_> = history
            .iter()
            .map(|event| {
                json!([
                    event["position"],
                    event["sequence"],
                    event["event_type"],
                    event["event_version"],
                    event["aggregate_type"],
                    event["aggregate_id"]
                ])
            })
            .collect();
        assert_eq!(
            told,
            [
                json!([2, 1, "PatientRegistered", "1.0", "patient", id]),
                json!([4, 2, "PatientDeleted", "1.0", "patient", id]),
            ]
        );
        let mut payload = patient("a@example.com");
        payload["type"] = json!("PatientRegistered");
        assert_eq!(history[0]["payload"], payload);
        assert_eq!(history[0]["metadata"]["actor"], "anonymous");
        for (event, recorded) in history.iter().zip([2, 4]) {
            let hash = event["hash"].as_str().unwrap();
            assert!(
                hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit()),
                "{hash}"
            );
            let before = eventstore::Position::new(recorded - 1).unwrap();
            let at = &rig.log.feed(before, 1).await.unwrap()[0];
            assert_eq!(*event, serde_json::to_value(at).unwrap());
        }
    })
    .await;
}

#[tokio::test]
async fn a_history_is_paged_by_its_links() {
    let rig = Rig::new().await;
    let (id, history) = deleted(&rig).await;
    let first = rig.get(&format!("/patients/{id}/history?limit=1")).await;
    assert_eq!(first.body, json!([history[0]]));
    let second = rig.get(&first.link("next").unwrap()).await;
    assert_eq!(second.body, json!([history[1]]));
    assert_eq!(second.link("next"), None);
    assert_eq!(rig.get(&second.link("first").unwrap()).await.body, first.body);
    // The page after the last event is empty. The response differs from the response for an unknown patient.
    let after = rig.get(&format!("/patients/{id}/history?after=2")).await;
    assert_eq!((after.status, after.body), (StatusCode::OK, json!([])));
}

#[tokio::test]
async fn the_state_after_an_event_is_told_also_of_who_was_deleted_since() {
    Rig::on_each(async |rig| {
        let (id, history) = deleted(&rig).await;
        let registered = rig.get(&format!("/patients/{id}/history/1")).await;
        let mut expected = patient("a@example.com");
        expected["id"] = json!(id);
        expected["state"] = json!("active");
        for field in ["sequence", "position", "recorded_at"] {
            expected[field] = history[0][field].clone();
        }
        assert_eq!((registered.status, registered.body), (StatusCode::OK, expected));
        let gone = rig.get(&format!("/patients/{id}/history/2")).await;
        assert_eq!(
            (gone.status, gone.body),
            (
                StatusCode::OK,
                json!({
                    "id": id, "state": "deleted", "sequence": 2, "position": 4,
                    "recorded_at": history[1]["recorded_at"],
                })
            )
        );
    })
    .await;
}

#[tokio::test]
async fn the_state_at_a_moment_counts_what_was_recorded_by_then() {
    Rig::on_each(async |rig| {
        let (id, history) = deleted(&rig).await;
        let at = async |moment: String| {
            let answer = rig.get(&format!("/patients/{id}?at={moment}")).await;
            (answer.status, answer.body)
        };
        let early = at(moved(&history[0], -1)).await;
        assert_eq!(early.0, StatusCode::NOT_FOUND);
        assert_eq!(early.1["type"], "/problems/not-registered-yet");
        for (moment, state) in [
            (moved(&history[0], 0), "active"),
            (moved(&history[1], -1), "active"),
            (moved(&history[1], 0), "deleted"),
        ] {
            let (status, body) = at(moment.clone()).await;
            assert_eq!(
                (status, &body["state"]),
                (StatusCode::OK, &json!(state)),
                "{moment}"
            );
            assert_eq!(body.get("email").is_some(), state == "active");
        }
        let (status, body) = at("2999-01-01T00:00:00Z".into()).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(body["errors"][0]["field"], "at");
        // Without `at`, the response is the current state.
        let now = rig.get(&format!("/patients/{id}")).await;
        assert_eq!(now.status, StatusCode::GONE);
    })
    .await;
}

#[tokio::test]
async fn who_and_what_never_was_is_not_found_and_what_cannot_be_meant_is_refused() {
    let rig = Rig::new().await;
    let (id, _) = deleted(&rig).await;
    for (path, status, kind) in [
        (format!("/patients/{NOBODY}/history"), 404, "patient-not-found"),
        (
            format!("/patients/{NOBODY}/history?after=1"),
            404,
            "patient-not-found",
        ),
        (format!("/patients/{NOBODY}/history/1"), 404, "patient-not-found"),
        (
            format!("/patients/{NOBODY}?at=2026-01-01T00:00:00Z"),
            404,
            "patient-not-found",
        ),
        ("/patients/1/history".into(), 404, "patient-not-found"),
        ("/patients/1/history/1".into(), 404, "patient-not-found"),
        (format!("/patients/{id}/history/0"), 404, "sequence-not-found"),
        (format!("/patients/{id}/history/3"), 404, "sequence-not-found"),
        (format!("/patients/{id}/history/x"), 404, "sequence-not-found"),
        (format!("/patients/{id}/history/%FF"), 404, "not-found"),
        (
            format!("/patients/{id}/history/99999999999999999999"),
            404,
            "sequence-not-found",
        ),
        (
            format!("/patients/{id}/history?limit=1001"),
            422,
            "invalid-request",
        ),
        (format!("/patients/{id}/history?after=x"), 422, "invalid-request"),
        (format!("/patients/{id}?at=yesterday"), 422, "invalid-request"),
        (format!("/patients/{id}?at=2026-01-01"), 422, "invalid-request"),
        (
            format!("/patients/{id}?at=2026-01-01T00:00:00Z&at=2026-01-02T00:00:00Z"),
            422,
            "invalid-request",
        ),
    ] {
        let answer = rig.get(&path).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["type"]),
            (status, &json!(format!("/problems/{kind}"))),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_history_that_was_tampered_with_is_not_told_as_if_it_were_whole() {
    let rig = Rig::new().await;
    let (id, _) = deleted(&rig).await;
    rig.execute("DELETE FROM events WHERE position = 2").await;
    for path in [
        format!("/patients/{id}/history"),
        format!("/patients/{id}/history/2"),
    ] {
        let answer = rig.get(&path).await;
        assert_eq!(answer.body["type"], "/problems/log-damaged", "{path}");
    }
}

#[tokio::test]
async fn a_patient_registered_by_a_clock_that_was_ahead_is_there_from_when_the_time_was_right_again() {
    Rig::on_each(async |rig| {
        let id = rig.register("a@example.com").await.id().to_owned();
        let other = rig.register("b@example.com").await.id().to_owned();
        let history = rig.get(&format!("/patients/{other}/history")).await;
        let right = &history.body[0];
        rig.execute("UPDATE events SET recorded_at = 4102444800000000 WHERE position = 1")
            .await;
        let at = async |moment: &str| rig.get(&format!("/patients/{id}?at={moment}")).await;
        let found = at(&moved(right, 0)).await;
        assert_eq!(
            (found.status, &found.body["state"]),
            (StatusCode::OK, &json!("active"))
        );
        assert_eq!(
            at(&moved(right, -1)).await.body["type"],
            "/problems/not-registered-yet"
        );
        assert_eq!(
            at("2090-01-01T00:00:00Z").await.status,
            StatusCode::UNPROCESSABLE_ENTITY
        );
    })
    .await;
}
