//! A client of the API, as users write them.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

/// A client to be, with ring for TLS and without a proxy.
pub(crate) fn http() -> reqwest::ClientBuilder {
    // Whoever was first has installed the same one.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy()
}

/// Speaks to one API process.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    pub(crate) fn new(port: u16) -> Self {
        let http = http()
            .timeout(std::time::Duration::from_secs(30))
            .build()
            .unwrap();
        Self {
            http,
            base: format!("http://127.0.0.1:{port}"),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Result<Response> {
        self.http.get(self.url(path)).send().await
    }

    /// A page of the list, once the projection has finished `position`.
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

    pub(crate) async fn delete_at(&self, path: &str) -> reqwest::Result<Response> {
        self.http.delete(self.url(path)).send().await
    }

    pub(crate) async fn delete(&self, id: &str) -> reqwest::Result<Response> {
        self.http
            .delete(self.url(&format!("/patients/{id}")))
            .send()
            .await
    }

    pub(crate) async fn register(&self, email: &str) -> reqwest::Result<Response> {
        self.http
            .post(self.url("/register"))
            .json(&patient(email))
            .send()
            .await
    }

    /// Registers under a key, again and again until it is answered, as a client that must not lose a patient does.
    pub(crate) async fn register_for_sure(&self, email: &str) -> Value {
        loop {
            let request = self
                .http
                .post(self.url("/register"))
                .header("idempotency-key", email)
                .json(&patient(email));
            match request.send().await {
                Ok(answer) if answer.status() == StatusCode::CREATED => {
                    if let Ok(body) = answer.json().await {
                        return body;
                    }
                }
                Ok(answer) if answer.status() != StatusCode::SERVICE_UNAVAILABLE => {
                    panic!(
                        "{email}: {}: {}",
                        answer.status(),
                        answer.text().await.unwrap_or_default()
                    )
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

    /// Every patient that the list has, page by page.
    pub(crate) async fn list(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut path = "/getPatients?limit=1000".to_owned();
        loop {
            let answer = self.get(&path).await.unwrap();
            let next = answer
                .headers()
                .get("link")
                .map(|link| link.to_str().unwrap().to_owned());
            all.extend(answer.json::<Vec<Value>>().await.unwrap());
            match next {
                Some(link) => path = link[1..link.find('>').unwrap()].to_string(),
                None => return all,
            }
        }
    }
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
