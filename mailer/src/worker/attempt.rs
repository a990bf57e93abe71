//! One attempt to send one mail.

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
use crate::message::Composer;
use crate::metrics::METRICS;
use crate::schedule;
use crate::transport::{Permit, Timeouts, Transport};

/// What an attempt needs.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) composer: Arc<Composer>,
    pub(super) transport: Transport,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) timeouts: Timeouts,
}

/// An attempt that has ended.
#[derive(Debug)]
pub(super) struct Attempt {
    job: Job,
    sent: Result<(), AttemptError>,
    /// How the delivery is left; settled when the breaker has heard of it.
    state: State,
    started_at: Timestamp,
    ended_at: Timestamp,
}

impl Post {
    /// Makes the attempt, within the timeouts and as `permit` allows. Never panics.
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
                    tracing::error!(mail.position = %job.delivery.position, "an attempt to send a mail panicked");
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
        let (Some(event), Some(registration)) = (&job.event, &job.registration) else {
            return Err(AttemptError::Fail(Failure::EventMissing));
        };
        let mail = self
            .composer
            .compose(job.delivery.template, event, registration, now)
            .map_err(AttemptError::Fail)?;
        self.transport.send(&mail, self.timeouts, permit).await
    }
}

fn news(sent: &Result<(), AttemptError>) -> News {
    match sent {
        Ok(()) => News::Sent,
        Err(AttemptError::Retry(failure) | AttemptError::Fail(failure)) => match failure {
            // With 421 it goes away; and at MAIL it does not know yet whom the mail is to.
            Failure::Smtp(step, SmtpFailure::Reply { code, .. } | SmtpFailure::Greylisted { code, .. })
                if *step > Step::Mail && *code != 421 =>
            {
                News::Dealt(*step)
            }
            // Among them what was refused on our side, and never reached the server.
            _ => News::None,
        },
        Err(AttemptError::Suspect(failure)) => News::Suspicion(Kind::Refused, failure.clone()),
        Err(AttemptError::Busy(failure)) => News::Suspicion(Kind::PutOff, failure.clone()),
        // Not to hand it more mails of which nobody knows what becomes of them.
        Err(AttemptError::Unknown(failure)) => News::Outage(Outage::Down(failure.clone())),
        Err(AttemptError::Outage(outage)) => match outage {
            Outage::Down(Failure::Late | Failure::Smtp(_, SmtpFailure::GivenUp)) => News::None,
            outage => News::Outage(outage.clone()),
        },
    }
}

/// How to leave a delivery after an attempt. `blameless` says that what the server said to it is said to
/// every mail. `random`, from 0 to 1, draws the pause.
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
        // A duplicate does less harm than a mail that never comes; but two are enough for a program to risk.
        Err(AttemptError::Unknown(failure)) if job.unknown_before => State::Dead {
            error: format!("{failure}; it may have arrived, once or twice"),
        },
        Err(AttemptError::Unknown(failure)) => later(
            format!("{failure}; it may have arrived"),
            schedule::PAUSE_AFTER_UNKNOWN,
        ),
    }
}

impl Attempt {
    /// What it tells of the server.
    pub(super) fn news(&self) -> News {
        news(&self.sent)
    }

    /// Who tells it.
    pub(super) fn witness(&self) -> Witness {
        Witness {
            mail: (self.job.delivery.position, self.job.delivery.template),
            domain: Arc::clone(&self.job.domain),
            epoch: self.job.epoch,
        }
    }

    /// Whether it is the attempt at that delivery under that lease.
    pub(super) fn is_under(&self, delivery: &Delivery, lease: &str) -> bool {
        self.job.delivery == *delivery && *self.job.lease == *lease
    }

    /// When it ended.
    pub(super) const fn ended_at(&self) -> Timestamp {
        self.ended_at
    }

    /// Settles how the delivery is left: whether the server says to every mail what it said to this one.
    pub(super) fn settle(&mut self, blameless: bool) {
        self.state = leave(&self.sent, blameless, &self.job, self.ended_at, fastrand::f64());
    }

    /// What the history says of it; nothing if it was none.
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

    /// The delivery and its lease, if it was sent.
    pub(super) fn sent(&self) -> Option<(&Delivery, &str)> {
        (self.state == State::Sent).then_some((&self.job.delivery, &*self.job.lease))
    }

    /// Records it; whether it counted, which it does not if the lease has passed on.
    pub(super) async fn record(&self, transaction: &mut Transaction<'_>, now: Timestamp) -> Result<bool> {
        ledger::record(transaction, &self.job.delivery, &self.job.lease, &self.state, now).await
    }

    /// Logs it, once it is recorded.
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
                "an attempt ended after its lease; what another worker records counts"
            );
            return;
        }
        match &self.state {
            State::Sent => tracing::debug!(
                mail.position = %position,
                mail.template = template,
                mail.attempt = attempt,
                "a mail was sent"
            ),
            // The circuit breaker has said it for all.
            State::Untried { error } => tracing::debug!(
                mail.position = %position,
                mail.template = template,
                mail.error = error,
                "a mail waits for the server"
            ),
            State::Failed { due_at, error } => tracing::info!(
                mail.position = %position,
                mail.template = template,
                mail.attempt = attempt,
                mail.due_at = %due_at,
                mail.error = error,
                "a mail could not be sent; it will be tried again"
            ),
            State::Dead { error } => tracing::error!(
                mail.position = %position,
                mail.template = template,
                mail.attempt = attempt,
                mail.error = error,
                "a mail was given up"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
