//! Traces, sent to an OpenTelemetry collector by OTLP.
//!
//! Finished spans wait in a bounded queue. A dedicated thread sends them in batches, as protobuf over HTTP.
//! Requests never wait for it: spans that do not fit into the queue or cannot be delivered are dropped and
//! counted.

mod exporter;

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, bail};
use eventstore::TraceContext;
use eventstore::trace::{TARGET, Tracer};
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracer, SdkTracerProvider};
use tracing::{Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::Command;
use crate::settings::Settings;

pub(crate) use exporter::register;

/// Maximum time for delivering the last spans. The limit is lower if less shutdown time is left.
const LAST_DELIVERY: Duration = Duration::from_secs(5);
/// Maximum number of links of a span: one for each append of a batch. (The SDK's default is 128.)
const LINKS: u32 = 1000;

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Starts the export of a role's traces, if a collector is configured, and returns the tracer. Must be called
/// before anything else runs.
pub(crate) fn start(settings: &Settings, command: Option<&Command>) -> anyhow::Result<Option<SdkTracer>> {
    let Some(endpoint) = settings.otlp_endpoint() else {
        return Ok(None);
    };
    let name = match command {
        None | Some(Command::Serve) => "patients",
        Some(Command::Api) => "patients-api",
        Some(Command::Projector) => "patients-projector",
        Some(Command::Mailer) => "patients-mailer",
        Some(_) => return Ok(None),
    };
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return Ok(None);
    }
    if !(endpoint.starts_with("https://") || endpoint.starts_with("http://")) {
        bail!("OTEL_EXPORTER_OTLP_ENDPOINT: expected https://host:port or http://host:port");
    }
    let protocol = std::env::var("OTEL_EXPORTER_OTLP_PROTOCOL").unwrap_or_default();
    if !matches!(protocol.as_str(), "" | "http/protobuf") {
        bail!("OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf");
    }
    crate::http::install_tls();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()
        .context("OTEL_EXPORTER_OTLP_ENDPOINT cannot be used")?;
    let batches = BatchSpanProcessor::builder(exporter::LoggingExporter::new(exporter)).build();
    let provider = SdkTracerProvider::builder()
        .with_max_links_per_span(LINKS)
        .with_resource(resource(name))
        .with_span_processor(exporter::Counted(batches))
        .build();
    let tracer = provider.tracer("patients");
    let first = PROVIDER.set(provider).is_ok() && eventstore::trace::install(OpenTelemetry);
    Ok(first.then_some(tracer))
}

/// Returns the layer that exports `tracing` spans through OpenTelemetry: only the spans for export, and only
/// with their own fields.
pub(crate) fn layer<S>(tracer: SdkTracer) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + Send + Sync + for<'s> LookupSpan<'s>,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_filter(filter_fn(is_for_export).with_max_level_hint(LevelFilter::INFO))
}

/// Whether a span is for export, and therefore omitted from log lines.
pub(crate) fn is_for_export(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET
}

/// Delivers the remaining spans, within half of `left`.
pub(crate) async fn finish(left: Duration) {
    let Some(provider) = PROVIDER.get() else { return };
    let limit = LAST_DELIVERY.min(left / 2);
    // Shutdown blocks. A hanging delivery is abandoned with its thread.
    let delivering = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(limit));
    if !matches!(tokio::time::timeout(limit, delivering).await, Ok(Ok(Ok(())))) {
        tracing::warn!("the last traces could not be delivered in time");
    }
}

fn is(variable: &str, value: &str) -> bool {
    std::env::var(variable).is_ok_and(|found| found.eq_ignore_ascii_case(value))
}

/// Returns the resource of the spans. Its name comes from `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES`,
/// which the SDK reads, or from the role.
fn resource(name: &'static str) -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    let named = |variable: &str, by: fn(&str) -> bool| std::env::var(variable).is_ok_and(|value| by(&value));
    let is_named = named("OTEL_SERVICE_NAME", |value| !value.is_empty())
        || named("OTEL_RESOURCE_ATTRIBUTES", |value| {
            value.contains("service.name=")
        });
    if is_named {
        resource.build()
    } else {
        resource.with_service_name(name).build()
    }
}

/// Connects `tracing` spans with remote trace contexts.
struct OpenTelemetry;

impl Tracer for OpenTelemetry {
    fn context(&self, span: &Span) -> Option<TraceContext> {
        let context = span.context();
        let span = context.span();
        let span = span.span_context();
        TraceContext::new(
            u128::from_be_bytes(span.trace_id().to_bytes()),
            u64::from_be_bytes(span.span_id().to_bytes()),
            span.trace_flags().to_u8(),
        )
    }

    fn continue_from(&self, span: &Span, parent: &TraceContext) {
        let parent = SpanContext::new(
            TraceId::from(parent.trace()),
            SpanId::from(parent.span()),
            TraceFlags::new(parent.flags()),
            true,
            TraceState::NONE,
        );
        if let Err(error) = span.set_parent(Context::new().with_remote_span_context(parent)) {
            tracing::debug!(%error, "a span could not be made part of a trace");
        }
    }
}
