//! The ledger in the format of the API and of `--json`.

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
    AttemptRecord, Composer, DeliveryRecord, DeliveryState, Failure, Languages, LanguagesError, Ledger,
    LedgerStatus, Step, Template, Timeouts, Transport, Trial, Tried, WorkerStatus,
};

use super::Parts;
use crate::settings::Settings;

/// Returns the ledger in `database` for the API, with the composer and transport of this process, or the
/// reason why they cannot be used.
pub(crate) fn desk(
    settings: &Settings,
    parts: anyhow::Result<Parts>,
    database: &Database,
    clock: Arc<dyn Clock>,
) -> Arc<dyn MailDesk> {
    let used = parts.and_then(|parts| {
        let transport = parts.transport(settings)?;
        Ok((parts.composer, transport))
    });
    Arc::new(Desk {
        ledger: Ledger::new(database.clone()),
        clock,
        used: used.map_err(|error| DeskError::Settings(crate::output::causes(&error))),
        // The total must fit into the timeout of a request, because a client waits for the response.
        timeouts: settings
            .mail_timeouts()
            .each_at_most(settings.request_timeout * 3 / 10),
    })
}

struct Desk {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    used: Result<(Arc<Composer>, Transport), DeskError>,
    timeouts: Timeouts,
}

impl Desk {
    fn used(&self) -> Result<&(Arc<Composer>, Transport), DeskError> {
        self.used.as_ref().map_err(Clone::clone)
    }
}

impl fmt::Debug for Desk {
    /// Omits the transport because it contains a password.
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
        let template =
            Template::named(mail).ok_or_else(|| DeskError::Refused("is not a kind of mail".to_owned()))?;
        let languages: Option<Languages> = languages
            .map(str::parse)
            .transpose()
            .map_err(|error: LanguagesError| DeskError::Refused(error.to_string()))?;
        let (composer, _) = self.used()?;
        let mail = composer.preview(template, languages.as_ref(), self.clock.now());
        Ok(mail
            .map_err(|failure| DeskError::Settings(failure.to_string()))?
            .content()
            .to_owned())
    }

    fn test(&self, to: String) -> BoxFuture<'_, Result<MailTrial, DeskError>> {
        async move {
            let (composer, transport) = self.used()?;
            let mail = composer
                .test(&to, self.clock.now())
                .map_err(|failure| match failure {
                    Failure::Address => {
                        DeskError::Refused("must be an address that mail can be sent to".to_owned())
                    }
                    failure => DeskError::Settings(failure.to_string()),
                })?;
            let tried = transport.try_out(&mail, self.timeouts).await;
            transport.close().await;
            match tried {
                Ok(tried) => Ok(trial(transport.describe(), tried)),
                Err(error) => Err(DeskError::Settings(error.to_string())),
            }
        }
        .boxed()
    }
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
        oldest_due: status.oldest_due,
        due_too_late: status.ahead,
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
