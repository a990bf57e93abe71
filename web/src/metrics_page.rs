//! The Prometheus page with all metrics of a process.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::util::MapResponseLayer;

use crate::host;
use crate::secure::{OverTls, secure};
use crate::server::{Front, Listening, listen};

/// Media type of `OpenMetrics` 1.0, the format that Prometheus prefers.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Path of the page.
pub const METRICS: &str = "/metrics";

/// Maximum number of connections to a listener that serves only the metrics page.
const CONNECTIONS: usize = 64;

/// The metrics page. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>);

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Creates a page. `text` is called for each request and returns the page in the `OpenMetrics` format.
    pub fn new(text: impl Fn() -> BoxFuture<'static, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(text))
    }

    /// Returns the page.
    pub async fn page(&self) -> Response {
        ([(CONTENT_TYPE, OPEN_METRICS)], (self.0)().await).into_response()
    }
}

/// Serves only the metrics page, at `/metrics` of `listener`, until `shutdown`. Intended for processes
/// without an API, and for processes that must not serve the page at the API's address. Requires no access
/// token.
///
/// # Errors
///
/// If the listener fails.
pub async fn serve_metrics(
    listener: TcpListener,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let page = move || {
        let metrics = metrics.clone();
        async move { metrics.page().await }
    };
    let router = Router::new()
        .route(METRICS, get(page))
        .layer(from_fn(host::checked))
        .layer(MapResponseLayer::new(|response| secure(response, OverTls(false))));
    let listening = Listening {
        connections: CONNECTIONS,
        ..Listening::default()
    };
    listen(
        listener,
        Front::without_pipeline(router),
        listening,
        shutdown,
        || {},
    )
    .await
}
