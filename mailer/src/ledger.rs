//! The delivery ledger. `mail_deliveries` holds the deliveries, `mail_attempts` every finished attempt, and
//! `mail_workers` the status of each worker. This module and its submodules contain all SQL of this crate.
//!
//! ```text
//! pending ── lease ─> sending ──> sent
//!    │ ^               │  │ ├───> dead ── manual retry ──> pending
//!    │ └─ server down ─┼──┘ └───> failed ── lease ──> sending …
//!    │   ┌── lease ────┘           │
//!    │   └ when its lease has expired
//!    └──────────────> cancelled <──┘
//! ```
//!
//! `due_at` is the time from which a row may be leased: the current time, the end of a pause, or the end of
//! its worker's lease. A worker that leases a row writes a new `lease` to it, if the row is still as the
//! worker has read it. The outcome can be recorded only with that lease.

use eventstore::database::{in_list, padded};
use eventstore::{Dialect, Position, RecordedEvent, Result, Session, Timestamp, Transaction};

use crate::template::Template;

pub(crate) mod attempts;
pub(crate) mod due_too_late;
pub(crate) mod finished;
pub(crate) mod inspect;
pub(crate) mod leasing;
pub(crate) mod records;
pub(crate) mod retry;
pub(crate) mod workers;

/// Unique key of a delivery.
pub(crate) type DeliveryKey = (Position, Template);

/// A delivery that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) position: Position,
    pub(crate) template: Template,
    pub(crate) aggregate_id: String,
    /// Number of attempts so far.
    pub(crate) attempts: u32,
    /// Time since which the delivery has been due.
    pub(crate) due_at: Timestamp,
    /// If the delivery has an expired lease, the time when that lease began.
    pub(crate) lease_began_at: Option<Timestamp>,
    /// The expired lease of the delivery, if it has one.
    pub(crate) expired_lease: Option<String>,
}

impl Delivery {
    pub(crate) const fn key(&self) -> DeliveryKey {
        (self.position, self.template)
    }
}

/// Order in which due rows are leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Rows with the earliest due time first.
    FirstDue,
    /// Rows with the latest due time first.
    LastDue,
}

/// State of a delivery after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StateAfterAttempt {
    /// The email was sent.
    Sent,
    /// The attempt failed and will be retried.
    Failed {
        /// Time of the next attempt.
        due_at: Timestamp,
        /// Reason, without personal data, at most 500 characters.
        error: String,
    },
    /// The attempt failed and will not be retried.
    Dead {
        /// Reason, without personal data, at most 500 characters.
        error: String,
    },
    /// The attempt does not count, because no mail could be sent. The delivery keeps its due time, as if it
    /// had not been leased, to show how long it has been waiting.
    Untried {
        /// Reason, without personal data, at most 500 characters.
        error: String,
    },
}

/// Adds a delivery for each of `events`, due immediately. Existing deliveries are unchanged.
pub(crate) async fn add(
    transaction: &mut Transaction<'_>,
    template: Template,
    events: &[&RecordedEvent],
    now: Timestamp,
) -> Result<()> {
    let insert = format!(
        "{} INTO mail_deliveries (position, template, aggregate_id, state, due_at, created_at, updated_at) VALUES",
        transaction.dialect().insert_ignore()
    );
    let rows = events.iter().map(|event| {
        [
            event.position.into(),
            template.name().into(),
            (&event.aggregate_id).into(),
            "pending".into(),
            now.into(),
            now.into(),
            now.into(),
        ]
    });
    transaction.insert(&insert, rows).await
}

/// Cancels the waiting deliveries of these aggregates with the templates that `with` accepts. Deliveries that
/// are being sent are unchanged.
pub(crate) async fn cancel_for(
    transaction: &mut Transaction<'_>,
    aggregate_ids: &[&str],
    with: impl Fn(Template) -> bool,
    now: Timestamp,
) -> Result<()> {
    if aggregate_ids.is_empty() {
        return Ok(());
    }
    let templates = names_of(with);
    let sql = format!(
        "UPDATE mail_deliveries SET state = 'cancelled', due_at = NULL, updated_at = ? \
         WHERE aggregate_id IN ({}) AND state IN ('pending', 'failed') AND template IN ({})",
        in_list(aggregate_ids.len()),
        in_list(templates.len())
    );
    transaction
        .query(&sql)
        .bind(now)
        .bind_all(padded(aggregate_ids))
        .bind_all(padded(&templates))
        .execute()
        .await?;
    Ok(())
}

