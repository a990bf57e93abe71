//! Tests of paths with a trailing slash.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use web::HttpOptions;
use web::access::Access;

use crate::openapi::{document, filled, operations};
use crate::rig::{Answer, Rig, patient, post};

async fn ask(rig: &Rig, method: &str, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path);
    rig.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn every_path_with_a_slash_at_the_end_leads_to_the_one_without() {
    let rig = Rig::new().await;
    for (path, method, _) in operations(&document()) {
        if path == "/" {
            continue;
        }
        let path = filled(&path);
        for (asked, location) in [
            (format!("{path}/"), path.clone()),
            (format!("{path}//"), path.clone()),
            (
                format!("{path}/?limit=1&skip=2"),
                format!("{path}?limit=1&skip=2"),
            ),
            (
                format!("{path}/?next=//evil.example/"),
                format!("{path}?next=//evil.example/"),
            ),
        ] {
            let answer = ask(&rig, &method, &asked).await;
            assert_eq!(answer.status, StatusCode::PERMANENT_REDIRECT, "{method} {asked}");
            assert_eq!(answer.header("location"), location, "{method} {asked}");
            assert_eq!(answer.header("x-request-id").len(), 36);
        }
    }
    let head = ask(&rig, "HEAD", "/patients/").await;
    assert_eq!(
        (head.status, head.header("location")),
        (StatusCode::PERMANENT_REDIRECT, "/patients")
    );
}

#[tokio::test]
async fn a_registration_that_follows_the_redirect_is_made() {
    let rig = Rig::new().await;
    let body = patient("a@example.com").to_string();
    let redirect = rig.send(post("/register/", body.clone())).await;
    assert_eq!(redirect.status, StatusCode::PERMANENT_REDIRECT);
    assert_eq!(rig.head().await, 0, "not before");
    let created = rig.send(post(redirect.header("location"), body)).await;
    assert_eq!(created.status, StatusCode::CREATED);
}

#[tokio::test]
async fn where_there_is_nothing_without_the_slash_there_is_no_redirect_and_none_leads_elsewhere() {
    let rig = Rig::new().await;
    for path in [
        "/nothing/",
        "//",
        "///",
        "//evil.example/",
        "///evil.example//",
        "/\\evil.example/",
        "//evil.example/patients/",
        "/patients//evil.example/",
        "/.//evil.example/",
        "/patients/1/2/3/",
        "/docs/assets/",
        "/health/",
        "/register%2F",
        "/patients/1/history/1/2/",
        "/%2F/evil.example/",
        "/Patients/",
    ] {
        let answer = ask(&rig, "GET", path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.header("location"), "", "{path}");
        assert_eq!(answer.body["type"], "/problems/not-found", "{path}");
    }
    // The id in a path may be any text, and the redirect stays below the same path.
    let odd = ask(&rig, "GET", "/patients/\\evil.example/").await;
    assert_eq!(odd.header("location"), "/patients/\\evil.example");
}

#[tokio::test]
async fn under_a_proxys_path_the_redirect_stays_under_it() {
    let options = HttpOptions {
        public_url: Some("https://example.com/api".parse().unwrap()),
        ..HttpOptions::default()
    };
    let rig = Rig::with_options(Access::open(), options).await;
    let answer = ask(&rig, "GET", "/patients/?limit=1").await;
    assert_eq!(
        answer.header("location"),
        "https://example.com/api/patients?limit=1"
    );
}
