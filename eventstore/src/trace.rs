//! Traces: which request an event comes from, across processes and hours.
//!
//! An event's metadata keeps the [`TraceContext`] of what appended it, under [`METADATA`]. Whoever follows
//! the log continues that trace. Spans are those of `tracing`, with the target [`TARGET`]; a [`Tracer`],
//! which the program installs if it exports traces, ties them to contexts that come from elsewhere. Without
//! one, no span is made and nothing is paid for.

mod context;

use std::sync::OnceLock;

use serde_json::Value;
use tracing::Span;

pub use context::{InvalidContext, TraceContext};

/// The target of the spans that are exported. Lines of the log do not show them.
pub const TARGET: &str = "trace";
/// Where an event's metadata keeps the context, in the form of the header `traceparent`.
pub const METADATA: &str = "traceparent";

static TRACER: OnceLock<Box<dyn Tracer>> = OnceLock::new();

/// What knows the contexts of spans.
pub trait Tracer: Send + Sync + 'static {
    /// The context of a span; none if it is not exported.
    fn context(&self, span: &Span) -> Option<TraceContext>;

    /// Makes a span that has just been made part of another's trace.
    fn continue_from(&self, span: &Span, parent: &TraceContext);
}

/// Installs the process's tracer; whether it is the first.
pub fn install(tracer: impl Tracer) -> bool {
    TRACER.set(Box::new(tracer)).is_ok()
}

/// Whether spans are to be made.
#[must_use]
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// The span that `make` makes, continuing `parent` or else beginning a trace; if nothing is traced, none, and
/// `make` is not called.
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

/// The context of a span that is exported; none of another.
pub fn context(span: &Span) -> Option<TraceContext> {
    if span.is_none() {
        return None;
    }
    TRACER.get()?.context(span).filter(TraceContext::is_sampled)
}

/// The context to continue for an event of this metadata: none if nothing is traced here, or if its trace is
/// not exported.
#[must_use]
pub fn to_continue(metadata: &Value) -> Option<TraceContext> {
    TRACER.get()?;
    let context: TraceContext = metadata.get(METADATA)?.as_str()?.parse().ok()?;
    context.is_sampled().then_some(context)
}
