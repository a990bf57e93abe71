//! Rebuilds of projections, as the database knows them: asked for, under way, over.
//!
//! A rebuild fills a new generation of a projection's table beside the one that is served. Here is only what
//! every process may ask or say about one; the work itself is the projection's own. A projection has one
//! rebuild at most that is not over.

use serde::Serialize;

use crate::clock::Timestamp;
use crate::database::{Database, Row, Session, Transaction};
use crate::error::{Error, Result};
use crate::event::Position;
use crate::lease;
use crate::subscription::Failure;

/// What a rebuild is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RebuildState {
    /// Its generation is filled from the log; another one is served.
    Filling,
    /// Its generation is served, and the one before is being deleted.
    Cleaning,
    /// It is over: its generation is the one that is served, or was.
    Done,
    /// It was called off, and what it has filled is being deleted.
    Cancelling,
    /// It was called off, and nothing is left of it.
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

    /// Its name, as stored.
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

    /// Whether nothing is left to do.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }
}

/// Who carries a rebuild out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Runner {
    /// Any process of the projector role.
    Projector,
    /// The command that began it, or the next one like it.
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
    /// Of which projection.
    pub projection: String,
    /// The generation that it fills.
    pub generation: i64,
    /// The name of its checkpoint, its lease and its failure.
    #[serde(skip)]
    pub name: String,
    /// What it is at.
    pub state: RebuildState,
    /// Who carries it out.
    pub runner: Runner,
    /// The generation that was served before, once its own is.
    pub replaced: Option<i64>,
    /// The last event in its generation, while that is filled.
    pub position: Option<Position>,
    /// The end of the log.
    pub head: Position,
    /// Who works at it now; nobody if no process does.
    pub owner: Option<String>,
    /// Why it does not move; nothing while it does.
    pub failure: Option<Failure>,
    /// Who asked for it.
    pub requested_by: String,
    /// When.
    pub requested_at: Timestamp,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
}

/// What became of a request for a rebuild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// There is a new one.
    New(Rebuild),
    /// There is one that is not over.
    Unfinished(Rebuild),
    /// There is no such projection.
    NoProjection,
}

impl Rebuild {
    /// Asks for a rebuild, unless there is one that is not over.
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
        // A number is never used again, so that nothing of an earlier rebuild can turn up in a later one.
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
        // It has just been written, and is read together with the head.
        new.map_or(Err(Error::NoHead), |new| Ok(Requested::New(new)))
    }

    /// The rebuild of a projection that is not over.
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

    /// The rebuild that fills, or filled, that generation.
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

    /// Calls it off, if its generation is not served yet; whether it was.
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

    /// Leaves it to the processes of the projector role.
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
            Failure::COLUMNS
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
        let unknown = |what: &str| Error::Database(sqlx::Error::Decode(format!("unknown {what}").into()));
        Ok(Self {
            projection: row.get(0)?,
            generation: row.get(1)?,
            name: row.get(2)?,
            state: RebuildState::ALL
                .into_iter()
                .find(|known| known.name() == state)
                .ok_or_else(|| unknown("state of a rebuild"))?,
            runner: [Runner::Projector, Runner::Command]
                .into_iter()
                .find(|known| known.name() == runner)
                .ok_or_else(|| unknown("runner of a rebuild"))?,
            replaced: row.get(5)?,
            position: row.get(6)?,
            head: row.get(7)?,
            owner: row.get(8)?,
            requested_by: row.get(9)?,
            requested_at: row.get(10)?,
            finished_at: row.get(11)?,
            failure: Failure::of_row(row, 12)?,
        })
    }
}

const UNFINISHED: &str = "r.unfinished = ?";
const BY_GENERATION: &str = "r.generation = ?";

/// The generation of a projection that is served; it stays so until the transaction ends.
///
/// # Errors
///
/// [`Error::Database`].
pub async fn lock_active_generation(
    transaction: &mut Transaction<'_>,
    projection: &str,
) -> Result<Option<i64>> {
    let sql = format!(
        "SELECT active_generation FROM projections WHERE name = ?{}",
        transaction.dialect().for_update()
    );
    let row = transaction.query(&sql).bind(projection).fetch_optional().await?;
    row.map(|row| row.get(0)).transpose()
}

/// The generation that a projection's row names before its first rebuild.
pub const FIRST_GENERATION: i64 = 1;

/// The generation of a projection that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveGeneration {
    /// The one that `projections` names.
    pub named: i64,
    /// The last one that was built.
    pub built: i64,
}

impl ActiveGeneration {
    /// Asks the database; nothing if there is no such projection.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn of(session: &mut impl Session, projection: &str) -> Result<Option<Self>> {
        let row = session
            .query(
                "SELECT p.active_generation, (SELECT MAX(r.generation) FROM projection_rebuilds r \
                 WHERE r.projection = p.name AND r.state IN ('cleaning', 'done')) FROM projections p WHERE p.name = ?",
            )
            .bind(projection)
            .fetch_optional()
            .await?;
        let read = |row: Row| {
            Ok(Self {
                named: row.get(0)?,
                built: row.get::<Option<i64>, _>(1)?.unwrap_or(FIRST_GENERATION),
            })
        };
        row.map(read).transpose()
    }

    /// Whether the generation that is named has been built, and is the last.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchGeneration`].
    pub fn check(self, projection: &str) -> Result<i64> {
        if self.named == self.built {
            return Ok(self.named);
        }
        Err(Error::NoSuchGeneration {
            projection: projection.to_owned(),
            generation: self.named,
        })
    }
}
