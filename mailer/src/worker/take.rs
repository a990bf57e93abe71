//! Taking rows from the ledger.

use std::sync::Arc;
use std::time::Duration;

use cqrs_es::Aggregate;
use domain::{PATIENT_DELETED, PATIENT_REGISTERED, Patient};
use eventstore::{EventLog, Position, RecordedEvent, Result, Timestamp, Transaction};

use super::breaker::{Breaker, Try};
use super::suspects::registrable;
use crate::ledger::attempts::{self, Past};
use crate::ledger::{self, Delivery, Order};

/// Of how many due deliveries one is chosen to ask a server with that refuses mails.
const CHOICE: usize = 64;

/// A delivery under a lease, with the event that it tells of.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) lease: Arc<str>,
    /// When it must have begun, by the clock that is never set; or its lease could run out before it has
    /// ended.
    pub(super) begin_by: Duration,
    /// The breaker's epoch in which it begins.
    pub(super) epoch: u64,
    /// Whether an earlier attempt may have sent the mail, though no answer came.
    pub(super) unknown_before: bool,
    /// Nothing if the log has none there: a damaged log.
    pub(super) event: Option<RecordedEvent>,
    /// Where name and address are; the same for the confirmation of a registration.
    pub(super) registration: Option<RecordedEvent>,
    /// The domain of the recipient, as [`registrable`] has it; personal data.
    pub(super) domain: Arc<str>,
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

/// For how long rows are taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) now: Timestamp,
    /// From `now`.
    pub(super) lease: Duration,
    /// Now, by the clock that is never set.
    pub(super) monotonic: Duration,
    pub(super) begin_by: Duration,
    pub(super) epoch: u64,
}

/// Takes at most `limit` rows that are due, and leases them. Those whose patient is deleted are cancelled
/// instead, whether or not the subscription has come to the deletion yet. What a worker has left unfinished
/// goes into the history. The jobs may begin once `transaction` is committed.
///
/// While `breaker` wants mails to other domains, one is chosen from among the first or the last that are due.
pub(super) async fn take(
    transaction: &mut Transaction<'_>,
    limit: usize,
    breaker: &Breaker,
    terms: Terms,
) -> Result<Taken> {
    let now = terms.now;
    let wanted = breaker.may_try(terms.monotonic);
    let chooses = matches!(wanted, Try::PreferOthers | Try::OnlyOthers);
    let (rows, order) = if chooses {
        // Whoever fills one end of the queue does not fill the other.
        let order = if fastrand::bool() {
            Order::FirstDue
        } else {
            Order::LastDue
        };
        (CHOICE, order)
    } else {
        (limit, Order::FirstDue)
    };
    let due = ledger::due(transaction, rows, now, order).await?;
    if due.is_empty() {
        return Ok(Taken::default());
    }
    let more = !chooses && due.len() == limit;
    let ids: Vec<_> = due
        .iter()
        .map(|delivery| delivery.aggregate_id.as_str())
        .collect();
    // On the transaction itself: a second connection could be one that another worker, waiting likewise,
    // holds.
    let events = EventLog::events_of(transaction, Patient::TYPE, &ids, Position::BEGINNING).await?;
    let is_over = |delivery: &&Delivery| {
        delivery.template.ends_with_the_patient()
            && events.iter().any(|event| {
                event.event_type == PATIENT_DELETED && event.aggregate_id == delivery.aggregate_id
            })
    };
    let registration = |delivery: &Delivery| {
        events.iter().find(|event| {
            event.aggregate_id == delivery.aggregate_id && event.event_type == PATIENT_REGISTERED
        })
    };
    let domain = |delivery: &Delivery| {
        let email = registration(delivery).and_then(|event| event.payload.get("email"));
        registrable(email.and_then(|email| email.as_str()).unwrap_or_default())
    };
    let (cancelled, mut leased): (Vec<_>, Vec<_>) = due.iter().partition(is_over);
    if chooses {
        let other = leased
            .iter()
            .position(|delivery| !breaker.is_suspect(&domain(delivery)));
        let any =
            (wanted == Try::PreferOthers && !leased.is_empty()).then(|| fastrand::usize(..leased.len()));
        leased = other.or(any).map(|chosen| leased[chosen]).into_iter().collect();
    }
    let lost: Vec<_> = leased
        .iter()
        .chain(&cancelled)
        .filter_map(|delivery| {
            delivery.left_at.map(|started_at| Past {
                delivery,
                started_at,
                ended_at: now,
                outcome: "lost",
                error: Some("no outcome was recorded before the lease ran out; it may have arrived"),
            })
        })
        .collect();
    attempts::add(transaction, &lost).await?;
    let unknown = attempts::unknown(transaction, &leased).await?;
    let token: Arc<str> = format!("{:032x}", fastrand::u128(..)).into();
    ledger::cancel(transaction, &cancelled, now).await?;
    ledger::lease(transaction, &leased, &token, now + terms.lease, now).await?;
    let jobs = leased
        .into_iter()
        .map(|delivery| Job {
            event: events
                .iter()
                .find(|event| event.position == delivery.position)
                .cloned(),
            registration: registration(delivery).cloned(),
            domain: domain(delivery),
            lease: Arc::clone(&token),
            begin_by: terms.begin_by,
            epoch: terms.epoch,
            unknown_before: unknown.iter().any(|(position, template)| {
                *position == delivery.position && template == delivery.template.name()
            }),
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
