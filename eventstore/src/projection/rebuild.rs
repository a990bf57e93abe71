//! State of projection rebuilds in the database.
//!
//! A rebuild fills a new generation of a projection's table while the active generation keeps serving
//! queries. This module contains the operations that every process may need: requesting, cancelling and
//! reading rebuilds. [`super::rebuilder`] does the work. A projection has at most one unfinished rebuild.

use serde::Serialize;

use super::generation::lock_active_generation;
use crate::clock::Timestamp;
use crate::database::{Database, Row, Session};
use crate::error::{Error, Result};
use crate::event::Position;
use crate::lease;
use crate::subscription::SubscriptionFailure;

/// State of a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RebuildState {
    /// The new generation is being filled from the log, and another generation is active.
    Filling,
    /// The new generation is active, and the previous generation is being deleted.
    Cleaning,
    /// The rebuild has finished. A later rebuild may have replaced its generation.
    Done,
    /// The rebuild was cancelled, and its rows are being deleted.
    Cancelling,
    /// The rebuild was cancelled, and its rows are deleted.
    Cancelled,
}

impl RebuildState {
    const ALL: [Self; 5] = [
        Self::Filling,
        Self::Cleaning,
        Self::Done,
        Self::Cancelling,
        Self::Cancelled,
    ];

    /// Name of the state, as stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Filling => "filling",
            Self::Cleaning => "cleaning",
            Self::Done => "done",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether no work is left.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }
}

/// Runner of a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Runner {
    /// Any process with the projector role.
    Projector,
    /// The command that started the rebuild, or a later command that continues it.
    Command,
}

impl Runner {
    const fn name(self) -> &'static str {
        match self {
            Self::Projector => "projector",
            Self::Command => "command",
        }
    }
}

/// A rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rebuild {
    /// Name of the projection.
    pub projection: String,
    /// The generation that the rebuild fills.
    pub generation: i64,
    /// Name of the rebuild's checkpoint, lease and failure.
    #[serde(skip)]
    pub name: String,
    /// Current state.
    pub state: RebuildState,
    /// Runner of the rebuild.
    pub runner: Runner,
    /// The generation that the new generation replaced, once it is active.
    pub replaced: Option<i64>,
    /// Position of the last event in the new generation, while it is being filled.
    pub position: Option<Position>,
    /// Position of the last event of the log.
    pub head: Position,
    /// The process that currently runs the rebuild, if any.
    pub owner: Option<String>,
    /// Current failure, if any.
    pub failure: Option<SubscriptionFailure>,
    /// Who requested the rebuild.
    pub requested_by: String,
    /// When the rebuild was requested.
    pub requested_at: Timestamp,
    /// When the rebuild finished.
    pub finished_at: Option<Timestamp>,
}

/// Result of requesting a rebuild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// A new rebuild was created.
    New(Rebuild),
    /// The projection already has an unfinished rebuild.
    Unfinished(Rebuild),
    /// The projection does not exist.
    NoProjection,
}

