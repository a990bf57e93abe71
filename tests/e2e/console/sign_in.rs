//! Signing in at an issuer of JWTs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::{fs, mem};

use axum::extract::{Form, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use testkit::{Signer, free_port};
use tokio::net::TcpListener;

use super::pages::problems;
use super::{Service, Tab, axe, command, log_key};

/// An issuer that rejects the first request, and then authenticates everybody. Like many issuers, it
/// separates its window from the window that has opened it.
#[derive(Clone)]
struct Issuer {
    url: String,
    signer: Arc<Signer>,
    /// The challenge of the last request.
    challenge: Arc<Mutex<String>>,
    /// The parameter `prompt` of each request.
    prompts: Arc<Mutex<Vec<Option<String>>>>,
    /// The roles in the next token.
    roles: Arc<Mutex<Vec<&'static str>>>,
}

/// Allows the page of any origin to read a response.
fn readable(body: Value) -> Response {
    ([(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")], Json(body)).into_response()
}

async fn metadata(State(issuer): State<Issuer>) -> Response {
    let url = &issuer.url;
    readable(json!({
        "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
    }))
}

async fn authorize(State(issuer): State<Issuer>, Query(asked): Query<HashMap<String, String>>) -> Response {
    assert_eq!(asked["code_challenge_method"], "S256");
    assert_eq!(
        (asked["client_id"].as_str(), asked["audience"].as_str()),
        ("console", "patients")
    );
    issuer.prompts.lock().unwrap().push(asked.get("prompt").cloned());
    let before = mem::replace(
        &mut *issuer.challenge.lock().unwrap(),
        asked["code_challenge"].clone(),
    );
    let answer = if before.is_empty() {
        "error=access_denied&error_description=Not%20today"
    } else {
        "code=the-code"
    };
    let redirect = Redirect::to(&format!(
        "{}?{answer}&state={}&iss={}",
        asked["redirect_uri"], asked["state"], issuer.url
    ));
    ([("cross-origin-opener-policy", "same-origin")], redirect).into_response()
}

/// Returns a token if the verifier fits the challenge.
async fn token(State(issuer): State<Issuer>, Form(asked): Form<HashMap<String, String>>) -> Response {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&asked["code_verifier"]));
    if asked["code"] != "the-code" || challenge != *issuer.challenge.lock().unwrap() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let roles = issuer.roles.lock().unwrap().clone();
    let token = issuer.signer.token(&json!({
        "iss": issuer.url, "aud": "patients", "sub": "7f3c", "exp": 4_000_000_000_u64, "roles": roles,
    }));
    readable(json!({"access_token": token, "token_type": "Bearer"}))
}

#[tokio::test]
async fn people_sign_in_at_the_issuer_with_a_code_and_pkce() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = Issuer {
        url: format!("http://{}", listener.local_addr().unwrap()),
        signer: Arc::new(Signer::ec("console")),
        challenge: Arc::default(),
        prompts: Arc::default(),
        roles: Arc::default(),
    };
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(metadata))
        .route("/authorize", get(authorize))
        .route("/token", post(token))
        .with_state(issuer.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let folder = TempDir::new().unwrap();
    let keys = folder.path().join("keys.json");
    fs::write(&keys, json!({"keys": [issuer.signer.jwk()]}).to_string()).unwrap();
    let port = free_port();
    log_key(folder.path());
    let mut command = command(folder.path(), port);
    command
        .env("AUTH_JWT_ISSUER", &issuer.url)
        .env("AUTH_JWT_AUDIENCE", "patients")
        .env("AUTH_JWKS_FILE", &keys)
        .env("CONSOLE_CLIENT_ID", "console");
    let _service = Service::start(&mut command, port).await;
    let tab = Tab::open(port).await;
    let button = format!("Sign in with {}", &issuer.url["http://".len()..]);
    tab.click(&button).await;
    tab.sees("Not today").await;
    tab.click(&button).await;
    tab.sees("Your token has no role of this service.").await;
    assert_eq!(
        tab.run("return document.activeElement.innerText").await,
        "No role"
    );
    if let Some(axe) = axe::script() {
        tab.run(&axe).await;
    }
    assert_eq!(problems(&tab, "without a role").await, [""; 0]);
    // Another person signs in, and the issuer asks who it is.
    issuer.roles.lock().unwrap().push("operator");
    tab.click("Sign out").await;
    tab.click(&button).await;
    tab.sees("Projections").await;
    let prompts = issuer.prompts.lock().unwrap().clone();
    assert_eq!(prompts, [None, None, Some("select_account".to_owned())]);
    assert!(!tab.text().await.contains("Register a patient"));
    assert_eq!(tab.messages().await, [""; 0]);
    tab.close().await;
}
