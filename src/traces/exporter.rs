//! Counters for spans, and log messages about failed deliveries.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Minimum time between log messages about failed deliveries.
const LOG_INTERVAL: Duration = Duration::from_mins(5);

static SPANS: LazyLock<Family<Stage, Counter>> = LazyLock::new(Family::default);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

fn count(stage: &'static str, spans: usize) {
    SPANS.get_or_create(&Stage { stage }).inc_by(spans as u64);
}

/// Registers the counters if the process exports traces.
pub(crate) fn register(registry: &mut Registry) {
    if eventstore::trace::is_on() {
        registry.register(
            "trace_spans",
            "Spans by stage: ended, and of those delivered or failed; the others wait or were dropped",
            SPANS.clone(),
        );
    }
}

/// The queue of spans, which counts each finished span.
#[derive(Debug)]
pub(super) struct Counted(pub(super) BatchSpanProcessor);

impl SpanProcessor for Counted {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.0.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            count("ended", 1);
        }
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

/// The delivery of spans. While the collector is unavailable, a message is logged periodically.
#[derive(Debug)]
pub(super) struct LoggingExporter {
    otlp: Otlp,
    logged_at: Mutex<Option<Instant>>,
}

impl LoggingExporter {
    pub(super) fn new(otlp: Otlp) -> Self {
        Self {
            otlp,
            logged_at: Mutex::new(None),
        }
    }

    /// Logs the first failure after a successful delivery immediately, and later failures periodically.
    fn failed(&self, error: &str) {
        let mut logged_at = self.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if logged_at.is_none_or(|logged_at| logged_at.elapsed() >= LOG_INTERVAL) {
            *logged_at = Some(Instant::now());
            tracing::warn!(
                error,
                "traces could not be delivered to OTEL_EXPORTER_OTLP_ENDPOINT"
            );
        }
    }

    fn delivered(&self) {
        let logged_at = self
            .logged_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if logged_at.is_some() {
            tracing::info!("traces are delivered again");
        }
    }
}

impl SpanExporter for LoggingExporter {
    /// Never fails: the queue would log every error.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        match self.otlp.export(batch).await {
            Ok(()) => {
                count("delivered", spans);
                self.delivered();
            }
            Err(error) => {
                count("failed", spans);
                self.failed(&error.to_string());
            }
        }
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}
