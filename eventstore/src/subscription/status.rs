//! Status of subscriptions, as recorded in the database.

use std::time::Duration;

use super::SubscriptionFailure;
use crate::checkpoint;
use crate::clock::Timestamp;
use crate::database::{Database, Row, Session};
use crate::error::{Error, Result};
use crate::event::Position;
use crate::lease;

fn latest_expiry(now: Timestamp) -> Timestamp {
    lease::latest_expiry(now, lease::DEFAULT_DURATION)
}

/// Status of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionStatus {
    /// Name of the subscription.
    pub name: String,
    /// Position of the last processed event.
    pub position: Position,
    /// Position of the last event of the log.
    pub head: Position,
    /// Current owner, or `None` if the lease has expired.
    pub owner: Option<String>,
    /// When the first unprocessed event was recorded, or `None` if all events are processed. If the
    /// checkpoint is invalid, this is the time of the log's first event.
    pub waiting_since: Option<Timestamp>,
    /// When the checkpoint last moved, or `None` if it has never moved.
    pub moved_at: Option<Timestamp>,
    /// Current failure, if any.
    pub failure: Option<SubscriptionFailure>,
}

impl SubscriptionStatus {
    /// Returns the status of one subscription, even if it has never run.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn of(database: &Database, name: &str, now: Timestamp) -> Result<Self> {
        let sql = Self::sql("SELECT ? AS name");
        let mut connection = database.reader().await?;
        let query = connection
            .query(&sql)
            .bind(name)
            .bind(now)
            .bind(latest_expiry(now));
        let rows = query.fetch_all().await?;
        rows.first().map_or(Err(Error::MissingHead), Self::read)
    }

    /// Returns the status of every projection and of every subscription that has ever run, ordered by name.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn all(database: &Database, now: Timestamp) -> Result<Vec<Self>> {
        // Only checkpoints of subscriptions have no `@`. Rebuilds are shown with their projection instead.
        let sql = Self::sql(
            "SELECT name FROM projections UNION SELECT name FROM checkpoints WHERE name NOT LIKE '%@%'",
        );
        let mut connection = database.reader().await?;
        let query = connection.query(&sql).bind(now).bind(latest_expiry(now));
        let rows = query.fetch_all().await?;
        rows.iter().map(Self::read).collect()
    }

    fn sql(names: &str) -> String {
        format!(
            "SELECT n.name, c.position, h.position, e.recorded_at, l.owner, c.updated_at, {} FROM ({names}) n \
             JOIN log_head h ON h.id = 1 \
             LEFT JOIN checkpoints c ON c.name = n.name \
             LEFT JOIN events e ON e.position = CASE WHEN c.position BETWEEN 0 AND h.position THEN c.position ELSE 0 END + 1 \
             LEFT JOIN leases l ON l.name = n.name AND l.expires_at > ? AND l.expires_at <= ? \
             LEFT JOIN subscription_failures f ON f.name = n.name ORDER BY n.name",
            SubscriptionFailure::COLUMNS
        )
    }

    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            name: row.get(0)?,
            position: row.get::<Option<Position>, _>(1)?.unwrap_or(Position::BEGINNING),
            head: row.get(2)?,
            waiting_since: row.get(3)?,
            owner: row.get(4)?,
            moved_at: row.get(5)?,
            failure: SubscriptionFailure::of_row(row, 6)?,
        })
    }

    /// Checks that the checkpoint is within the log.
    ///
    /// # Errors
    ///
    /// [`Error::BadCheckpoint`].
    pub fn check(&self) -> Result<()> {
        checkpoint::check(&self.name, self.position, self.head)
    }

    /// Returns the number of unprocessed events. If the checkpoint is invalid, all events count.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let finished = self.check().map_or(Position::BEGINNING, |()| self.position);
        self.head.since(finished)
    }

    /// Returns how long the first unprocessed event has waited. If that event has a time in the future,
    /// returns how long ago the checkpoint last moved or, failing that, how long the subscription has been
    /// failing.
    #[must_use]
    pub fn waits(&self, now: Timestamp) -> Duration {
        let failing_since = self.failure.as_ref().map(|failure| failure.since);
        self.waiting_since
            .map(|since| [Some(since), self.moved_at, failing_since])
            .and_then(|moments| moments.into_iter().flatten().find(|moment| *moment <= now))
            .map_or(Duration::ZERO, |moment| now.since(moment))
    }
}
