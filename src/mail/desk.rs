//! The ledger as the API and `--json` show it.

use std::fmt;
use std::sync::Arc;

use api::mail::{
    Answer, Attempt, Counts, Delivery, DeskError, MailDesk, MailStatus, MailTrial, Mailer, Retried, Shown,
    TrialStep,
};
use eventstore::{Clock, Database, Position};
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use mailer::{
    AttemptRecord, DeliveryRecord, DeliveryState, Failure, Ledger, LedgerStatus, Step, Template, Timeouts,
    Trial, Tried, WorkerStatus,
};

use super::{composer, transport};
use crate::settings::Settings;

/// The ledger in `database`, for the API.
pub(crate) fn desk(settings: &Settings, database: &Database, clock: Arc<dyn Clock>) -> Arc<dyn MailDesk> {
    Arc::new(Desk {
        ledger: Ledger::new(database.clone()),
        clock,
        settings: settings.clone(),
    })
}

struct Desk {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    settings: Settings,
}

impl fmt::Debug for Desk {
    /// The settings have passwords.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl MailDesk for Desk {
    fn status(&self) -> Answer<'_, MailStatus> {
        self.ledger.status(self.clock.now()).map_ok(status).boxed()
    }

    fn list(&self, state: Option<&'static str>, after: Position, limit: u32) -> Answer<'_, Vec<Delivery>> {
        let state = state.and_then(DeliveryState::named);
        let deliveries = self.ledger.list(state, after, limit);
        deliveries
            .map_ok(|all| all.into_iter().map(delivery).collect())
            .boxed()
    }

    fn show(&self, id: Position) -> Answer<'_, Shown> {
        self.ledger.at(id).map_ok(shown).boxed()
    }

    fn retry(&self, id: Position) -> Answer<'_, Retried> {
        let retried = self.ledger.retry(id, self.clock.now());
        retried
            .map_ok(|retried| match retried {
                mailer::Retried::Due => Retried::Due,
                mailer::Retried::Not(state) => Retried::Not(state.name()),
                mailer::Retried::Unknown => Retried::Unknown,
            })
            .boxed()
    }

    fn retry_dead(&self) -> Answer<'_, u64> {
        self.ledger.retry_dead(self.clock.now()).boxed()
    }

    fn preview(&self, mail: &'static str, languages: Option<&'static str>) -> Result<String, DeskError> {
        let template = Template::named(mail).ok_or_else(|| DeskError::Refused("is no mail".to_owned()))?;
        let composer = composer(&self.settings, languages).map_err(unusable)?;
        let mail = composer.preview(template, self.clock.now());
        Ok(mail
            .map_err(|failure| DeskError::Settings(failure.to_string()))?
            .content()
            .to_owned())
    }

    fn test(&self, to: String) -> BoxFuture<'_, Result<MailTrial, DeskError>> {
        async move {
            let composer = composer(&self.settings, None).map_err(unusable)?;
            let mail = composer
                .test(&to, self.clock.now())
                .map_err(|failure| match failure {
                    Failure::Address => {
                        DeskError::Refused("must be an address that mail can be sent to".to_owned())
                    }
                    failure => DeskError::Settings(failure.to_string()),
                })?;
            let transport = transport(&self.settings).map_err(unusable)?;
            // Both within the time of the request: somebody waits for the answer.
            let each = self.settings.request_timeout * 2 / 5;
            let timeouts = self.settings.mail_timeouts();
            let timeouts = Timeouts {
                send: timeouts.send.min(each),
                answer: timeouts.answer.min(each),
            };
            let place = transport.describe();
            match transport.try_out(&mail, timeouts).await {
                Ok(tried) => Ok(trial(place, tried)),
                Err(error) => Err(DeskError::Settings(error.to_string())),
            }
        }
        .boxed()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unusable(error: anyhow::Error) -> DeskError {
    DeskError::Settings(crate::output::causes(&error))
}

pub(super) fn trial(server: String, trial: Trial) -> MailTrial {
    let step = |(step, tried): &(Step, Tried)| {
        let (result, error) = match tried {
            Tried::Passed => ("passed", None),
            Tried::Failed(failure) => ("failed", Some(failure.to_string())),
            Tried::NotOffered => ("not offered", None),
            Tried::NotReached => ("not reached", None),
        };
        TrialStep {
            step: step.to_string(),
            result,
            error,
        }
    };
    MailTrial {
        server,
        sent: trial.passed(),
        steps: trial.steps.iter().map(step).collect(),
        said: trial.said,
        advice: trial.advice,
    }
}

pub(super) fn status(status: LedgerStatus) -> MailStatus {
    let mut mails = Counts::default();
    for (state, count) in status.counts {
        *match state {
            DeliveryState::Pending => &mut mails.pending,
            DeliveryState::Sending => &mut mails.sending,
            DeliveryState::Sent => &mut mails.sent,
            DeliveryState::Failed => &mut mails.failed,
            DeliveryState::Dead => &mut mails.dead,
            DeliveryState::Cancelled => &mut mails.cancelled,
        } = count;
    }
    MailStatus {
        mails,
        oldest_waiting: status.oldest_waiting,
        mailers: status.workers.into_iter().map(worker).collect(),
    }
}

fn worker(worker: WorkerStatus) -> Mailer {
    Mailer {
        name: worker.owner,
        server: worker.place,
        state: worker.standing.name(),
        error: worker.error,
        since: worker.since,
        seen_at: worker.seen_at,
    }
}

pub(super) fn delivery(record: DeliveryRecord) -> Delivery {
    Delivery {
        id: record.position,
        mail: record.template,
        patient_id: record.aggregate_id,
        state: record.state,
        attempts: record.attempts,
        next: record.due_at,
        last_error: record.last_error,
        created_at: record.created_at,
        updated_at: record.updated_at,
    }
}

pub(super) fn shown((deliveries, attempts): (Vec<DeliveryRecord>, Vec<AttemptRecord>)) -> Shown {
    Shown {
        mails: deliveries.into_iter().map(delivery).collect(),
        attempts: attempts.into_iter().map(attempt).collect(),
    }
}

fn attempt(record: AttemptRecord) -> Attempt {
    Attempt {
        id: record.position,
        mail: record.template,
        attempt: record.attempt,
        started_at: record.started_at,
        ended_at: record.ended_at,
        outcome: record.outcome,
        error: record.error,
    }
}
