//! A trace collector that receives OTLP over HTTP and keeps the spans.

use std::fmt::{Debug, Write as _};
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use axum::serve::Listener;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use testkit::Certificates;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::over_tls::TlsListener;

/// A span, and the service that produced it.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) service: String,
    pub(crate) span: Span,
}

impl Made {
    pub(crate) fn trace(&self) -> String {
        hex(&self.span.trace_id)
    }

    pub(crate) fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    pub(crate) fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    pub(crate) fn is_linked_with(&self, other: &Self) -> bool {
        self.span
            .links
            .iter()
            .any(|link| (hex(&link.trace_id), hex(&link.span_id)) == (other.trace(), other.id()))
    }

    /// Returns an attribute as text.
    pub(crate) fn attribute(&self, key: &str) -> Option<String> {
        let attribute = self
            .span
            .attributes
            .iter()
            .find(|attribute| attribute.key == key)?;
        text(attribute.value.as_ref()?.value.as_ref()?)
    }

    pub(crate) fn attributes(&self) -> Vec<&str> {
        let mut keys: Vec<_> = self
            .span
            .attributes
            .iter()
            .map(|attribute| attribute.key.as_str())
            .collect();
        keys.sort_unstable();
        keys
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        Value::DoubleValue(number) => Some(number.to_string()),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A collector on its own port.
pub(crate) struct Collector {
    url: String,
    made: Arc<Mutex<Vec<Made>>>,
    serving: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let (listener, port) = listen().await;
        Self::on(listener, http(port))
    }

    /// Starts a collector with TLS.
    pub(crate) async fn with(certificates: &Certificates) -> Self {
        let (listener, port) = listen().await;
        let listener = TlsListener::new(listener, certificates);
        Self::on(listener, format!("https://127.0.0.1:{port}"))
    }

    fn on<L: Listener<Addr: Debug>>(listener: L, url: String) -> Self {
        let made = Arc::new(Mutex::new(Vec::new()));
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(Arc::clone(&made));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, made, serving }
    }

    /// Starts a collector that accepts connections but never responds.
    pub(crate) async fn that_hangs() -> Self {
        let (listener, port) = listen().await;
        let serving = tokio::spawn(async move {
            let mut connections = Vec::new();
            loop {
                connections.push(listener.accept().await.unwrap());
            }
        });
        Self {
            url: http(port),
            made: Arc::default(),
            serving,
        }
    }

    /// Configures a role to send its traces to this collector, with a short delay.
    pub(crate) fn watch<'c>(&self, role: &'c mut Command) -> &'c mut Command {
        send_to(&self.url, role)
    }

    /// Returns all spans received so far.
    pub(crate) fn made(&self) -> Vec<Made> {
        self.made.lock().unwrap().clone()
    }

    /// Returns the spans of a trace.
    pub(crate) fn of(&self, trace: &str) -> Vec<Made> {
        let mut made = self.made();
        made.retain(|made| made.trace() == trace);
        made
    }
}

/// Returns the URL of an unencrypted collector on a loopback address.
pub(crate) fn http(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Configures a role to send its traces to a URL, with a short delay.
pub(crate) fn send_to<'c>(url: &str, role: &'c mut Command) -> &'c mut Command {
    role.env("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn take(State(made): State<Arc<Mutex<Vec<Made>>>>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut made = made.lock().unwrap();
    for of_service in request.resource_spans {
        let resource = of_service.resource.unwrap();
        let name = resource
            .attributes
            .iter()
            .find(|attribute| attribute.key == "service.name");
        let service = name
            .and_then(|name| text(name.value.as_ref()?.value.as_ref()?))
            .unwrap();
        for span in of_service.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            made.push(Made {
                service: service.clone(),
                span,
            });
        }
    }
}
