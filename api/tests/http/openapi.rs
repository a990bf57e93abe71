//! Tests that the OpenAPI document is complete and correct, and equals the committed document.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use eventstore::{Clock, Session, SystemClock};
use serde_json::{Value, json};
use web::HttpOptions;
use web::access::{Access, Tokens};

use crate::rig::Rig;

pub(crate) fn document() -> Value {
    serde_json::to_value(api::openapi()).unwrap()
}

/// Returns the operations of the document, each with its path and its method.
pub(crate) fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().unwrap();
        item.iter()
            .map(|(method, operation)| (path.clone(), method.to_uppercase(), operation.clone()))
    });
    operations.collect()
}

/// Returns the methods of each path.
pub(crate) fn methods() -> BTreeMap<String, BTreeSet<String>> {
    let mut methods = BTreeMap::<_, BTreeSet<_>>::new();
    for (path, method, _) in operations(&document()) {
        methods.entry(path).or_default().insert(method);
    }
    methods
}

#[test]
fn the_committed_document_is_what_the_program_says() {
    let committed = include_str!("../../../docs/openapi.json");
    let said = api::openapi().to_pretty_json().unwrap();
    assert!(
        committed.trim_end() == said,
        "docs/openapi.json is stale; write it anew: cargo run -- openapi > docs/openapi.json"
    );
}

#[tokio::test]
async fn the_router_takes_exactly_the_methods_that_the_document_names() {
    let rig = Rig::new().await;
    for (path, mut methods) in methods() {
        if methods.contains("GET") {
            methods.insert("HEAD".to_owned());
        }
        methods.insert("OPTIONS".to_owned());
        for (method, status) in [
            (Method::TRACE, StatusCode::METHOD_NOT_ALLOWED),
            (Method::OPTIONS, StatusCode::NO_CONTENT),
        ] {
            let request = Request::builder().method(method).uri(filled(&path));
            let answer = rig.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, status, "{path}");
            let taken: BTreeSet<_> = answer.header("allow").split(',').map(str::to_owned).collect();
            assert_eq!(taken, methods, "{path}");
        }
    }
}

pub(crate) fn filled(template: &str) -> String {
    template
        .replace("{id}", "00000000-0000-7000-8000-000000000000")
        .replace("{projection}", "patient_view")
        .replace(['{', '}'], "")
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_says_what_it_does() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let place = format!("{method} {path}");
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
            "{place}"
        );
        for text in ["summary", "description"] {
            assert!(!operation[text].as_str().unwrap().is_empty(), "{place}");
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(
                response["headers"]["X-Request-Id"].is_object(),
                "{place} {status}"
            );
            assert!(
                !response["description"].as_str().unwrap().is_empty(),
                "{place} {status}"
            );
        }
        let named: BTreeSet<_> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        let parameters = operation["parameters"].as_array().unwrap();
        let described: BTreeSet<_> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert_eq!(named, described, "{place}");
    }
}

fn collect_references(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(reference) if name == "$ref" => references.push(reference.clone()),
                    _ => collect_references(value, references),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, references)),
        _ => {}
    }
}

