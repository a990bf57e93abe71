//! Tests of the security headers of every response.

use axum::http::StatusCode;
use serde_json::json;
use web::HttpOptions;
use web::access::{Access, Tokens};

use crate::rig::{Answer, Rig};

fn assert_secure(answer: &Answer, what: &str) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        let values: Vec<_> = answer.headers.get_all(name).iter().collect();
        assert_eq!(values, [value], "{what}: {name}");
    }
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'"), "{what}: {policy}");
}

#[tokio::test]
async fn every_answer_says_what_a_browser_must_not_do_with_it() {
    let rig = Rig::new().await;
    let created = rig.register("a@example.com").await;
    rig.project().await;
    let id = created.id();
    let deleted = Rig::new()
        .await
        .delete("00000000-0000-7000-8000-000000000000")
        .await;
    let stranger = Rig::with(Access::by(Tokens::default()))
        .await
        .get("/patients")
        .await;
    for (answer, status, what) in [
        (rig.get(&format!("/patients/{id}")).await, 200, "a patient"),
        (rig.get("/patients").await, 200, "the list"),
        (
            rig.get(&format!("/patients/{id}/history")).await,
            200,
            "a history",
        ),
        (rig.get("/events").await, 200, "the feed"),
        (rig.get("/patients/none").await, 404, "nobody"),
        (rig.get("/nothing").await, 404, "nothing"),
        (rig.get("/health/ready").await, 200, "health"),
        (rig.post("/health/ready", &json!({})).await, 405, "another method"),
        (rig.post("/register", &json!({})).await, 422, "bad fields"),
        (created, 201, "a registration"),
        (deleted, 404, "a deletion"),
        (stranger, 401, "a stranger"),
    ] {
        assert_eq!(answer.status.as_u16(), status, "{what}");
        assert_secure(&answer, what);
        assert_eq!(answer.header("cache-control"), "no-store", "{what}");
        assert_eq!(
            answer.header("content-security-policy"),
            "default-src 'none'; frame-ancestors 'none'",
            "{what}"
        );
        assert_eq!(answer.header("strict-transport-security"), "", "{what}");
    }
}

#[tokio::test]
async fn pages_and_files_have_their_own_policy_and_may_be_kept() {
    let rig = Rig::new().await;
    for (path, kept) in [
        ("/docs", "no-cache"),
        ("/redoc", "no-cache"),
        ("/docs/assets/docs.js", "no-cache"),
        ("/problems", "max-age=3600"),
    ] {
        let answer = rig.get(path).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_secure(&answer, path);
        assert_eq!(answer.header("cache-control"), kept, "{path}");
    }
    let policy = rig.get("/docs").await;
    assert!(
        policy
            .header("content-security-policy")
            .contains("script-src 'self'")
    );
}

#[tokio::test]
async fn over_tls_browsers_are_told_to_come_back_over_tls() {
    let options = HttpOptions {
        over_tls: true,
        ..HttpOptions::default()
    };
    let rig = Rig::with_options(Access::open(), options).await;
    for path in ["/patients", "/nothing"] {
        let answer = rig.get(path).await;
        assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
    }
}
