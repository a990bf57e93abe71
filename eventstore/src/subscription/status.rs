//! How subscriptions do, as the database tells it.

use std::time::Duration;

use super::Failure;
use crate::checkpoint;
use crate::clock::Timestamp;
use crate::database::{Database, Row, Session};
use crate::error::{Error, Result};
use crate::event::Position;
use crate::lease;

fn latest_expiry(now: Timestamp) -> Timestamp {
    lease::latest_expiry(now, lease::DEFAULT_DURATION)
}

/// How a subscription does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionStatus {
    /// Its name.
    pub name: String,
    /// The last position that it has finished.
    pub position: Position,
    /// The last position of the log.
    pub head: Position,
    /// Who owns it now; nobody if its lease has run out.
    pub owner: Option<String>,
    /// When the first event that it has not finished was recorded; nothing if it has finished all. If its
    /// checkpoint cannot be true, that is the first event of the log.
    pub waiting_since: Option<Timestamp>,
    /// When its checkpoint was last moved; nothing before the first time.
    pub moved_at: Option<Timestamp>,
    /// Why it does not move; nothing while it does.
    pub failure: Option<Failure>,
}

impl SubscriptionStatus {
    /// Asks the database about one, whether it has ever run or not.
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
        rows.first().map_or(Err(Error::NoHead), Self::read)
    }

    /// Asks the database about every subscription that has ever run, and every projection, in the order of
    /// their names.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn all(database: &Database, now: Timestamp) -> Result<Vec<Self>> {
        // The checkpoint of a rebuild has the sign in its name; it is shown with its projection.
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
            Failure::COLUMNS
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
            failure: Failure::of_row(row, 6)?,
        })
    }

    /// Whether its checkpoint can be true.
    ///
    /// # Errors
    ///
    /// [`Error::BadCheckpoint`].
    pub fn check(&self) -> Result<()> {
        checkpoint::check(&self.name, self.position, self.head)
    }

    /// How many events it has not finished: all of them if its checkpoint cannot be true.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let finished = self.check().map_or(Position::BEGINNING, |()| self.position);
        self.head.since(finished)
    }

    /// How long the first of them has waited. If that was recorded by a clock that was ahead, how long the
    /// checkpoint has not moved, or for how long the subscription has failed.
    #[must_use]
    pub fn waits(&self, now: Timestamp) -> Duration {
        let failing_since = self.failure.as_ref().map(|failure| failure.since);
        self.waiting_since
            .map(|since| [Some(since), self.moved_at, failing_since])
            .and_then(|moments| moments.into_iter().flatten().find(|moment| *moment <= now))
            .map_or(Duration::ZERO, |moment| now.since(moment))
    }
}
