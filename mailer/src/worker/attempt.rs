//! One attempt to send one email.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use eventstore::{Clock, Result, Timestamp, Transaction};
use futures::FutureExt;
use tracing::Instrument;

use super::attempt_span;
use super::evidence::{Evidence, EvidenceSource};
use super::leasing::Job;
use crate::error::{AttemptError, DeliveryFailure, Outage};
use crate::ledger::attempts::AttemptRow;
use crate::ledger::{self, Delivery, StateAfterAttempt};
use crate::message::{Composer, Mail};
use crate::metrics::METRICS;
use crate::schedule;
use crate::transport::{Permit, Timeouts, Transport};

/// Runs attempts.
#[derive(Debug)]
pub(super) struct AttemptRunner {
    pub(super) composer: Arc<Composer>,
    pub(super) transport: Transport,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) timeouts: Timeouts,
}

/// A finished attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    job: Job,
    sent: Result<(), AttemptError>,
    /// State of the delivery after the attempt. Final when the breaker has processed the outcome.
    state: StateAfterAttempt,
    started_at: Timestamp,
    ended_at: Timestamp,
}

impl AttemptRunner {
    /// Makes the attempt within the timeouts and `permit`. Never panics.
    pub(super) async fn attempt(self: Arc<Self>, job: Job, permit: Permit) -> Attempt {
        let started_at = self.clock.now();
        let span = attempt_span::begin(&job);
        let sent = if self.clock.monotonic() > job.begin_by {
            Err(AttemptError::Outage(Outage::Down(DeliveryFailure::Late)))
        } else {
            AssertUnwindSafe(self.send(&job, started_at, &permit).instrument(span.clone()))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| {
                    tracing::error!(mail.position = %job.delivery.position, "sending an email panicked");
                    Err(AttemptError::Retry(DeliveryFailure::Internal))
                })
        };
        attempt_span::end(&span, &sent);
        let ended_at = self.clock.now();
        Attempt {
            state: state_after(&sent, true, &job, ended_at, fastrand::f64()),
            sent,
            job,
            started_at,
            ended_at,
        }
    }

    async fn send(&self, job: &Job, now: Timestamp, permit: &Permit) -> Result<(), AttemptError> {
        let mail = self.compose(job, now).map_err(AttemptError::Fail)?;
        self.transport.send(&mail, self.timeouts, permit).await
    }

    fn compose(&self, job: &Job, now: Timestamp) -> Result<Mail, DeliveryFailure> {
        let event = job.event.as_ref().ok_or(DeliveryFailure::EventMissing)?;
        let recipient = job.recipient.as_ref().map_err(Clone::clone)?;
        self.composer
            .compose(job.delivery.template, event, recipient, now)
    }
}

/// Returns the state of a delivery after an attempt. `uncounted` means that the email is not
/// the cause of a failure. `random`, from 0 to 1, varies the pause.
fn state_after(
    sent: &Result<(), AttemptError>,
    uncounted: bool,
    job: &Job,
    now: Timestamp,
    random: f64,
) -> StateAfterAttempt {
    let retry = |error: String, at_least: Duration| match schedule::pause_after(job.delivery.attempts, random)
    {
        Some(pause) => StateAfterAttempt::Failed {
            due_at: now + pause.max(at_least),
            error,
        },
        None => StateAfterAttempt::Dead { error },
    };
    match sent {
        Ok(()) => StateAfterAttempt::Sent,
        Err(AttemptError::Fail(failure)) => StateAfterAttempt::Dead {
            error: failure.to_string(),
        },
        Err(AttemptError::Retry(failure)) => retry(failure.to_string(), Duration::ZERO),
        Err(
            error @ (AttemptError::Outage(_)
            | AttemptError::AmbiguousRejection(_)
            | AttemptError::AmbiguousDeferral(_)),
        ) => {
            let error = error.to_string();
            if uncounted {
                StateAfterAttempt::Untried { error }
            } else {
                retry(error, Duration::ZERO)
            }
        }
        // A duplicate does less harm than a lost email, but the mailer risks at most one duplicate.
        Err(AttemptError::Unknown(failure)) if job.unknown_before => StateAfterAttempt::Dead {
            error: format!("{failure}; the email may have arrived, once or twice"),
        },
        Err(AttemptError::Unknown(failure)) => retry(
            format!("{failure}; the email may have arrived"),
            schedule::PAUSE_AFTER_UNKNOWN,
        ),
    }
}

