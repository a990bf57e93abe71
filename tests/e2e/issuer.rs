//! JWTs, with the keys of an issuer that is sometimes unavailable.

use std::collections::HashSet;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::serve::Listener;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Certificates, Program, Signer, free_port, http_client, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::over_tls::TlsListener;
use crate::rig::{SOON, patients};

const ISSUER: &str = "https://id.example.com";

/// A server that publishes the issuer's keys.
struct Jwks {
    port: u16,
    /// Certificates, if the server uses TLS.
    certificates: Option<Certificates>,
    keys: Arc<Mutex<Value>>,
    serving: Option<JoinHandle<()>>,
}

impl Jwks {
    fn new() -> Self {
        Self {
            port: free_port(),
            certificates: None,
            keys: Arc::default(),
            serving: None,
        }
    }

    fn url(&self) -> String {
        let scheme = if self.certificates.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://127.0.0.1:{}/keys", self.port)
    }

    async fn serve(&mut self, signers: &[&Signer]) {
        *self.keys.lock().unwrap() = set(signers);
        if self.serving.is_some() {
            return;
        }
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        let keys = Arc::clone(&self.keys);
        self.serving = Some(match &self.certificates {
            Some(made) => tokio::spawn(tell(TlsListener::new(listener, made), keys)),
            None => tokio::spawn(tell(listener, keys)),
        });
    }

    fn go_away(&mut self) {
        self.serving.take().unwrap().abort();
    }
}

