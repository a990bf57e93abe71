//! The ledger as the API and `--json` show it.

use std::sync::Arc;

use api::mail::{Answer, Attempt, Counts, Delivery, MailDesk, MailStatus, Mailer, Retried, Shown};
use eventstore::{Clock, Database, Position};
use futures::{FutureExt, TryFutureExt};
use mailer::{AttemptRecord, DeliveryRecord, DeliveryState, Ledger, LedgerStatus, WorkerStatus};

/// The ledger in `database`, for the API.
pub(crate) fn desk(database: &Database, clock: Arc<dyn Clock>) -> Arc<dyn MailDesk> {
    Arc::new(Desk {
        ledger: Ledger::new(database.clone()),
        clock,
    })
}

#[derive(Debug)]
struct Desk {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
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
