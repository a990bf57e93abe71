//! Failures of subscriptions, stored where every process can read them.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::database::{Database, Row, Session};
use crate::error::{DatabaseError, Error, Result};
use crate::event::Position;

/// Maximum length of the stored error text, in characters.
const LONGEST: usize = 500;

/// A failure from which the subscription has not recovered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubscriptionFailure {
    /// Position of the event at which the subscription has stopped. `None` if no single event is at fault,
    /// for example if the database is unavailable.
    pub position: Option<Position>,
    /// Error text, without personal data.
    pub error: String,
    /// Number of failed attempts.
    pub attempts: u64,
    /// When the first attempt failed.
    pub since: Timestamp,
    /// When the last attempt failed.
    pub last_at: Timestamp,
    /// When the next attempt is due.
    pub retry_at: Timestamp,
}

impl SubscriptionFailure {
    /// Columns of `subscription_failures f` that [`SubscriptionFailure::of_row`] reads.
    pub(crate) const COLUMNS: &'static str =
        "f.position, f.error, f.attempts, f.since, f.last_at, f.retry_at";

    /// Reads the failure, if any, from the columns starting at `first`.
    pub(crate) fn of_row(row: &Row, first: usize) -> Result<Option<Self>> {
        let Some(error) = row.get::<Option<String>, _>(first + 1)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            position: row.get(first)?,
            error,
            attempts: row.get::<i64, _>(first + 2)?.unsigned_abs(),
            since: row.get(first + 3)?,
            last_at: row.get(first + 4)?,
            retry_at: row.get(first + 5)?,
        }))
    }
}

/// Records that `name` failed with `error` (see [`without_data`]) and retries after `pause`. Repeated
/// failures at the same position increase the number of attempts. If `owner` is given, the failure is
/// recorded only while that owner holds the lease. A failure of another process does not explain why the
/// subscription has stopped, and would never be cleared.
///
/// # Errors
///
/// [`Error::Database`].
pub async fn record(
    database: &Database,
    name: &str,
    position: Option<Position>,
    error: &str,
    now: Timestamp,
    pause: Duration,
    owner: Option<&str>,
) -> Result<()> {
    let error: String = error.chars().take(LONGEST).collect();
    let mut transaction = database.begin().await?;
    if let Some(owner) = owner {
        // The next owner of the lease waits for this transaction, and then clears the failure.
        let sql = format!(
            "SELECT owner FROM leases WHERE name = ?{}",
            database.dialect().for_update()
        );
        let row = transaction.query(&sql).bind(name).fetch_optional().await?;
        let present = row.map(|row| row.get::<String, _>(0)).transpose()?;
        if present.as_deref() != Some(owner) {
            return transaction.rollback().await;
        }
    }
    let before = transaction
        .query("SELECT position, attempts, since FROM subscription_failures WHERE name = ?")
        .bind(name)
        .fetch_optional()
        .await?;
    let (mut attempts, mut since) = (0_i64, now);
    if let Some(before) = before
        && before.get::<Option<Position>, _>(0)? == position
    {
        attempts = before.get(1)?;
        // The failure may have been recorded by a clock that was ahead.
        since = before.get::<Timestamp, _>(2)?.min(now);
    }
    transaction
        .query("DELETE FROM subscription_failures WHERE name = ?")
        .bind(name)
        .execute()
        .await?;
    transaction
        .query(
            "INSERT INTO subscription_failures (name, position, error, attempts, since, last_at, retry_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(name)
        .bind(position)
        .bind(error)
        .bind(attempts + 1)
        .bind(since)
        .bind(now)
        .bind(now + pause)
        .execute()
        .await?;
    transaction.commit().await
}

/// Deletes the recorded failure of `name`, which has recovered.
///
/// # Errors
///
/// [`Error::Database`].
pub async fn clear(database: &Database, name: &str) -> Result<()> {
    database
        .writer()
        .await?
        .query("DELETE FROM subscription_failures WHERE name = ?")
        .bind(name)
        .execute()
        .await?;
    Ok(())
}

/// Returns the text of an error without personal data. Databases quote values in some messages, so only the
/// number of a database error is kept.
#[must_use]
pub fn without_data(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(Error::ReadOnly(_)) = error.downcast_ref() {
            return error.to_string();
        }
        let refused = match (error.downcast_ref(), error.downcast_ref()) {
            (Some(Error::Database(refused)), _) | (_, Some(refused)) => DatabaseError::code(refused),
            _ => None,
        };
        if let Some(code) = refused {
            return format!("the database rejected a statement (error {code})");
        }
        cause = error.source();
    }
    error.to_string()
}
