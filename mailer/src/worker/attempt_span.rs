//! The tracing span of an attempt to send an email. It continues the trace of the request that caused the
//! email, no matter how long ago that was.

use eventstore::trace::{self, TARGET};
use tracing::{Span, field};

use super::leasing::Job;
use crate::error::AttemptError;

/// Begins the span. Returns an empty span if the event does not belong to a trace.
pub(super) fn begin(job: &Job) -> Span {
    let metadata = job.event.as_ref().map(|event| &event.metadata);
    let Some(parent) = metadata.and_then(trace::to_continue) else {
        return Span::none();
    };
    trace::span(Some(&parent), || {
        tracing::info_span!(
            target: TARGET,
            parent: None,
            "send mail",
            otel.kind = "client",
            mail.template = job.delivery.template.name(),
            mail.attempt = i64::from(job.delivery.attempts),
            event.position = job.delivery.position.get().cast_signed(),
            mail.outcome = field::Empty,
            otel.status_code = field::Empty,
        )
    })
}

/// Records the outcome in the span. The error is kept in the ledger.
pub(super) fn end(span: &Span, sent: &Result<(), AttemptError>) {
    let outcome = match sent {
        Ok(()) => "sent",
        Err(AttemptError::Retry(_)) => "failed",
        Err(AttemptError::Fail(_)) => "refused",
        Err(AttemptError::Outage(_)) => "server away",
        Err(AttemptError::AmbiguousRejection(_)) => "suspect",
        Err(AttemptError::AmbiguousDeferral(_)) => "put off",
        Err(AttemptError::Unknown(_)) => "unknown",
    };
    span.record("mail.outcome", outcome);
    if sent.is_err() {
        span.record("otel.status_code", "ERROR");
    }
}
