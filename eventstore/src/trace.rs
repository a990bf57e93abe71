//! Traces that link an event to the request that caused it, across processes and over time.
//!
//! An event's metadata contains the [`TraceContext`] of the operation that appended it, under [`METADATA`].
//! Readers of the log continue that trace. Spans are `tracing` spans with the target [`TARGET`]. A [`Tracer`]
//! connects spans to contexts from other processes. The program installs a tracer only if it exports traces.
//! Without a tracer, no spans are created and tracing costs nothing.

mod context;

use std::sync::OnceLock;

use serde_json::Value;
use tracing::Span;

pub use context::{InvalidContext, TraceContext};

/// Target of exported spans. These spans do not appear in log lines.
pub const TARGET: &str = "trace";
/// Metadata key of the context, which is stored in the format of the `traceparent` header.
pub const METADATA: &str = "traceparent";

static TRACER: OnceLock<Box<dyn Tracer>> = OnceLock::new();

/// Maps spans to trace contexts.
pub trait Tracer: Send + Sync + 'static {
    /// Returns the context of a span, or `None` if the span is not exported.
    fn context(&self, span: &Span) -> Option<TraceContext>;

    /// Makes a newly created span part of the trace of `parent`.
    fn continue_from(&self, span: &Span, parent: &TraceContext);
}

/// Installs the tracer of this process. Returns `false` if a tracer is already installed.
pub fn install(tracer: impl Tracer) -> bool {
    TRACER.set(Box::new(tracer)).is_ok()
}

/// Whether a tracer is installed.
#[must_use]
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// Creates a span with `make` that continues `parent` or, without a parent, starts a new trace. If no tracer
/// is installed, returns a disabled span without calling `make`.
pub fn span(parent: Option<&TraceContext>, make: impl FnOnce() -> Span) -> Span {
    let Some(tracer) = TRACER.get() else {
        return Span::none();
    };
    let span = make();
    if let Some(parent) = parent {
        tracer.continue_from(&span, parent);
    }
    span
}

/// Returns the context of a span, or `None` if the span is not exported.
pub fn context(span: &Span) -> Option<TraceContext> {
    if span.is_none() {
        return None;
    }
    TRACER.get()?.context(span).filter(TraceContext::is_sampled)
}

/// Returns the context to continue for an event with this metadata, or `None` if no tracer is installed or
/// the event's trace is not exported.
#[must_use]
pub fn to_continue(metadata: &Value) -> Option<TraceContext> {
    TRACER.get()?;
    let context: TraceContext = metadata.get(METADATA)?.as_str()?.parse().ok()?;
    context.is_sampled().then_some(context)
}