/// Returns at most `limit` due rows in the given order. Skips rows that another transaction has locked, and
/// templates that only a newer version of the program knows. The lock only avoids wasted work: [`leasing`]
/// compares each row with what was read here, so that it is correct without the lock.
pub(crate) async fn due(
    transaction: &mut Transaction<'_>,
    limit: usize,
    now: Timestamp,
    order: Order,
) -> Result<Vec<Delivery>> {
    let templates = names_of(|_| true);
    let sql = due_statement(transaction.dialect(), templates.len(), order);
    let rows = transaction
        .query(&sql)
        .bind(now)
        .bind_all(padded(&templates))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all()
        .await?;
    let mut deliveries = Vec::with_capacity(rows.len());
    for row in &rows {
        let Some(template) = Template::named(&row.get::<String, _>(1)?) else {
            continue;
        };
        deliveries.push(Delivery {
            position: row.get(0)?,
            template,
            aggregate_id: row.get(2)?,
            attempts: u32::try_from(row.get::<i32, _>(3)?).unwrap_or(0),
            due_at: row.get(6)?,
            lease_began_at: if row.get::<String, _>(4)? == "sending" {
                Some(row.get(5)?)
            } else {
                None
            },
            expired_lease: row.get(7)?,
        });
    }
    Ok(deliveries)
}

/// Returns the query of [`due`]. It reads the index on `due_at` in order and stops at the limit, regardless
/// of the number of due rows.
fn due_statement(dialect: Dialect, templates: usize, order: Order) -> String {
    format!(
        "SELECT position, template, aggregate_id, attempts, state, updated_at, due_at, lease FROM mail_deliveries \
         WHERE due_at <= ? AND template IN ({}) ORDER BY due_at{} LIMIT ?{}",
        in_list(templates),
        match order {
            Order::FirstDue => "",
            Order::LastDue => " DESC",
        },
        dialect.for_update_skip_locked()
    )
}

/// Extends a lease to `until`. Returns `false` if the lease is lost.
pub(crate) async fn renew(
    session: &mut impl Session,
    delivery: &Delivery,
    lease: &str,
    until: Timestamp,
) -> Result<bool> {
    let renewed = session
        .query(
            "UPDATE mail_deliveries SET due_at = ? WHERE position = ? AND template = ? AND lease = ? \
             AND state = 'sending'",
        )
        .bind(until)
        .bind(delivery.position)
        .bind(delivery.template.name())
        .bind(lease)
        .execute()
        .await?;
    Ok(renewed == 1)
}

/// Records the outcome of an attempt under `lease`. Returns `false`, and changes nothing, if the lease is
/// lost.
pub(crate) async fn record(
    transaction: &mut Transaction<'_>,
    delivery: &Delivery,
    lease: &str,
    state: &StateAfterAttempt,
    now: Timestamp,
) -> Result<bool> {
    let retried = delivery.attempts > 1;
    let (state, due_at, error, untried) = match state {
        StateAfterAttempt::Sent => ("sent", None, None, 0),
        StateAfterAttempt::Failed { due_at, error } => ("failed", Some(*due_at), Some(error.as_str()), 0),
        StateAfterAttempt::Dead { error } => ("dead", None, Some(error.as_str()), 0),
        StateAfterAttempt::Untried { error } if retried => {
            ("failed", Some(delivery.due_at.min(now)), Some(error.as_str()), 1)
        }
        StateAfterAttempt::Untried { error } => {
            ("pending", Some(delivery.due_at.min(now)), Some(error.as_str()), 1)
        }
    };
    let recorded = transaction
        .query(
            "UPDATE mail_deliveries SET state = ?, due_at = ?, lease = NULL, attempts = attempts - ?, last_error = ?, \
             updated_at = ? WHERE position = ? AND template = ? AND lease = ?",
        )
        .bind(state)
        .bind(due_at)
        .bind(untried)
        .bind(error)
        .bind(now)
        .bind(delivery.position)
        .bind(delivery.template.name())
        .bind(lease)
        .execute()
        .await?;
    Ok(recorded == 1)
}

/// Records in one statement that emails were sent, each under its lease. Returns the number of rows changed;
/// rows whose lease is lost are unchanged.
pub(crate) async fn record_sent(
    transaction: &mut Transaction<'_>,
    sent: &[(&Delivery, &str)],
    now: Timestamp,
) -> Result<u64> {
    if sent.is_empty() {
        return Ok(0);
    }
    let sql = format!(
        "UPDATE mail_deliveries SET state = 'sent', due_at = NULL, lease = NULL, last_error = NULL, updated_at = ? \
         WHERE {}",
        any_of("position = ? AND template = ? AND lease = ?", sent.len())
    );
    let mut update = transaction.query(&sql).bind(now);
    for (delivery, lease) in sent {
        update = update
            .bind(delivery.position)
            .bind(delivery.template.name())
            .bind(*lease);
    }
    update.execute().await
}

fn names_of(which: impl Fn(Template) -> bool) -> Vec<&'static str> {
    Template::ALL
        .into_iter()
        .filter(|template| which(*template))
        .map(Template::name)
        .collect()
}

/// Repeats `condition` for the given number of rows, joined by `OR`. The dialects have no shorter form in
/// common.
fn any_of(condition: &str, times: usize) -> String {
    vec![format!("({condition})"); times].join(" OR ")
}

#[cfg(test)]
mod tests;