/// Responds to each request with the keys.
async fn tell(mut listener: impl Listener, keys: Arc<Mutex<Value>>) {
    loop {
        let (mut stream, _) = listener.accept().await;
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).await;
        let body = keys.lock().unwrap().to_string();
        let length = body.len();
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

fn set(signers: &[&Signer]) -> Value {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    json!({"keys": keys})
}

/// Creates a token that expires far in the future.
fn token(signer: &Signer) -> String {
    signer.token(&json!({
        "iss": ISSUER, "aud": "patients", "sub": "7f3c", "exp": 4_000_000_000_u64,
        "realm_access": {"roles": ["auditor", "clerk"]},
    }))
}

fn serve(folder: &TempDir, port: u16, setting: (&str, &str)) -> Program {
    Program::start(&command(folder, port, setting))
}

fn command(folder: &TempDir, port: u16, setting: (&str, &str)) -> Command {
    let mut command = patients("serve");
    command
        .current_dir(folder.path())
        .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
        .env("AUTH_JWT_ISSUER", ISSUER)
        .env("AUTH_JWT_AUDIENCE", "patients")
        .env("AUTH_JWT_ROLES_CLAIM", "realm_access.roles")
        .env(setting.0, setting.1);
    command
}

async fn status(client: &Client, path: &str, token: &str) -> u16 {
    let request = http_client()
        .build()
        .unwrap()
        .get(client.url(path))
        .bearer_auth(token);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn keys_are_waited_for_kept_while_the_issuer_is_away_and_fetched_when_one_is_new() {
    let folder = TempDir::new().unwrap();
    let (old, new) = (Signer::ed("old"), Signer::rsa("new", "RS256"));
    let mut issuer = Jwks::new();
    let port = free_port();
    let program = serve(&folder, port, ("AUTH_JWKS_URL", &issuer.url()));
    wait_until(SOON, "it logs what it waits for", async || {
        program.log().contains("waiting for the keys from AUTH_JWKS_URL")
    })
    .await;
    issuer.serve(&[&old]).await;
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    assert!(
        program
            .stdout()
            .contains("by JWT from https://id.example.com (keys: 1)")
    );
    let (first, second) = (token(&old), token(&new));
    assert_eq!(status(&client, "/events", &first).await, 200);
    assert_eq!(status(&client, "/metrics", &first).await, 403);

    issuer.go_away();
    assert_eq!(status(&client, "/patients", &first).await, 200);
    assert_eq!(status(&client, "/patients", &second).await, 401);

    issuer.serve(&[&new]).await;
    wait_until(SOON, "the new key is known", async || {
        // With a shorter pause, this address would exceed the limit for unknown tokens.
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        status(&client, "/patients", &second).await == 200
    })
    .await;
    assert_eq!(status(&client, "/patients", &first).await, 401);
    let log = program.log();
    for part in [&first, &second]
        .into_iter()
        .flat_map(|token| token.split('.'))
        .collect::<HashSet<_>>()
    {
        assert!(!log.contains(part), "{log}");
    }
}

#[tokio::test]
async fn keys_are_fetched_over_tls_from_an_issuer_whose_certificate_is_trusted() {
    let (made, other) = (Certificates::lasting(30), Certificates::lasting(30));
    let authorities = [other.authority(), made.authority()];
    let signer = Signer::ed("key");
    let mut issuer = Jwks::new();
    issuer.certificates = Some(made);
    issuer.serve(&[&signer]).await;
    for (trusted, authority) in [false, true].into_iter().zip(authorities) {
        let folder = TempDir::new().unwrap();
        let port = free_port();
        let mut command = command(&folder, port, ("AUTH_JWKS_URL", &issuer.url()));
        let program = Program::start(command.env("SSL_CERT_FILE", authority));
        let client = Client::new(port);
        if trusted {
            wait_until(SOON, "it is ready", async || client.ready().await).await;
            assert_eq!(status(&client, "/events", &token(&signer)).await, 200);
        } else {
            wait_until(SOON, "it logs why it waits", async || {
                let log = program.log();
                log.contains("waiting for the keys from AUTH_JWKS_URL")
                    && log.contains("invalid peer certificate")
            })
            .await;
            assert!(!client.ready().await);
        }
    }
}

#[tokio::test]
async fn the_file_of_keys_is_read_again_when_it_changes() {
    let folder = TempDir::new().unwrap();
    let (old, new) = (Signer::ec("old"), Signer::ed("new"));
    let file = folder.path().join("jwks.json");
    let write = |text: String| std::fs::write(&file, text).unwrap();
    write(set(&[&old]).to_string());
    let port = free_port();
    let program = serve(&folder, port, ("AUTH_JWKS_FILE", file.to_str().unwrap()));
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    let (first, second) = (token(&old), token(&new));
    assert_eq!(status(&client, "/patients", &first).await, 200);
    write("nonsense".to_owned());
    wait_until(SOON, "the error is logged", async || {
        program.log().contains("the previous content stays in use")
    })
    .await;
    assert_eq!(status(&client, "/patients", &first).await, 200);
    write(set(&[&new]).to_string());
    wait_until(SOON, "the new key is known", async || {
        // The pause has the same reason as the pause above.
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        status(&client, "/patients", &second).await == 200
    })
    .await;
    assert_eq!(status(&client, "/patients", &first).await, 401);
}

#[tokio::test]
async fn settings_for_jwts_that_let_in_too_many_or_nobody_are_refused() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#).unwrap();
    let empty = file.to_str().unwrap();
    let issuer = ("AUTH_JWT_ISSUER", ISSUER);
    let audience = ("AUTH_JWT_AUDIENCE", "patients");
    // No server listens on this port, so a wait for the keys would never end.
    let away = format!("http://127.0.0.1:{}/keys", free_port());
    let away = ("AUTH_JWKS_URL", away.as_str());
    for (settings, expected) in [
        (&[issuer][..], "without AUTH_JWT_AUDIENCE"),
        (&[issuer, audience], "set either AUTH_JWKS_URL or AUTH_JWKS_FILE"),
        (&[audience], "AUTH_JWT_ISSUER is not set"),
        (
            &[issuer, audience, ("AUTH_JWKS_URL", "http://id.example.com/keys")],
            "expected https://",
        ),
        (
            &[issuer, audience, ("AUTH_JWKS_FILE", empty)],
            "it is a secret or private key",
        ),
        (
            &[
                issuer,
                audience,
                ("AUTH_JWKS_FILE", empty),
                ("AUTH_JWKS_URL", "https://id.example.com"),
            ],
            "set either AUTH_JWKS_URL or AUTH_JWKS_FILE",
        ),
        (
            &[issuer, audience, away, ("AUTH_JWT_ALGORITHMS", "none")],
            "AUTH_JWT_ALGORITHMS",
        ),
        (
            &[issuer, audience, away, ("AUTH_JWT_ALGORITHMS", "RS256,HS256")],
            "AUTH_JWT_ALGORITHMS",
        ),
        (
            &[issuer, audience, away, ("AUTH_JWT_ROLES_CLAIM", "realm..roles")],
            "AUTH_JWT_ROLES_CLAIM",
        ),
        (
            &[issuer, audience, away, ("AUTH_JWT_TYPE", "ID")],
            "expected at+jwt",
        ),
        (&[("AUTH_JWT_ISSUER", "a#b"), audience, away], "AUTH_JWT_ISSUER"),
        (&[issuer, ("AUTH_JWT_AUDIENCE", " "), away], "AUTH_JWT_AUDIENCE"),
        (&[issuer, away], "without AUTH_JWT_AUDIENCE"),
        (&[issuer, audience, away, ("AUTH", "off")], "use one or the other"),
        (
            &[issuer, audience, away, ("TLS_CERT_FILE", "cert.pem")],
            "only one of them is set",
        ),
    ] {
        let mut command = patients("serve");
        command
            .current_dir(folder.path())
            .env("HTTP_ADDR", format!("127.0.0.1:{}", free_port()))
            .envs(settings.iter().copied());
        let program = Program::start(&command);
        // An invalid flag value exits with code 2.
        assert!(matches!(program.wait(SOON).await, 1 | 2), "{expected}");
        assert!(program.log().contains(expected), "{}", program.log());
    }
}
