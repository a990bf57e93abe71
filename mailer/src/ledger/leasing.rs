//! Leasing and cancelling due rows.
//!
//! Both are a compare-and-set: the statement names the due time and the lease that [`due`](super::due) has
//! read, and changes a row only if it still has them. Two workers therefore never lease the same row, even on
//! a server that ignores `SKIP LOCKED` or returns an old state of a row.

use eventstore::database::Query;
use eventstore::{Result, Session, Timestamp, Transaction};

use super::{Delivery, any_of};

/// The condition that a row has not changed since it was read.
const AS_READ: &str = "position = ? AND template = ? AND due_at = ? AND COALESCE(lease, '') = ?";

/// Binds the values of [`AS_READ`].
fn bind_as_read<'q, 'c>(query: Query<'q, 'c>, delivery: &'q Delivery) -> Query<'q, 'c> {
    query
        .bind(delivery.position)
        .bind(delivery.template.name())
        .bind(delivery.due_at)
        .bind(delivery.expired_lease.as_deref().unwrap_or_default())
}

/// Leases rows under `lease`, which no other row has: they are not due again before `until`. Counts an
/// attempt. Returns the rows that were leased; the others have changed since they were read.
pub(crate) async fn lease<'d>(
    transaction: &mut Transaction<'_>,
    deliveries: &[&'d Delivery],
    lease: &str,
    until: Timestamp,
    now: Timestamp,
) -> Result<Vec<&'d Delivery>> {
    if deliveries.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "UPDATE mail_deliveries SET state = 'sending', due_at = ?, lease = ?, attempts = attempts + 1, updated_at = ? \
         WHERE {}",
        any_of(AS_READ, deliveries.len())
    );
    let update = transaction.query(&sql).bind(until).bind(lease).bind(now);
    let update = deliveries
        .iter()
        .fold(update, |update, delivery| bind_as_read(update, delivery));
    if update.execute().await? == deliveries.len() as u64 {
        return Ok(deliveries.to_vec());
    }
    let mut leased = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        let row = transaction
            .query("SELECT 1 FROM mail_deliveries WHERE position = ? AND template = ? AND lease = ?")
            .bind(delivery.position)
            .bind(delivery.template.name())
            .bind(lease)
            .fetch_optional()
            .await?;
        if row.is_some() {
            leased.push(*delivery);
        }
    }
    Ok(leased)
}

/// Cancels rows. Returns the rows that were cancelled; the others have changed since they were read.
pub(crate) async fn cancel<'d>(
    transaction: &mut Transaction<'_>,
    deliveries: &[&'d Delivery],
    now: Timestamp,
) -> Result<Vec<&'d Delivery>> {
    let sql = format!(
        "UPDATE mail_deliveries SET state = 'cancelled', due_at = NULL, lease = NULL, updated_at = ? WHERE {AS_READ}"
    );
    let mut cancelled = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        let update = transaction.query(&sql).bind(now);
        if bind_as_read(update, delivery).execute().await? == 1 {
            cancelled.push(*delivery);
        }
    }
    Ok(cancelled)
}
