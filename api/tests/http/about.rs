//! Tests of the pages about the API: the files that they load, and the explanations of problems.

use axum::body::Body;
use axum::http::{Request, StatusCode};

use crate::rig::Rig;

async fn page(rig: &Rig, path: &str, accept: &str) -> (axum::http::response::Parts, String) {
    let request = Request::get(path).header("accept", accept);
    rig.text(request.body(Body::empty()).unwrap()).await
}

/// Returns the paths of the files that an HTML page loads.
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
async fn the_console_loads_only_what_is_served_here_and_has_no_scripts_inside() {
    let rig = Rig::new().await;
    let (parts, html) = page(&rig, "/console", "text/html").await;
    let policy = parts.headers["content-security-policy"].to_str().unwrap();
    for part in [
        "default-src 'none'; script-src 'self'; style-src 'self';",
        "; trusted-types 'none'; connect-src 'self'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(
        !policy.contains("unsafe") && policy.ends_with("connect-src 'self'"),
        "{policy}"
    );
    assert!(!html.contains("://") && !html.contains("<style"), "{html}");
    assert_eq!(
        html.matches("></script>").count(),
        html.matches("<script").count()
    );
    let files: Vec<_> = html
        .split('"')
        .filter(|part| part.starts_with("console/"))
        .collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let (parts, text) = page(&rig, &format!("/{file}"), "*/*").await;
        assert_eq!(parts.status, StatusCode::OK, "{file}");
        assert_eq!(parts.headers["x-content-type-options"], "nosniff");
        assert!(!text.is_empty(), "{file}");
    }
    assert_eq!(
        rig.get("/console/config.json").await.body["sign_in"],
        serde_json::Value::Null
    );
    for missing in ["/console/passwd", "/console/%FF", "/console/%2e%2e/Cargo.toml"] {
        assert_eq!(rig.get(missing).await.status, StatusCode::NOT_FOUND, "{missing}");
    }
    assert_eq!(rig.get("/console/").await.status, StatusCode::PERMANENT_REDIRECT);
}

#[tokio::test]
async fn the_pages_for_people_load_one_style_sheet_that_is_served_here() {
    let rig = Rig::new().await;
    for (path, root) in [("/", ""), ("/problems", ""), ("/problems/email-taken", "../")] {
        let (parts, html) = page(&rig, path, "text/html").await;
        let policy = parts.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("; style-src 'self';"), "{policy}");
        let link = format!("<link rel=\"stylesheet\" href=\"{root}console/base.css\">");
        assert!(html.contains(&link) && !html.contains("<style"), "{path}: {html}");
        assert!(
            !html.contains("<script") && !html.contains("://"),
            "{path}: {html}"
        );
    }
    let (parts, style) = page(&rig, "/console/base.css", "text/css").await;
    assert_eq!(parts.status, StatusCode::OK);
    assert_eq!(parts.headers["content-type"], "text/css; charset=utf-8");
    assert!(!style.contains("url(") && !style.contains("@import"), "{style}");
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
    let (_, html) = page(&rig, "/problems", "text/html").await;
    assert!(html.contains("href=\"problems/email-taken\""), "{html}");
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

#[tokio::test]
async fn the_first_page_leads_to_everything_that_is_there_to_look_at() {
    let rig = Rig::new().await;
    let (parts, html) = page(&rig, "/", "text/html").await;
    assert_eq!(parts.status, StatusCode::OK);
    assert_eq!(parts.headers["content-type"], "text/html; charset=utf-8");
    let policy = parts.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(
        html.contains("name=\"viewport\"") && html.contains("content=\"light dark\""),
        "{html}"
    );
    let (_, text) = page(&rig, "/", "text/plain").await;
    let json = Request::get("/").header("accept", "application/json");
    let json = rig.send(json.body(Body::empty()).unwrap()).await.body;
    let told: Vec<_> = json["links"]
        .as_array()
        .unwrap()
        .iter()
        .map(|link| link["href"].as_str().unwrap())
        .collect();
    let leads: Vec<_> = html
        .split("href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    for path in [
        "/console",
        "/README.md",
        "/README.es.md",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/problems",
        "/health/live",
        "/health/ready",
        "/metrics",
    ] {
        assert!(leads.contains(&&path[1..]), "{path}: {html}");
        assert!(text.lines().any(|line| line == path), "{path}: {text}");
        assert!(told.contains(&path), "{path}: {told:?}");
        assert_eq!(rig.get(path).await.status, StatusCode::OK, "{path}");
    }
    let (parts, introduction) = page(&rig, "/README.es.md", "*/*").await;
    assert_eq!(parts.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(introduction, include_str!("../../../README.es.md"));
    let head = Request::head("/").body(Body::empty()).unwrap();
    let (parts, body) = rig.text(head).await;
    assert_eq!((parts.status, body.as_str()), (StatusCode::OK, ""));
}
