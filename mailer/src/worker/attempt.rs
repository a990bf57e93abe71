//! One attempt to send one mail.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use eventstore::{Clock, Result, Timestamp, Transaction};
use futures::FutureExt;

use super::take::Job;
use crate::error::{AttemptError, Failure, Outage, SmtpFailure};
use crate::ledger::attempts::Past;
use crate::ledger::{self, Delivery, State};
use crate::message::Composer;
use crate::metrics::METRICS;
use crate::schedule;
use crate::transport::Transport;

/// What an attempt needs.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) composer: Composer,
    pub(super) transport: Transport,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) timeout: Duration,
}

/// An attempt that has ended.
#[derive(Debug)]
pub(super) struct Attempt {
    job: Job,
    state: State,
    news: News,
    started_at: Timestamp,
    ended_at: Timestamp,
}

/// What an attempt tells of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// It has dealt with a mail, whether it took it or not.
    Well,
    /// Nothing.
    None,
    /// It takes no mail.
    Outage(Outage),
}

impl Post {
    /// Makes the attempt, within the timeout, and says how to leave the delivery. Never panics.
    pub(super) async fn attempt(self: Arc<Self>, job: Job) -> Attempt {
        let started_at = self.clock.now();
        let sent = AssertUnwindSafe(self.send(&job, started_at))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| {
                tracing::error!(mail.position = %job.delivery.position, "an attempt to send a mail panicked");
                Err(AttemptError::Retry(Failure::Internal))
            });
        let ended_at = self.clock.now();
        Attempt {
            news: news(&sent),
            state: leave(sent, job.delivery.attempts, ended_at, fastrand::f64()),
            job,
            started_at,
            ended_at,
        }
    }

    async fn send(&self, job: &Job, now: Timestamp) -> Result<(), AttemptError> {
        let (Some(event), Some(registration)) = (&job.event, &job.registration) else {
            return Err(AttemptError::Fail(Failure::EventMissing));
        };
        let mail = self
            .composer
            .compose(job.delivery.template, event, registration, now)
            .map_err(AttemptError::Fail)?;
        self.transport.send(&mail, self.timeout).await
    }
}

fn news(sent: &Result<(), AttemptError>) -> News {
    match sent {
        Ok(())
        | Err(
            AttemptError::Retry(Failure::Smtp(_, SmtpFailure::Reply { .. }))
            | AttemptError::Fail(Failure::Smtp(..)),
        ) => News::Well,
        Err(AttemptError::Outage(outage)) => News::Outage(outage.clone()),
        Err(AttemptError::Retry(_) | AttemptError::Fail(_)) => News::None,
    }
}

/// How to leave a delivery after its attempt of that number, from 1. `random`, from 0 to 1, draws the pause.
fn leave(sent: Result<(), AttemptError>, attempts: u32, now: Timestamp, random: f64) -> State {
    match sent {
        Ok(()) => State::Sent,
        Err(AttemptError::Fail(failure)) => State::Dead {
            error: failure.to_string(),
        },
        Err(AttemptError::Outage(outage)) => State::Untried {
            error: outage.to_string(),
        },
        Err(AttemptError::Retry(failure)) => {
            let error = failure.to_string();
            match schedule::pause_after(attempts, random) {
                Some(pause) => State::Failed {
                    due_at: now + pause,
                    error,
                },
                None => State::Dead { error },
            }
        }
    }
}

impl Attempt {
    /// What it tells of the server.
    pub(super) const fn news(&self) -> &News {
        &self.news
    }

    /// When it ended.
    pub(super) const fn ended_at(&self) -> Timestamp {
        self.ended_at
    }

    /// What the history says of it; nothing if it was none.
    pub(super) fn history(&self) -> Option<Past<'_>> {
        let (outcome, error) = match &self.state {
            State::Sent => ("sent", None),
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
