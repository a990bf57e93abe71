//! A reverse proxy between the browser and the service, which answers some requests itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use tokio::net::TcpListener;

/// What the proxy does with a request.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    /// Answers with this status, and with a body that is a problem if it is not empty.
    Answer(StatusCode, &'static str),
    /// Forwards the request, and answers 504 in place of the response.
    LoseResponse,
    /// Answers 200 and sends these bytes and no others, but keeps the connection open.
    Stall(&'static str),
    /// Answers 200 with this text.
    Give(String),
    /// Forwards the request, and closes the connection after this many bytes of the response.
    Cut(usize),
}

/// A deed for the next requests of a method to a path.
struct Plan {
    method: &'static str,
    path: &'static str,
    deed: Deed,
    /// Number of requests left; `None` for all.
    left: Option<u32>,
}

/// The proxy.
pub(super) struct Front {
    pub(super) port: u16,
    plans: Arc<Mutex<Vec<Plan>>>,
}

#[derive(Clone)]
struct Forwarder {
    target: String,
    http: reqwest::Client,
    plans: Arc<Mutex<Vec<Plan>>>,
}

impl Front {
    /// Starts a proxy for the service on `port`.
    pub(super) async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let plans = Arc::<Mutex<Vec<Plan>>>::default();
        let forwarder = Forwarder {
            target: format!("http://127.0.0.1:{port}"),
            http: testkit::http_client().build().unwrap(),
            plans: Arc::clone(&plans),
        };
        let router = Router::new().fallback(forward).with_state(forwarder);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port: own, plans }
    }

    /// Does `deed` with the next `times` requests of this method to a path that begins with `path`.
    pub(super) fn next(&self, times: u32, method: &'static str, path: &'static str, deed: Deed) {
        self.plan(method, path, deed, Some(times));
    }

    /// Does `deed` with all further requests of this method to a path that begins with `path`.
    pub(super) fn always(&self, method: &'static str, path: &'static str, deed: Deed) {
        self.plan(method, path, deed, None);
    }

    fn plan(&self, method: &'static str, path: &'static str, deed: Deed, left: Option<u32>) {
        self.plans.lock().unwrap().push(Plan {
            method,
            path,
            deed,
            left,
        });
    }

    /// Forwards all requests again.
    pub(super) fn behave(&self) {
        self.plans.lock().unwrap().clear();
    }

    /// Whether every planned deed is done.
    pub(super) fn is_done(&self) -> bool {
        self.plans.lock().unwrap().iter().all(|plan| plan.left == Some(0))
    }
}

impl Forwarder {
    fn deed(&self, request: &Request) -> Option<Deed> {
        let mut plans = self.plans.lock().unwrap();
        let plan = plans.iter_mut().find(|plan| {
            plan.left != Some(0)
                && request.method() == plan.method
                && request.uri().path().starts_with(plan.path)
        })?;
        plan.left = plan.left.map(|left| left - 1);
        Some(plan.deed.clone())
    }

    async fn send(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let target = format!("{}{}", self.target, parts.uri);
        let body = to_bytes(body, 1 << 20).await.unwrap();
        let mut headers = parts.headers;
        headers.remove(header::CONTENT_LENGTH);
        let sent = self
            .http
            .request(parts.method, target)
            .headers(headers)
            .body(body);
        let Ok(answer) = sent.send().await else {
            return StatusCode::BAD_GATEWAY.into_response();
        };
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        headers.remove(header::TRANSFER_ENCODING);
        let chunks = stream::try_unfold(answer, |mut answer| async move {
            let chunk = answer.chunk().await?;
            Ok::<_, reqwest::Error>(chunk.map(|chunk| (chunk, answer)))
        });
        (status, headers, Body::from_stream(chunks)).into_response()
    }
}

async fn forward(State(forwarder): State<Forwarder>, request: Request) -> Response {
    match forwarder.deed(&request) {
        None => forwarder.send(request).await,
        Some(Deed::LoseResponse) => {
            let answer = forwarder.send(request).await;
            assert!(answer.status().is_success(), "{}", answer.status());
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        Some(Deed::Answer(status, body)) => {
            let mut headers = HeaderMap::new();
            if !body.is_empty() {
                headers.insert(header::CONTENT_TYPE, "application/problem+json".parse().unwrap());
            }
            (status, headers, body).into_response()
        }
        Some(Deed::Stall(bytes)) => {
            let first = stream::once(async move { Ok::<_, std::io::Error>(Bytes::from(bytes)) });
            Body::from_stream(first.chain(stream::pending())).into_response()
        }
        Some(Deed::Give(text)) => text.into_response(),
        Some(Deed::Cut(bytes)) => {
            let (parts, body) = forwarder.send(request).await.into_parts();
            let all = to_bytes(body, 1 << 20).await.unwrap();
            let first = stream::once(async move { Ok(all.slice(..bytes)) });
            let cut = stream::once(async {
                // Otherwise, the connection would be closed before the first bytes have left.
                tokio::time::sleep(Duration::from_millis(100)).await;
                Err(std::io::Error::other("cut"))
            });
            Response::from_parts(parts, Body::from_stream(first.chain(cut)))
        }
    }
}
