//! The spans of appends. A batch serves many requests, so its span is part of one trace, that of the first,
//! and linked with all the others.

use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;

use crate::trace::{self, TARGET};

/// The span that an append was queued in, and when; nothing if nothing is traced.
#[derive(Debug, Clone, Default)]
pub(super) struct Traced(Option<(Span, Instant)>);

impl Traced {
    /// Of an append that is queued now, in the present span.
    pub(super) fn queued() -> Self {
        Self(trace::is_on().then(|| (Span::current(), Instant::now())))
    }
}

/// The span of a batch of these; none if none of them is exported. Each of them is told how long it has
/// waited.
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
            // From each to the other, so that one finds the batch from any request.
            span.follows_from(&batch);
        }
        batch.follows_from(span);
    }
    batch
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
