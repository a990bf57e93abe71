//! Taking rows from the ledger.

use std::sync::Arc;
use std::time::Duration;

use cqrs_es::Aggregate;
use domain::{PATIENT_DELETED, PATIENT_REGISTERED, Patient};
use eventstore::{EventLog, Position, RecordedEvent, Result, Timestamp, Transaction};

use crate::ledger::attempts::{self, Past};
use crate::ledger::{self, Delivery};

/// A delivery under a lease, with the event that it tells of.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) lease: Arc<str>,
    /// Nothing if the log has none there: a damaged log.
    pub(super) event: Option<RecordedEvent>,
    /// Where name and address are; the same for the confirmation of a registration.
    pub(super) registration: Option<RecordedEvent>,
}

/// What was taken.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) jobs: Vec<Job>,
    /// What was due and is not to be sent any more.
    pub(super) cancelled: Vec<Delivery>,
    /// Whether more may be due.
    pub(super) more: bool,
}

/// Takes at most `limit` rows that are due, and leases them for `lease`. Those whose patient is deleted are cancelled
/// instead, whether or not the subscription has come to the deletion yet. What a worker has left unfinished goes into the
/// history. The jobs may begin once `transaction` is
/// committed.
pub(super) async fn take(
    transaction: &mut Transaction<'_>,
    limit: usize,
    now: Timestamp,
    lease: Duration,
) -> Result<Taken> {
    let due = ledger::due(transaction, limit, now).await?;
    if due.is_empty() {
        return Ok(Taken::default());
    }
    let more = due.len() == limit;
    let ids: Vec<_> = due
        .iter()
        .map(|delivery| delivery.aggregate_id.as_str())
        .collect();
    // On the transaction itself: a second connection could be one that another worker, waiting likewise, holds.
    let events = EventLog::events_of(transaction, Patient::TYPE, &ids, Position::BEGINNING).await?;
    let is_over = |delivery: &&Delivery| {
        delivery.template.ends_with_the_patient()
            && events.iter().any(|event| {
                event.event_type == PATIENT_DELETED && event.aggregate_id == delivery.aggregate_id
            })
    };
    let (cancelled, leased): (Vec<_>, Vec<_>) = due.iter().partition(is_over);
    let lost: Vec<_> = due
        .iter()
        .filter_map(|delivery| {
            delivery.left_at.map(|started_at| Past {
                delivery,
                started_at,
                ended_at: now,
                outcome: "lost",
                error: Some("its mailer ended before it recorded the outcome"),
            })
        })
        .collect();
    attempts::add(transaction, &lost).await?;
    let token: Arc<str> = format!("{:032x}", fastrand::u128(..)).into();
    ledger::cancel(transaction, &cancelled, now).await?;
    ledger::lease(transaction, &leased, &token, now + lease, now).await?;
    let jobs = leased
        .into_iter()
        .map(|delivery| Job {
            event: events
                .iter()
                .find(|event| event.position == delivery.position)
                .cloned(),
            registration: events
                .iter()
                .find(|event| {
                    event.aggregate_id == delivery.aggregate_id && event.event_type == PATIENT_REGISTERED
                })
                .cloned(),
            lease: Arc::clone(&token),
            delivery: Delivery {
                attempts: delivery.attempts + 1,
                ..delivery.clone()
            },
        })
        .collect();
    let cancelled = cancelled.into_iter().cloned().collect();
    Ok(Taken {
        jobs,
        cancelled,
        more,
    })
}
