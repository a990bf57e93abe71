//! Takes rows from the ledger.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{RecordedEvent, Result, Timestamp, Transaction};

use super::breaker::{Breaker, Try};
use super::histories::Histories;
use super::suspects::registrable;
use crate::error::Failure;
use crate::history::Recipient;
use crate::ledger::attempts::{self, Past};
use crate::ledger::{self, Delivery, Order};

/// Number of due deliveries from which one is chosen to probe a server that rejects or defers mail.
const CHOICE: usize = 64;

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
    /// `None` if the log has no event at that position, which means that the log is damaged.
    pub(super) event: Option<RecordedEvent>,
    /// The recipient of the email, or the reason why the recipient is unknown.
    pub(super) recipient: Result<Recipient, Failure>,
    /// Domain of the recipient, from [`registrable`]. Personal data.
    pub(super) domain: Arc<str>,
}

/// Result of [`take`].
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) jobs: Vec<Job>,
    /// Due deliveries that were cancelled instead of leased.
    pub(super) cancelled: Vec<Delivery>,
    /// Whether more deliveries may be due.
    pub(super) more: bool,
}

/// Times and epoch for new leases.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) now: Timestamp,
    /// Duration of the lease, from `now`.
    pub(super) lease: Duration,
    /// Current monotonic time.
    pub(super) monotonic: Duration,
    pub(super) begin_by: Duration,
    pub(super) epoch: u64,
}

/// Takes and leases at most `limit` due rows. Rows whose patient was deleted are cancelled instead, even if
/// the subscription has not processed the deletion yet. Attempts that a worker left unfinished are added to
/// the history. The jobs may begin when `transaction` is committed.
///
/// While `breaker` wants emails to other domains, one row is chosen from the first or the last due rows.
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
        // Flooding one end of the queue does not affect the other end.
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
    // Reads on the transaction's own connection. Waiting for a second connection could deadlock with other
    // workers that also wait.
    let histories = Histories::read(transaction, &due).await?;
    let is_over =
        |delivery: &&Delivery| delivery.template.ends_with_the_patient() && histories.is_over(delivery);
    let domain = |delivery: &Delivery| {
        let recipient = histories.recipient(delivery);
        registrable(recipient.as_ref().map_or("", |recipient| &recipient.email))
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
                error: Some("no outcome was recorded before the lease expired; the email may have arrived"),
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
            event: histories.event(delivery).cloned(),
            recipient: histories.recipient(delivery),
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