/// Adds a delivery, an attempt to send it, and a mailer.
async fn add_mail(rig: &Rig) {
    let now = SystemClock.now();
    let mut session = rig.log.database().writer().await.unwrap();
    for (sql, times) in [
        (
            "INSERT INTO mail_deliveries (position, template, aggregate_id, state, due_at, created_at, updated_at) \
             VALUES (1, 'patient_registered', 'a', 'pending', ?, ?, ?)",
            3,
        ),
        (
            "INSERT INTO mail_attempts (position, template, attempt, outcome, started_at, ended_at) \
             VALUES (1, 'patient_registered', 1, 'failed', ?, ?)",
            2,
        ),
        (
            "INSERT INTO mail_workers (owner, place, state, since, seen_at) VALUES ('a', 'mx:25', 'ready', ?, ?)",
            2,
        ),
    ] {
        session
            .query(sql)
            .bind_all(vec![now; times])
            .execute()
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn answers_have_the_members_that_their_schemas_name() {
    let rig = Rig::new().await;
    let created = rig.register("a@example.com").await;
    let path = format!("/patients/{}", created.id());
    rig.project().await;
    let rebuild = rig.post("/projections/patient_view/rebuild", &json!(null)).await;
    let at = format!("{path}?at=2999-01-01T00:00:00Z");
    let now = rig.get(&format!("{path}/history/1")).await.body;
    let now = now["recorded_at"].as_str().unwrap();
    let home = Request::get("/").header("accept", "application/json");
    let home = rig.send(home.body(Body::empty()).unwrap()).await.body;
    add_mail(&rig).await;
    let mail = rig.get("/mail").await.body;
    let deliveries = rig.get("/mail/deliveries/1").await.body;
    let tested = rig
        .post("/mail/test", &json!({"to": "ops@example.com"}))
        .await
        .body;
    for (schema, answer) in [
        ("MailStatus", &mail),
        ("Counts", &mail["mails"]),
        ("Mailer", &mail["mailers"][0]),
        ("Delivery", &rig.get("/mail/deliveries").await.body[0]),
        ("Shown", &deliveries),
        ("Attempt", &deliveries["attempts"][0]),
        ("MailTrial", &tested),
        ("TrialStep", &tested["steps"][0]),
        ("Patient", &created.body),
        ("ReadPatient", &rig.get(&path).await.body),
        ("ReadPatient", &rig.get(&format!("{path}?at={now}")).await.body),
        ("Home", &home),
        ("HomeLink", &home["links"][0]),
        ("ListedPatient", &rig.get("/patients").await.body[0]),
        ("Event", &rig.get("/events").await.body[0]),
        ("PastPatient", &rig.get(&format!("{path}/history/1")).await.body),
        ("Health", &rig.get("/health/ready").await.body),
        ("Overview", &rig.get("/projections").await.body),
        (
            "Subscription",
            &rig.get("/projections").await.body["subscriptions"][0],
        ),
        (
            "Projection",
            &rig.get("/projections").await.body["subscriptions"][0]["projection"],
        ),
        ("RecordedRead", &rig.get("/audit/reads").await.body[0]),
        ("Rebuild", &rebuild.body),
        ("Problem", &rig.get(&at).await.body),
        ("FieldProblem", &rig.get(&at).await.body["errors"][0]),
    ] {
        let schema_of = &document()["components"]["schemas"][schema];
        let has: BTreeSet<_> = answer.as_object().unwrap().keys().cloned().collect();
        let known: BTreeSet<_> = schema_of["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        let required = schema_of["required"].as_array().unwrap();
        assert!(has.is_subset(&known), "{schema}: {answer}");
        for member in required {
            assert!(
                has.contains(member.as_str().unwrap()),
                "{schema}: {member} in {answer}"
            );
        }
    }
}

fn without_security(document: &mut Value) {
    for item in document["paths"].as_object_mut().unwrap().values_mut() {
        for operation in item.as_object_mut().unwrap().values_mut() {
            operation.as_object_mut().unwrap().remove("security");
        }
    }
}

#[tokio::test]
async fn the_document_says_where_the_service_is_and_whether_it_asks_for_a_token() {
    let tokens = || Access::by(Tokens::default());
    let url = "https://example.com/api";
    let token = json!({"bearer": []});
    for (access, public_url, server, security) in [
        (Access::open(), None, "/", json!([])),
        (tokens(), None, "/", json!([token])),
        (Access::open(), Some(url), url, json!([])),
        (tokens(), Some("https://example.com/api/"), url, json!([token])),
    ] {
        let options = HttpOptions {
            public_url: public_url.map(|url| url.parse().unwrap()),
            ..HttpOptions::default()
        };
        let rig = Rig::with_options(access, options).await;
        let document = rig.get("/openapi.json").await.body;
        assert_eq!(document["servers"], json!([{"url": server}]));
        for (path, method, operation) in operations(&document) {
            let has_roles = operation["responses"].get("403").is_some();
            let expected = if has_roles { &security } else { &json!([]) };
            assert_eq!(&operation["security"], expected, "{method} {path}");
        }
    }
    // This document is not from a running server.
    assert_eq!(document()["servers"], json!([{"url": "/"}]));
    let register = &document()["paths"]["/register"]["post"]["security"];
    assert_eq!(*register, json!([{}, token]));
}

#[test]
fn every_answer_has_one_schema_that_is_no_choice_between_several() {
    let document = document();
    for (path, method, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let content = response["content"].as_object();
            for (media_type, content) in content.into_iter().flatten() {
                let place = format!("{method} {path} {status} {media_type}");
                let mut schema = &content["schema"];
                if let Some(reference) = schema["$ref"].as_str() {
                    schema = document.pointer(&reference[1..]).unwrap();
                }
                assert!(schema["type"].is_string(), "{place}: {schema}");
            }
        }
    }
}

#[tokio::test]
async fn the_document_is_served_compressed_and_only_when_it_has_changed() {
    let rig = Rig::new().await;
    let get = |headers: &[(&str, &str)]| {
        let mut request = Request::get("/openapi.json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        rig.respond(request.body(Body::empty()).unwrap())
    };
    let mut served = rig.get("/openapi.json").await.body;
    let mut printed = document();
    for document in [&mut served, &mut printed] {
        without_security(document);
    }
    assert_eq!(served, printed);
    let packed = get(&[("accept-encoding", "br, gzip")]).await;
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert_eq!(packed.headers()["vary"], "accept-encoding");
    let etag = packed.headers()["etag"].to_str().unwrap();
    let again = get(&[("accept-encoding", "gzip"), ("if-none-match", etag)]).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let other = get(&[("if-none-match", etag)]).await;
    assert_eq!(
        other.status(),
        StatusCode::OK,
        "the entity tag is of another form of it"
    );
    assert!(other.headers().get("content-encoding").is_none());
}
