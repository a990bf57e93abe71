//! Spans of appends. A batch serves many requests. The batch's span is part of the first request's trace and
//! is linked with the spans of the other requests.

use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;

use crate::trace::{self, TARGET};

/// The span in which an append was queued, and the time of queuing; `None` without tracing.
#[derive(Debug, Clone, Default)]
pub(super) struct Traced(Option<(Span, Instant)>);

impl Traced {
    /// Records the current span and time for an append that is being queued.
    pub(super) fn queued() -> Self {
        Self(trace::is_on().then(|| (Span::current(), Instant::now())))
    }
}

/// Returns the span of a batch of `items`, or a disabled span if no item is exported. Also records in each
/// item's span how long the item waited.
pub(super) fn batch<'t>(items: impl ExactSizeIterator<Item = &'t Traced>) -> Span {
    let appends = items.len();
    let mut batch = Span::none();
    for Traced(traced) in items {
        let Some((span, queued_at)) = traced else { continue };
        let Some(context) = trace::context(span) else {
            continue;
        };
        span.record("append.wait_ms", millis(queued_at.elapsed()));
        if batch.is_none() {
            batch = trace::span(Some(&context), || {
                tracing::info_span!(
                    target: TARGET,
                    parent: None,
                    "append batch",
                    otel.kind = "client",
                    append.batch_size = i64::try_from(appends).unwrap_or(i64::MAX),

                )
            });
        } else {
            // Link the spans in both directions, so that the batch can be found from any request.
            span.follows_from(&batch);
        }
        batch.follows_from(span);
    }
    batch
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
