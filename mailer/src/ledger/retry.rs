//! Manual retries.

use eventstore::database::{in_list, padded};
use eventstore::{Position, Result, Session, Timestamp};

use super::due_too_late::LONGEST_LEASE;
use super::inspect::Ledger;
use super::records::DeliveryState;

/// Maximum number of rows per statement when many deliveries are retried.
const MAX_ROWS: usize = 500;

const RETRY: &str =
    "UPDATE mail_deliveries SET state = 'pending', attempts = 0, lease = NULL, due_at = ?, updated_at = ?";

/// Result of a manual retry of the deliveries at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryResult {
    /// This number of deliveries, at least one, is due now.
    Due(u64),
    /// No delivery can be retried. Contains the state of one of the deliveries.
    NotRetryable(DeliveryState),
    /// No delivery exists.
    NotFound,
}

impl Ledger {
    /// Makes the deliveries at `position` due now and resets their number of attempts, unless they are sent,
    /// being sent or cancelled. A delivery does not count as being sent if its lease has expired, or ends
    /// later than any valid lease.
    ///
    /// # Errors
    ///
    /// The same as for [`Ledger::status`].
    pub async fn retry(&self, position: Position, now: Timestamp) -> Result<RetryResult> {
        let mut transaction = self.database.begin().await?;
        let due = transaction
            .query(&format!(
                "{RETRY} WHERE position = ? AND (state IN ('pending', 'failed', 'dead') \
                 OR (state = 'sending' AND (due_at <= ? OR due_at > ?)))"
            ))
            .bind(now)
            .bind(now)
            .bind(position)
            .bind(now)
            .bind(now + LONGEST_LEASE)
            .execute()
            .await?;
        let found = transaction
            .query("SELECT state FROM mail_deliveries WHERE position = ?")
            .bind(position)
            .fetch_optional()
            .await?;
        transaction.commit().await?;
        let state = found.map(|row| row.get::<String, _>(0)).transpose()?;
        Ok(match state.as_deref().and_then(DeliveryState::named) {
            Some(_) if due > 0 => RetryResult::Due(due),
            Some(state) => RetryResult::NotRetryable(state),
            None => RetryResult::NotFound,
        })
    }

    /// Retries every dead delivery as [`Ledger::retry`] does, in batches. Returns the number of deliveries.
    ///
    /// # Errors
    ///
    /// The same as for [`Ledger::status`]. After an error, some deliveries may already be due. Another call
    /// retries the rest.
    pub async fn retry_dead(&self, now: Timestamp) -> Result<u64> {
        let mut after = Position::BEGINNING;
        let mut due = 0;
        loop {
            let mut connection = self.database.writer().await?;
            let rows = connection
                .query(
                    "SELECT position FROM mail_deliveries WHERE position > ? AND state = 'dead' ORDER BY position LIMIT ?",
                )
                .bind(after)
                .bind(i64::try_from(MAX_ROWS).unwrap_or(i64::MAX))
                .fetch_all()
                .await?;
            let dead = rows
                .iter()
                .map(|row| row.get::<Position, _>(0))
                .collect::<Result<Vec<_>>>()?;
            let Some(last) = dead.last() else {
                return Ok(due);
            };
            after = *last;
            let sql = format!(
                "{RETRY} WHERE position IN ({}) AND state = 'dead'",
                in_list(dead.len())
            );
            due += connection
                .query(&sql)
                .bind(now)
                .bind(now)
                .bind_all(padded(&dead))
                .execute()
                .await?;
        }
    }
}
