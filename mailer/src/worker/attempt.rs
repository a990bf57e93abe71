//! One attempt to send one mail.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use eventstore::{Clock, Result, Timestamp, Transaction};
use futures::FutureExt;

use super::take::Job;
use crate::error::{AttemptError, Failure};
use crate::ledger::{self, State};
use crate::message::Composer;
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
}

impl Post {
    /// Makes the attempt, within the timeout, and says how to leave the delivery. Never panics.
    pub(super) async fn attempt(self: Arc<Self>, job: Job) -> Attempt {
        let sent = tokio::time::timeout(self.timeout, self.send(&job));
        let sent = AssertUnwindSafe(sent).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(mail.position = %job.delivery.position, "an attempt to send a mail panicked");
            Ok(Err(AttemptError::Retry(Failure::Internal)))
        });
        let sent = sent.unwrap_or(Err(AttemptError::Retry(Failure::Timeout)));
        let state = leave(sent, job.delivery.attempts, self.clock.now(), fastrand::f64());
        Attempt { job, state }
    }

    async fn send(&self, job: &Job) -> Result<(), AttemptError> {
        let event = job
            .event
            .as_ref()
            .ok_or(AttemptError::Fail(Failure::EventMissing))?;
        let mail = self
            .composer
            .compose(job.delivery.template, event, self.clock.now())
            .map_err(AttemptError::Fail)?;
        self.transport.send(&mail).await
    }
}

/// How to leave a delivery after its attempt of that number, from 1. `random`, from 0 to 1, draws the pause.
fn leave(sent: Result<(), AttemptError>, attempts: u32, now: Timestamp, random: f64) -> State {
    match sent {
        Ok(()) => State::Sent,
        Err(AttemptError::Fail(failure)) => State::Dead {
            error: failure.to_string(),
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
    /// Records it; whether it counted, which it does not if the lease has passed on.
    pub(super) async fn record(&self, transaction: &mut Transaction<'_>, now: Timestamp) -> Result<bool> {
        ledger::record(transaction, &self.job.delivery, &self.job.lease, &self.state, now).await
    }

    /// Logs it, once it is recorded.
    pub(super) fn report(&self, recorded: bool) {
        let delivery = &self.job.delivery;
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
