//! Tests of query parameters: those that a route supports, and all others.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use web::HttpOptions;
use web::access::Access;

use crate::openapi::{document, filled, operations};
use crate::rig::{Answer, Rig};

async fn ask(rig: &Rig, method: &str, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", "application/json");
    let (parts, body) = rig
        .respond(request.body(Body::empty()).unwrap())
        .await
        .into_parts();
    // The body of an accepted event stream has no end.
    let body = if parts.status == StatusCode::OK {
        Value::Null
    } else {
        let bytes = axum::body::to_bytes(body, 1_000_000).await.unwrap();
        serde_json::from_slice(&bytes).unwrap_or_default()
    };
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

/// Returns the parameters that a response reports as unknown.
fn unknown(answer: &Answer) -> BTreeSet<&str> {
    let errors = answer.body["errors"].as_array();
    let errors = errors.into_iter().flatten();
    errors
        .filter(|error| error["message"] == "is not a parameter of this request")
        .map(|error| error["field"].as_str().unwrap())
        .collect()
}

/// Returns the query parameters of each operation.
fn parameters(document: &Value) -> BTreeMap<(String, String), BTreeSet<String>> {
    let operations = operations(document).into_iter();
    operations
        .map(|(path, method, operation)| {
            let parameters = operation["parameters"].as_array().unwrap().iter();
            let names = parameters
                .filter(|parameter| parameter["in"] == "query")
                .map(|parameter| parameter["name"].as_str().unwrap().to_owned());
            ((path, method), names.collect())
        })
        .collect()
}

#[tokio::test]
async fn a_parameter_that_a_route_does_not_have_is_refused_by_its_name_and_no_other() {
    let rig = Rig::with_options(
        Access::open(),
        HttpOptions {
            rate_limit: None,
            ..HttpOptions::default()
        },
    )
    .await;
    let parameters = parameters(&document());
    let mut all: BTreeSet<&str> = parameters.values().flatten().map(String::as_str).collect();
    all.extend(["skip", "offset", "page", "size", "Limit", "after_id"]);
    let mut ignoring = BTreeSet::new();
    for ((path, method), known) in &parameters {
        let mut methods = vec![method.as_str()];
        methods.extend((method == "GET").then_some("HEAD"));
        for name in &all {
            let filled = format!("{}?{name}=", filled(path));
            for method in &methods {
                let answer = ask(&rig, method, &filled).await;
                if *method == "HEAD" {
                    // The response has no body to check.
                    continue;
                }
                let refused = unknown(&answer);
                if answer.status == StatusCode::UNPROCESSABLE_ENTITY && !refused.is_empty() {
                    assert!(!known.contains(*name), "{method} {filled}");
                    assert_eq!(refused, BTreeSet::from([*name]), "{method} {filled}");
                } else if !known.contains(*name) {
                    ignoring.insert(path.as_str());
                }
            }
        }
    }
    let expected = [
        "/",
        "/README.es.md",
        "/README.md",
        "/console",
        "/console/config.json",
        "/console/{file}",
        "/docs",
        "/docs/assets/{file}",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/openapi.json",
        "/problems",
        "/problems/{slug}",
        "/redoc",
    ];
    assert_eq!(
        ignoring,
        BTreeSet::from(expected),
        "the routes that ignore parameters"
    );
}

#[tokio::test]
async fn nothing_is_done_by_a_request_with_a_parameter_too_many() {
    let rig = Rig::new().await;
    let created = rig.register("a@example.com").await;
    let path = format!("/patients/{}", created.id());
    let body = crate::rig::patient("b@example.com");
    for route in ["/register", "/patients/register", "/patients"] {
        let refused = rig.post(&format!("{route}?dry_run=true"), &body).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(
            refused.body["errors"],
            json!([{"field": "dry_run", "message": "is not a parameter of this request"}])
        );
    }
    let refused = ask(&rig, "DELETE", &format!("{path}?force")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let refused = ask(&rig, "POST", "/projections/patient_view/rebuild?now=1").await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(rig.head().await, 1);
    assert_eq!(rig.get(&path).await.status, StatusCode::OK);
    assert_eq!(
        rig.get(&format!("{path}?")).await.status,
        StatusCode::OK,
        "an empty query"
    );
    for query in [
        "?skip=100",
        "?offset=0&limit=2",
        "?page=2",
        "?limit=1&limit=1",
        "?name=a&NAME=b",
    ] {
        for method in ["GET", "HEAD"] {
            let refused = ask(&rig, method, &format!("/getPatients{query}")).await;
            assert_eq!(
                refused.status,
                StatusCode::UNPROCESSABLE_ENTITY,
                "{method} {query}"
            );
        }
    }
    let refused = rig.get("/patients?limit=0&skip=1").await;
    let fields: Vec<_> = refused.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| &error["field"])
        .collect();
    assert_eq!(fields, ["limit", "skip"], "all at once");
}

#[tokio::test]
async fn other_refusals_come_first_and_options_have_no_parameters_to_refuse() {
    let rig = Rig::with(Access::by(web::access::Tokens::default())).await;
    for (method, path, status) in [
        ("GET", "/patients?skip=1", StatusCode::UNAUTHORIZED),
        ("DELETE", "/patients/1?force=1", StatusCode::UNAUTHORIZED),
        ("GET", "/nothing?skip=1", StatusCode::NOT_FOUND),
        ("PUT", "/patients?skip=1", StatusCode::METHOD_NOT_ALLOWED),
        ("OPTIONS", "/patients?skip=1", StatusCode::NO_CONTENT),
    ] {
        assert_eq!(ask(&rig, method, path).await.status, status, "{method} {path}");
    }
}