impl Rebuild {
    /// Requests a rebuild, unless the projection already has an unfinished rebuild.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn request(
        database: &Database,
        projection: &str,
        runner: Runner,
        requested_by: &str,
        now: Timestamp,
    ) -> Result<Requested> {
        let mut transaction = database.begin().await?;
        let Some(active) = lock_active_generation(&mut transaction, projection).await? else {
            transaction.rollback().await?;
            return Ok(Requested::NoProjection);
        };
        if let Some(unfinished) = Self::select(&mut transaction, projection, UNFINISHED, 1, now).await? {
            transaction.rollback().await?;
            return Ok(Requested::Unfinished(unfinished));
        }
        let newest = transaction
            .query("SELECT MAX(generation) FROM projection_rebuilds WHERE projection = ?")
            .bind(projection)
            .fetch_optional()
            .await?;
        let newest: Option<i64> = newest.map(|row| row.get(0)).transpose()?.flatten();
        // Generation numbers are never reused, so rows of an earlier rebuild cannot appear in a later one.
        let generation = active.max(newest.unwrap_or(0)) + 1;
        let name = format!("{projection}@{generation}");
        transaction
            .query(
                "INSERT INTO projection_rebuilds \
                 (projection, generation, name, state, unfinished, runner, requested_by, requested_at) \
                 VALUES (?, ?, ?, 'filling', 1, ?, ?, ?)",
            )
            .bind(projection)
            .bind(generation)
            .bind(name.as_str())
            .bind(runner.name())
            .bind(requested_by)
            .bind(now)
            .execute()
            .await?;
        transaction
            .query("INSERT INTO checkpoints (name, position, updated_at) VALUES (?, 0, ?)")
            .bind(name.as_str())
            .bind(now)
            .execute()
            .await?;
        let new = Self::select(&mut transaction, projection, BY_GENERATION, generation, now).await?;
        transaction.commit().await?;
        // The row was just inserted, so it is missing only if `log_head` has no row to join.
        new.map_or(Err(Error::MissingHead), |new| Ok(Requested::New(new)))
    }

    /// Returns the unfinished rebuild of a projection, if any.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn unfinished(database: &Database, projection: &str, now: Timestamp) -> Result<Option<Self>> {
        Self::unfinished_on(&mut database.reader().await?, projection, now).await
    }

    pub(crate) async fn unfinished_on(
        session: &mut impl Session,
        projection: &str,
        now: Timestamp,
    ) -> Result<Option<Self>> {
        Self::select(session, projection, UNFINISHED, 1, now).await
    }

    /// Returns the rebuild of the given generation, if any.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn of(
        database: &Database,
        projection: &str,
        generation: i64,
        now: Timestamp,
    ) -> Result<Option<Self>> {
        let mut connection = database.reader().await?;
        Self::select(&mut connection, projection, BY_GENERATION, generation, now).await
    }

    /// Cancels the rebuild unless its generation is already active. Returns whether the rebuild was
    /// cancelled.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn cancel(&self, database: &Database) -> Result<bool> {
        let cancelled = database
            .writer()
            .await?
            .query(
                "UPDATE projection_rebuilds SET state = 'cancelling' \
                 WHERE projection = ? AND generation = ? AND state IN ('filling', 'cancelling')",
            )
            .bind(self.projection.as_str())
            .bind(self.generation)
            .execute()
            .await?;
        Ok(cancelled == 1)
    }

    /// Hands the rebuild over to the processes with the projector role.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn leave_to_projector(&self, database: &Database) -> Result<()> {
        database
            .writer()
            .await?
            .query(
                "UPDATE projection_rebuilds SET runner = 'projector' WHERE projection = ? AND generation = ?",
            )
            .bind(self.projection.as_str())
            .bind(self.generation)
            .execute()
            .await?;
        Ok(())
    }

    async fn select(
        session: &mut impl Session,
        projection: &str,
        which: &str,
        key: i64,
        now: Timestamp,
    ) -> Result<Option<Self>> {
        let sql = format!(
            "SELECT r.projection, r.generation, r.name, r.state, r.runner, r.replaced, c.position, h.position, l.owner, \
             r.requested_by, r.requested_at, r.finished_at, {} FROM projection_rebuilds r \
             JOIN log_head h ON h.id = 1 \
             LEFT JOIN checkpoints c ON c.name = r.name \
             LEFT JOIN leases l ON l.name = r.name AND l.expires_at > ? AND l.expires_at <= ? \
             LEFT JOIN subscription_failures f ON f.name = r.name WHERE r.projection = ? AND {which}",
            SubscriptionFailure::COLUMNS
        );
        let row = session
            .query(&sql)
            .bind(now)
            .bind(lease::latest_expiry(now, lease::DEFAULT_DURATION))
            .bind(projection)
            .bind(key)
            .fetch_optional()
            .await?;
        row.as_ref().map(Self::read).transpose()
    }

    fn read(row: &Row) -> Result<Self> {
        let (state, runner): (String, String) = (row.get(3)?, row.get(4)?);
        Ok(Self {
            projection: row.get(0)?,
            generation: row.get(1)?,
            name: row.get(2)?,
            state: RebuildState::ALL
                .into_iter()
                .find(|known| known.name() == state)
                .ok_or_else(|| unknown("state", state))?,
            runner: [Runner::Projector, Runner::Command]
                .into_iter()
                .find(|known| known.name() == runner)
                .ok_or_else(|| unknown("runner", runner))?,
            replaced: row.get(5)?,
            position: row.get(6)?,
            head: row.get(7)?,
            owner: row.get(8)?,
            requested_by: row.get(9)?,
            requested_at: row.get(10)?,
            finished_at: row.get(11)?,
            failure: SubscriptionFailure::of_row(row, 12)?,
        })
    }
}

const fn unknown(column: &'static str, value: String) -> Error {
    Error::UnknownValue {
        table: "projection_rebuilds",
        column,
        value,
    }
}

const UNFINISHED: &str = "r.unfinished = ?";
const BY_GENERATION: &str = "r.generation = ?";