impl Attempt {
    /// Returns the evidence about the server.
    pub(super) fn evidence(&self) -> Evidence {
        Evidence::of(&self.sent)
    }

    /// Returns the attempt's identity for the breaker.
    pub(super) fn source(&self) -> EvidenceSource {
        EvidenceSource {
            delivery: self.job.delivery.key(),
            domain: Arc::clone(&self.job.domain),
            epoch: self.job.epoch,
        }
    }

    /// Whether this is the attempt at `delivery` under `lease`.
    pub(super) fn is_under(&self, delivery: &Delivery, lease: &str) -> bool {
        self.job.delivery == *delivery && *self.job.lease == *lease
    }

    /// End time of the attempt.
    pub(super) const fn ended_at(&self) -> Timestamp {
        self.ended_at
    }

    /// Sets the final state of the delivery. `uncounted` means that the email is not the cause of
    /// a failure.
    pub(super) fn settle(&mut self, uncounted: bool) {
        self.state = state_after(&self.sent, uncounted, &self.job, self.ended_at, fastrand::f64());
    }

    /// Returns the row for the history of attempts, or `None` if the attempt does not count.
    pub(super) fn row(&self) -> Option<AttemptRow<'_>> {
        let (outcome, error) = match &self.state {
            StateAfterAttempt::Sent => ("sent", None),
            StateAfterAttempt::Failed { error, .. } | StateAfterAttempt::Dead { error }
                if matches!(self.sent, Err(AttemptError::Unknown(_))) =>
            {
                ("unknown", Some(error.as_str()))
            }
            StateAfterAttempt::Failed { error, .. } => ("failed", Some(error.as_str())),
            StateAfterAttempt::Dead { error } => ("dead", Some(error.as_str())),
            StateAfterAttempt::Untried { .. } => return None,
        };
        Some(AttemptRow {
            delivery: &self.job.delivery,
            started_at: self.started_at,
            ended_at: self.ended_at,
            outcome,
            error,
        })
    }

    /// Returns the delivery and its lease, if the email was sent.
    pub(super) fn sent(&self) -> Option<(&Delivery, &str)> {
        (self.state == StateAfterAttempt::Sent).then_some((&self.job.delivery, &*self.job.lease))
    }

    /// Records the attempt. Returns `false` if its lease is lost.
    pub(super) async fn record(&self, transaction: &mut Transaction<'_>, now: Timestamp) -> Result<bool> {
        ledger::record(transaction, &self.job.delivery, &self.job.lease, &self.state, now).await
    }

    /// Logs and counts the attempt. `recorded` is false if its lease was lost.
    pub(super) fn report(&self, recorded: bool) {
        let delivery = &self.job.delivery;
        let outcome = self.row().map_or("untried", |row| row.outcome);
        METRICS.attempt(
            if recorded { outcome } else { "late" },
            self.ended_at.since(self.started_at).as_secs_f64(),
        );
        let (position, template, attempt) = (delivery.position, delivery.template.name(), delivery.attempts);
        if !recorded {
            tracing::warn!(
                mail.position = %position,
                mail.template = template,
                mail.attempt = attempt,
                "an attempt ended after losing its lease; its outcome is not recorded"
            );
            return;
        }
        match &self.state {
            StateAfterAttempt::Sent => tracing::debug!(
                mail.position = %position,
                mail.template = template,
                mail.attempt = attempt,
                "email sent"
            ),
            // The circuit breaker has already logged the cause for all mail.
            StateAfterAttempt::Untried { error } => tracing::debug!(
                mail.position = %position,
                mail.template = template,
                mail.error = error,
                "email not sent; waiting for the mail server"
            ),
            StateAfterAttempt::Failed { due_at, error } => tracing::info!(
                mail.position = %position,
                mail.template = template,
                mail.attempt = attempt,
                mail.due_at = %due_at,
                mail.error = error,
                "email not sent; it will be retried"
            ),
            StateAfterAttempt::Dead { error } => tracing::error!(
                mail.position = %position,
                mail.template = template,
                mail.attempt = attempt,
                mail.error = error,
                "email not sent; it will not be retried"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
