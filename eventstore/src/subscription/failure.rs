//! Why a subscription does not move, kept where every process sees it.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::database::{Database, Row, Session};
use crate::error::{Error, Result};
use crate::event::Position;

/// The longest text of a failure, in characters.
const LONGEST: usize = 500;

/// A failure that has not been got over yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The event that it has stopped at; nothing if the failure is not of one event, as when the database is
    /// away.
    pub position: Option<Position>,
    /// What failed, without personal data.
    pub error: String,
    /// How often it has been tried.
    pub attempts: u64,
    /// When it failed first.
    pub since: Timestamp,
    /// When it failed last.
    pub last_at: Timestamp,
    /// When it is tried again.
    pub retry_at: Timestamp,
}

impl Failure {
    /// The columns of `subscription_failures f` that [`Failure::of_row`] reads.
    pub(crate) const COLUMNS: &'static str =
        "f.position, f.error, f.attempts, f.since, f.last_at, f.retry_at";

    /// The failure in the columns from `first` on, if there is one.
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

/// Notes that `name` failed, why ([`without_data`]), and in how long it tries again. A failure at the same
/// place counts on. If an `owner` is named, only while the lease of that name is its own: what one that is
/// not, or no longer, in charge has met is not why it does not move, and nobody would forget it.
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
        // Whoever takes the lease over waits for this transaction, and then forgets the failure.
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
        // A clock that was ahead may have noted it.
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

/// Notes that `name` moves again.
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

/// What an error says. A database quotes values in some of its messages, so of those only the number is kept.
#[must_use]
pub fn without_data(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(Error::ReadOnly(_)) = error.downcast_ref() {
            return error.to_string();
        }
        let refused = match (error.downcast_ref::<sqlx::Error>(), error.downcast_ref::<Error>()) {
            (Some(refused), _) | (_, Some(Error::Database(refused))) => refused.as_database_error(),
            _ => None,
        };
        if let Some(refused) = refused {
            let number = refused
                .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
                .map(|mysql| mysql.number().to_string())
                .or_else(|| refused.code().map(Into::into))
                .unwrap_or_else(|| "unknown".to_owned());
            return format!("the database refused a statement (error {number})");
        }
        cause = error.source();
    }
    error.to_string()
}
