//! The pages about the API: what they are made of, and what the problems mean.

use axum::body::Body;
use axum::http::{Request, StatusCode};

use crate::rig::Rig;

async fn page(rig: &Rig, path: &str, accept: &str) -> (axum::http::response::Parts, String) {
    let request = Request::get(path).header("accept", accept);
    rig.text(request.body(Body::empty()).unwrap()).await
}

/// What an HTML page loads.
fn loaded(page: &str) -> Vec<String> {
    let parts = page.split(['"', ' ']);
    parts
        .filter(|part| part.contains("/assets/"))
        .map(|part| format!("/{part}"))
        .collect()
}

#[tokio::test]
async fn the_pages_load_only_what_is_served_here_and_have_no_scripts_inside() {
    let rig = Rig::new().await;
    for path in ["/docs", "/redoc"] {
        let (parts, html) = page(&rig, path, "text/html").await;
        assert_eq!(parts.headers["content-type"], "text/html; charset=utf-8");
        assert!(!html.contains("://"), "{path} names another server");
        assert!(
            !html.contains("<style") && html.matches("></script>").count() == html.matches("<script").count()
        );
        let policy = parts.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        let files = loaded(&html);
        assert!(files.len() >= 3, "{path}: {files:?}");
        for file in files {
            let (parts, text) = page(&rig, &file, "*/*").await;
            assert_eq!(parts.status, StatusCode::OK, "{file}");
            assert_eq!(parts.headers["x-content-type-options"], "nosniff");
            assert!(!text.is_empty(), "{file}");
        }
    }
    assert_eq!(rig.get("/docs/assets/passwd").await.status, StatusCode::NOT_FOUND);
    assert_eq!(rig.get("/docs/assets/%FF").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_type_of_a_problem_is_the_address_of_a_page_about_it() {
    let rig = Rig::new().await;
    let (_, list) = page(&rig, "/problems", "text/plain").await;
    let types: Vec<_> = list
        .split_whitespace()
        .filter(|word| word.starts_with("/problems/"))
        .collect();
    assert!(types.len() > 20, "{list}");
    let refused = rig.get("/patients?limit=0").await;
    assert!(types.contains(&refused.body["type"].as_str().unwrap()));
    for path in types {
        let (parts, html) = page(&rig, path, "text/html").await;
        assert_eq!(parts.status, StatusCode::OK, "{path}");
        assert!(
            html.contains(path) && html.starts_with("<!doctype html>"),
            "{path}"
        );
        let (parts, text) = page(&rig, path, "*/*").await;
        assert_eq!(parts.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(parts.headers["vary"], "accept");
        assert!(text.contains(path) && text.lines().count() > 4, "{path}");
    }
    assert_eq!(
        rig.get("/problems/no-such").await.body["type"],
        "/problems/not-found"
    );
}
