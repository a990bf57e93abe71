//! A client of the API, such as a user would write.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use testkit::{Certificates, http_client, link_target};

fn http() -> reqwest::ClientBuilder {
    http_client().timeout(std::time::Duration::from_secs(30))
}

/// A client of one API process.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    scheme: &'static str,
    port: u16,
}

impl Client {
    pub(crate) fn new(port: u16) -> Self {
        Self::with_headers(port, HeaderMap::new())
    }

    /// Creates a client with this access token.
    pub(crate) fn holding(port: u16, token: &str) -> Self {
        let bearer = format!("Bearer {token}").parse().unwrap();
        Self::with_headers(port, HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
    }

    fn with_headers(port: u16, headers: HeaderMap) -> Self {
        Self {
            http: http().default_headers(headers).build().unwrap(),
            scheme: "http",
            port,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Creates a client that uses TLS and trusts only the authority of these certificates.
    pub(crate) fn over_tls(port: u16, made: &Certificates) -> Self {
        let authority = std::fs::read(made.authority()).unwrap();
        let authority = reqwest::Certificate::from_pem(&authority).unwrap();
        Self {
            http: http().tls_certs_only([authority]).build().unwrap(),
            scheme: "https",
            port,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://127.0.0.1:{}{path}", self.scheme, self.port)
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Result<Response> {
        self.http.get(self.url(path)).send().await
    }

    /// Returns a page of the list, after the projection has reached `position`.
    pub(crate) async fn get_at(&self, path: &str, position: &str) -> Vec<Value> {
        loop {
            let request = self.http.get(self.url(path)).header("min-position", position);
            let answer = request.send().await.unwrap();
            if answer.status() == StatusCode::OK {
                return answer.json().await.unwrap();
            }
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
    }

    pub(crate) async fn post(&self, path: &str) -> reqwest::Result<Response> {
        self.http.post(self.url(path)).send().await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Response {
        self.http.post(self.url(path)).json(body).send().await.unwrap()
    }

    pub(crate) async fn put_json(&self, path: &str, body: &Value) -> Response {
        self.http.put(self.url(path)).json(body).send().await.unwrap()
    }

    pub(crate) async fn delete_at(&self, path: &str) -> reqwest::Result<Response> {
        self.http.delete(self.url(path)).send().await
    }

    pub(crate) async fn delete(&self, id: &str) -> reqwest::Result<Response> {
        self.http
            .delete(self.url(&format!("/patients/{id}")))
            .send()
            .await
    }

    /// Changes details of a patient, with a JSON merge patch.
    pub(crate) async fn amend(&self, id: &str, changes: &Value) -> Response {
        let request = self.http.patch(self.url(&format!("/patients/{id}")));
        let request = request.header(CONTENT_TYPE, "application/merge-patch+json");
        request.body(changes.to_string()).send().await.unwrap()
    }

    pub(crate) async fn register(&self, email: &str) -> reqwest::Result<Response> {
        self.http
            .post(self.url("/register"))
            .json(&patient(email))
            .send()
            .await
    }

    /// Registers once, with an idempotency key.
    pub(crate) async fn register_under(&self, key: &str, email: &str) -> reqwest::Result<Response> {
        let request = self.http.post(self.url("/register"));
        let request = request.header("idempotency-key", key);
        request.json(&patient(email)).send().await
    }

    /// Registers with an idempotency key, and retries until the registration succeeds, as a client that must
    /// not lose a patient does.
    pub(crate) async fn register_for_sure(&self, email: &str) -> Value {
        self.register_for_sure_under(email, email).await
    }

    /// Registers like [`Client::register_for_sure`], with the given key.
    pub(crate) async fn register_for_sure_under(&self, key: &str, email: &str) -> Value {
        loop {
            match self.register_under(key, email).await {
                Ok(answer) if answer.status() == StatusCode::CREATED => {
                    if let Ok(body) = answer.json().await {
                        return body;
                    }
                }
                Ok(answer) if answer.status() != StatusCode::SERVICE_UNAVAILABLE => {
                    let status = answer.status();
                    let said = answer.text().await.unwrap_or_default();
                    // The previous request may still be in progress although its connection is closed.
                    assert!(
                        said.contains("/problems/request-in-progress"),
                        "{email}: {status}: {said}"
                    );
                }
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn ready(&self) -> bool {
        self.get("/health/ready")
            .await
            .is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// Returns every patient in the list, page by page.
    pub(crate) async fn list(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut path = "/getPatients?limit=1000".to_owned();
        loop {
            let answer = self.get(&path).await.unwrap();
            let next = next_page(&answer);
            all.extend(answer.json::<Vec<Value>>().await.unwrap());
            match next {
                Some(next) => path = next,
                None => return all,
            }
        }
    }
}

/// Returns the URL of the next page.
pub(crate) fn next_page(answer: &Response) -> Option<String> {
    let links = answer.headers().get("link")?;
    link_target(links.to_str().unwrap(), "next")
}

pub(crate) fn patient(email: &str) -> Value {
    json!({
        "name": "María-José Ñandú",
        "email": email,
        "phone": "(555)123-4567x890",
        "document_url": "https://example.com/photos/maria.jpg",
    })
}

pub(crate) fn id_of(body: &Value) -> &str {
    body["id"].as_str().unwrap()
}
