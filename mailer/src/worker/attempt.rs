//! One attempt to send one email.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use eventstore::{Clock, Result, Timestamp, Transaction};
use futures::FutureExt;
use tracing::Instrument;

use super::breaker::{News, Witness};
use super::suspects::Kind;
use super::take::Job;
use super::traced;
use crate::error::{AttemptError, Failure, Outage, SmtpFailure, Step};
use crate::ledger::attempts::Past;
use crate::ledger::{self, Delivery, State};
use crate::message::{Composer, Mail};
use crate::metrics::METRICS;
use crate::schedule;
use crate::transport::{Permit, Timeouts, Transport};

/// Dependencies of an attempt.
#[derive(Debug)]
pub(super) struct Post {
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
    state: State,
    started_at: Timestamp,
    ended_at: Timestamp,
}

impl Post {
    /// Makes the attempt within the timeouts and `permit`. Never panics.
    pub(super) async fn attempt(self: Arc<Self>, job: Job, permit: Permit) -> Attempt {
        let started_at = self.clock.now();
        let span = traced::begin(&job);
        let sent = if self.clock.monotonic() > job.begin_by {
            Err(AttemptError::Outage(Outage::Down(Failure::Late)))
        } else {
            AssertUnwindSafe(self.send(&job, started_at, &permit).instrument(span.clone()))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| {
                    tracing::error!(mail.position = %job.delivery.position, "sending an email panicked");
                    Err(AttemptError::Retry(Failure::Internal))
                })
        };
        traced::end(&span, &sent);
        let ended_at = self.clock.now();
        Attempt {
            state: leave(&sent, true, &job, ended_at, fastrand::f64()),
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

    fn compose(&self, job: &Job, now: Timestamp) -> Result<Mail, Failure> {
        let event = job.event.as_ref().ok_or(Failure::EventMissing)?;
        let recipient = job.recipient.as_ref().map_err(Clone::clone)?;
        self.composer
            .compose(job.delivery.template, event, recipient, now)
    }
}

fn news(sent: &Result<(), AttemptError>) -> News {
    match sent {
        Ok(()) => News::Sent,
        Err(AttemptError::Retry(failure) | AttemptError::Fail(failure)) => match failure {
            // 421 ends the session, and at MAIL the server does not know the recipient yet.
            Failure::Smtp(step, SmtpFailure::Reply { code, .. } | SmtpFailure::Greylisted { code, .. })
                if *step > Step::Mail && *code != 421 =>
            {
                News::Dealt(*step)
            }
            // Includes failures on the client side that never reached the server.
            _ => News::None,
        },
        Err(AttemptError::Suspect(failure)) => News::Suspicion(Kind::Refused, failure.clone()),
        Err(AttemptError::Busy(failure)) => News::Suspicion(Kind::PutOff, failure.clone()),
        // Stops sending, so that no further emails end with an unknown outcome.
        Err(AttemptError::Unknown(failure)) => News::Outage(Outage::Down(failure.clone())),
        Err(AttemptError::Outage(outage)) => match outage {
            Outage::Down(Failure::Late | Failure::Smtp(_, SmtpFailure::GivenUp)) => News::None,
            outage => News::Outage(outage.clone()),
        },
    }
}

/// Returns the state of a delivery after an attempt. `blameless` means that the server's response applies to
/// all mail. `random`, from 0 to 1, varies the pause.
fn leave(sent: &Result<(), AttemptError>, blameless: bool, job: &Job, now: Timestamp, random: f64) -> State {
    let later = |error: String, at_least: Duration| match schedule::pause_after(job.delivery.attempts, random)
    {
        Some(pause) => State::Failed {
            due_at: now + pause.max(at_least),
            error,
        },
        None => State::Dead { error },
    };
    match sent {
        Ok(()) => State::Sent,
        Err(AttemptError::Fail(failure)) => State::Dead {
            error: failure.to_string(),
        },
        Err(AttemptError::Retry(failure)) => later(failure.to_string(), Duration::ZERO),
        Err(error @ (AttemptError::Outage(_) | AttemptError::Suspect(_) | AttemptError::Busy(_))) => {
            let error = error.to_string();
            if blameless {
                State::Untried { error }
            } else {
                later(error, Duration::ZERO)
            }
        }
        // A duplicate does less harm than a lost email, but the mailer risks at most one duplicate.
        Err(AttemptError::Unknown(failure)) if job.unknown_before => State::Dead {
            error: format!("{failure}; the email may have arrived, once or twice"),
        },
        Err(AttemptError::Unknown(failure)) => later(
            format!("{failure}; the email may have arrived"),
            schedule::PAUSE_AFTER_UNKNOWN,
        ),
    }
}

impl Attempt {
    /// Returns what the attempt reveals about the server.
    pub(super) fn news(&self) -> News {
        news(&self.sent)
    }

    /// Returns the attempt's identity for the breaker.
    pub(super) fn witness(&self) -> Witness {
        Witness {
            mail: (self.job.delivery.position, self.job.delivery.template),
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

    /// Sets the final state of the delivery. `blameless` means that the server's response applies to all
    /// mail.
    pub(super) fn settle(&mut self, blameless: bool) {
        self.state = leave(&self.sent, blameless, &self.job, self.ended_at, fastrand::f64());
    }

    /// Returns the history entry, or `None` if the attempt does not count.
    pub(super) fn history(&self) -> Option<Past<'_>> {
        let (outcome, error) = match &self.state {
            State::Sent => ("sent", None),
            State::Failed { error, .. } | State::Dead { error }
                if matches!(self.sent, Err(AttemptError::Unknown(_))) =>
            {
                ("unknown", Some(error.as_str()))
            }
            State::Failed { error, .. } => ("failed", Some(error.as_str())),
            State::Dead { error } => ("dead", Some(error.as_str())),
            State::Untried { .. } => return None,
        };
        Some(Past {
            delivery: &self.job.delivery,
            started_at: self.started_at,
            ended_at: self.ended_at,
            outcome,
            error,
        })
    }

    /// Returns the delivery and its lease, if the email was sent.
    pub(super) fn sent(&self) -> Option<(&Delivery, &str)> {
        (self.state == State::Sent).then_some((&self.job.delivery, &*self.job.lease))
    }

    /// Records the attempt. Returns `false` if its lease is lost.
    pub(super) async fn record(&self, transaction: &mut Transaction<'_>, now: Timestamp) -> Result<bool> {
        ledger::record(transaction, &self.job.delivery, &self.job.lease, &self.state, now).await
    }

    /// Logs and counts the attempt. `recorded` is false if its lease was lost.
    pub(super) fn report(&self, recorded: bool) {
        let delivery = &self.job.delivery;
        let outcome = self.history().map_or("untried", |past| past.outcome);
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
            State::Sent => tracing::debug!(
                mail.position = %position,
                mail.template = template,
                mail.attempt = attempt,
                "email sent"
            ),
            // The circuit breaker has already logged the cause for all mail.
            State::Untried { error } => tracing::debug!(
                mail.position = %position,
                mail.template = template,
                mail.error = error,
                "email not sent; waiting for the mail server"
            ),
            State::Failed { due_at, error } => tracing::info!(
                mail.position = %position,
                mail.template = template,
                mail.attempt = attempt,
                mail.due_at = %due_at,
                mail.error = error,
                "email not sent; it will be retried"
            ),
            State::Dead { error } => tracing::error!(
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
