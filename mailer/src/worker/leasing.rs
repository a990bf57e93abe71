//! Leasing of due deliveries.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{RecordedEvent, Result, Transaction};

use super::breaker::{Breaker, Probe};
use super::now::Now;
use super::recipients::Recipients;
use super::registered_domain::registered_domain;
use crate::error::DeliveryFailure;
use crate::ledger::attempts::{self, AttemptRow};
use crate::ledger::{self, Delivery, Order, leasing};
use crate::recipient::Recipient;

/// Number of due deliveries from which one is chosen to probe a server that rejects or defers mail.
const PROBE_CANDIDATES: usize = 64;

/// A leased delivery and the event that caused it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) lease: Arc<str>,
    /// Deadline for beginning the attempt, in monotonic time. After it, the lease could expire during the
    /// attempt.
    pub(super) begin_by: Duration,
    /// Breaker's epoch at the start of the attempt.
    pub(super) epoch: u64,
    /// Whether an earlier attempt with an unknown outcome may have sent the email.
    pub(super) unknown_before: bool,
    /// The event that caused the email. `None` if the log has no event at the delivery's position, which
    /// means that the log is damaged.
    pub(super) event: Option<RecordedEvent>,
    /// The recipient of the email, or the reason why the recipient is unknown.
    pub(super) recipient: Result<Recipient, DeliveryFailure>,
    /// Domain of the recipient, from [`registered_domain`]. Personal data.
    pub(super) domain: Arc<str>,
}

/// Result of [`lease_due`].
#[derive(Debug, Default)]
pub(super) struct Leased {
    pub(super) jobs: Vec<Job>,
    /// Due deliveries that were cancelled instead of leased.
    pub(super) cancelled: Vec<Delivery>,
    /// Whether more deliveries may be due.
    pub(super) more: bool,
}

/// Conditions of new leases.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeaseTerms {
    pub(super) now: Now,
    /// Duration of the lease.
    pub(super) duration: Duration,
    /// Time in which the attempt must begin.
    pub(super) grace: Duration,
}

/// Leases at most `limit` due deliveries. [Some](Recipients::is_cancelled) are cancelled instead, even if the
/// subscription has not processed the deletion or erasure of their patient yet. Attempts that a worker left
/// unfinished are added to the history. The jobs may begin when `transaction` is committed.
///
/// While `breaker` prefers emails to unaffected domains, one delivery is chosen from the first or the last
/// due deliveries.
pub(super) async fn lease_due(
    transaction: &mut Transaction<'_>,
    limit: usize,
    breaker: &Breaker,
    terms: LeaseTerms,
) -> Result<Leased> {
    let now = terms.now.wall;
    let probe = breaker.allowed_probe(terms.now.monotonic);
    let chooses = matches!(probe, Probe::PreferUnaffected | Probe::OnlyUnaffected);
    let (rows, order) = if chooses {
        // Flooding one end of the queue does not affect the other end.
        let order = if fastrand::bool() {
            Order::FirstDue
        } else {
            Order::LastDue
        };
        (PROBE_CANDIDATES, order)
    } else {
        (limit, Order::FirstDue)
    };
    let due = ledger::due(transaction, rows, now, order).await?;
    if due.is_empty() {
        return Ok(Leased::default());
    }
    let more = !chooses && due.len() == limit;
    // Reads on the transaction's own connection. Waiting for a second connection could deadlock with other
    // workers that also wait.
    let recipients = Recipients::read(transaction, &due).await?;
    let is_cancelled = |delivery: &&Delivery| recipients.is_cancelled(delivery);
    let domain = |delivery: &Delivery| {
        let recipient = recipients.recipient(delivery);
        registered_domain(recipient.as_ref().map_or("", |recipient| &recipient.email))
    };
    let (cancelled, mut leased): (Vec<_>, Vec<_>) = due.iter().partition(is_cancelled);
    if chooses {
        let unaffected = leased
            .iter()
            .position(|delivery| !breaker.is_affected(&domain(delivery)));
        let any =
            (probe == Probe::PreferUnaffected && !leased.is_empty()).then(|| fastrand::usize(..leased.len()));
        leased = unaffected
            .or(any)
            .map(|chosen| leased[chosen])
            .into_iter()
            .collect();
    }
    let token: Arc<str> = format!("{:032x}", fastrand::u128(..)).into();
    let cancelled = leasing::cancel(transaction, &cancelled, now).await?;
    let leased = leasing::lease(transaction, &leased, &token, now + terms.duration, now).await?;
    // If other workers have changed all rows, another immediate search would probably find the same rows.
    let more = more && !(leased.is_empty() && cancelled.is_empty());
    let lost: Vec<_> = leased
        .iter()
        .chain(&cancelled)
        .filter_map(|delivery| {
            delivery.lease_began_at.map(|started_at| AttemptRow {
                delivery,
                started_at,
                ended_at: now,
                outcome: "lost",
                error: Some("no outcome was recorded before the lease expired; the email may have arrived"),
            })
        })
        .collect();
    attempts::add(transaction, &lost).await?;
    let unknown = attempts::unknown(transaction, &leased).await?;
    let jobs = leased
        .into_iter()
        .map(|delivery| Job {
            event: recipients.event(delivery).cloned(),
            recipient: recipients.recipient(delivery),
            domain: domain(delivery),
            lease: Arc::clone(&token),
            begin_by: terms.now.monotonic + terms.grace,
            epoch: breaker.epoch(),
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
    Ok(Leased {
        jobs,
        cancelled,
        more,
    })
}
