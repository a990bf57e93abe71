//! The spans of a subscription: one for each event that is part of a trace, continuing it, for as long as the
//! transaction takes that applies it.

use tracing::{Span, field};

use crate::event::RecordedEvent;
use crate::trace::{self, TARGET};

/// The spans of the events of one transaction; they end when this is dropped.
pub(super) struct Traced(Vec<Span>);

impl Traced {
    /// Begins them; none if nothing is traced.
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

    /// Says that the transaction was not made.
    pub(super) fn failed(&self) {
        for span in &self.0 {
            span.record("otel.status_code", "ERROR");
        }
    }
}
