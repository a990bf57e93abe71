//! Spans of a subscription: one span for each event that belongs to a trace. The span continues that trace
//! and covers the transaction that applies the event.

use tracing::{Span, field};

use crate::event::RecordedEvent;
use crate::trace::{self, TARGET};

/// Spans of the events in one transaction. The spans end when this value is dropped.
pub(super) struct Traced(Vec<Span>);

impl Traced {
    /// Starts the spans. Does nothing if tracing is off.
    pub(super) fn begin(subscription: &str, events: &[RecordedEvent]) -> Self {
        if !trace::is_on() {
            return Self(Vec::new());
        }
        let span = |event: &RecordedEvent| {
            let parent = trace::to_continue(&event.metadata)?;
            Some(trace::span(Some(&parent), || {
                tracing::info_span!(
                    target: TARGET,
                    parent: None,
                    "process",
                    otel.name = format!("process {subscription}"),
                    otel.kind = "consumer",
                    subscription.name = subscription,
                    event.type = event.event_type,
                    event.position = event.position.get().cast_signed(),
                    subscription.batch_size = i64::try_from(events.len()).unwrap_or(i64::MAX),
                    otel.status_code = field::Empty,
                )
            }))
        };
        Self(events.iter().filter_map(span).collect())
    }

    /// Marks the spans as failed, because the transaction was not committed, or its commit was not confirmed.
    pub(super) fn failed(&self) {
        for span in &self.0 {
            span.record("otel.status_code", "ERROR");
        }
    }
}
