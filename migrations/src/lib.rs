//! The schema, one folder of SQL for each dialect, embedded.
//!
//! The statements can be run again without harm (`IF NOT EXISTS`, `INSERT IGNORE`), because MySQL commits
//! each `CREATE TABLE` by itself: a migration that was killed half-way is simply run again. Two processes
//! never migrate at once; a lease keeps them apart, since sqlx's own lock is `GET_LOCK`, which Galera and
//! Vitess do not have.
//!
//! # Adding a migration
//!
//! 1. Add `NNNN_name.sql` to `mysql/` and `sqlite/`, with the next number.
//! 2. Keep what older binaries read and write: first expand, then, one release later, contract. While an
//!    upgrade is under way, the older program works on the newer schema (docs/operations.md, "Upgrading"):
//!
//!    | expand: at any time | contract: when no program of before runs any more |
//!    |---|---|
//!    | a table; a column that may be null or has a default; an index | drop or rename any of them |
//!    | a `CHECK` that takes more | a `CHECK` that takes less, `NOT NULL` without a default |
//!    | a new value, if older programs pass over it | a value that older programs stop at |
//!
//!    `scripts/upgrade` runs an older program on the newer schema.
//! 3. On MySQL, `CREATE TABLE` names `ENGINE=InnoDB`. The program refuses to run while one of its tables has
//!    another engine; it finds their names after `CREATE TABLE IF NOT EXISTS`.
//! 4. Who needs a new table gets it in `users/grant.sql`, and in the table of rights in docs/operations.md; a
//!    test holds them together.

mod engine;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use eventstore::{Clock, Connection, Database, Dialect, Lease, Session};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::mysql::MySqlDatabaseError;

static MYSQL: Migrator = sqlx::migrate!("./mysql");
static SQLITE: Migrator = sqlx::migrate!("./sqlite");

/// How long a process that migrates may say nothing before another one takes over.
const LEASE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

/// While an `ALTER TABLE` waits for open transactions, every other statement on that table waits behind it.
/// So it waits for two seconds, and lets the others go on before it tries again.
const SHORT_LOCK_WAIT: &str = "SET SESSION lock_wait_timeout = 2";
const BETWEEN_LOCK_WAITS: Duration = Duration::from_secs(3);

/// Why the schema is not as it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] eventstore::Error),
    /// A migration failed.
    #[error("migration: {0}")]
    Migrate(#[from] MigrateError),
    /// The schema is older than this program.
    #[error("the schema is at migration {found}, this program needs {needed}: run `patients migrate`")]
    Behind {
        /// The newest migration that the database has; 0 if it has none.
        found: i64,
        /// The newest that this program has.
        needed: i64,
    },
    /// Tables have a storage engine without transactions, or one that was never tested.
    #[error("{} not InnoDB, without which committed data is lost; with every process stopped, run:{}", engine::tables(.0), engine::mend(.0))]
    Engine(Vec<OtherEngine>),
}

/// A table with a storage engine other than `InnoDB`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherEngine {
    /// The table's name.
    pub table: String,
    /// Its storage engine.
    pub engine: String,
}

impl Error {
    /// Whether the connection to the database failed: the same may succeed on another one.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        match self {
            Self::Store(error) => error.is_connection(),
            Self::Migrate(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
                eventstore::Error::is_lost_connection(error)
            }
            Self::Migrate(_) | Self::Behind { .. } | Self::Engine(_) => false,
        }
    }
}

/// Brings the schema up to date. `owner` names this process; another one that migrates at the moment is
/// waited for.
///
/// # Errors
///
/// [`Error::Store`], [`Error::Migrate`].
pub async fn migrate(database: &Database, clock: Arc<dyn Clock>, owner: &str) -> Result<(), Error> {
    engine::check(database).await?;
    let leases = match database.dialect() {
        Dialect::MySql => include_str!("../mysql/leases.sql"),
        Dialect::Sqlite => include_str!("../sqlite/leases.sql"),
    };
    database.writer().await?.query(leases).execute().await?;
    let mut lease = Lease::new(
        database.clone(),
        clock,
        "migrate".to_owned(),
        owner.to_owned(),
        LEASE,
    );
    let mut said = false;
    while !lease.hold().await? {
        if !std::mem::replace(&mut said, true) {
            tracing::info!("waiting for another process, which brings the schema up to date");
        }
        tokio::time::sleep(PAUSE).await;
    }
    let migrated = tokio::select! {
        migrated = run(database) => migrated,
        never = renew(&mut lease) => match never {},
    };
    lease.release().await?;
    migrated
}

/// Keeps the lease for as long as it is polled.
async fn renew(lease: &mut Lease) -> Infallible {
    loop {
        tokio::time::sleep(LEASE / 3).await;
        if let Err(error) = lease.hold().await {
            tracing::warn!(%error, "the lease to migrate could not be renewed");
        }
    }
}

async fn run(database: &Database) -> Result<(), Error> {
    let migrator = without_lock(match database.dialect() {
        Dialect::MySql => &MYSQL,
        Dialect::Sqlite => &SQLITE,
    });
    if let Some(pool) = database.mysql() {
        loop {
            // A migration that was killed half-way is marked as begun. Its statements can be run again.
            forget_unfinished(database).await?;
            let mut connection = pool.acquire().await.map_err(eventstore::Error::from)?;
            // It has a setting that is for nobody else.
            connection.close_on_drop();
            sqlx::query(SHORT_LOCK_WAIT)
                .execute(&mut *connection)
                .await
                .map_err(eventstore::Error::from)?;
            match migrator.run(&mut *connection).await {
                Err(error) if is_lock_wait(&error) => {
                    tracing::warn!(
                        "waiting for transactions that are open, such as those of `patients projection verify`: {error}"
                    );
                }
                ended => return Ok(ended?),
            }
            tokio::time::sleep(BETWEEN_LOCK_WAITS).await;
        }
    } else if let Some(pool) = database.sqlite_writer() {
        migrator.run(pool).await?;
    }
    Ok(())
}

/// Whether a table could not be locked in time.
fn is_lock_wait(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return false;
    };
    // ER_LOCK_WAIT_TIMEOUT
    error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>())
        .is_some_and(|error| error.number() == 1205)
}

fn without_lock(migrator: &Migrator) -> Migrator {
    Migrator {
        migrations: migrator.migrations.clone(),
        locking: false,
        // A newer program has added some; it keeps what older ones read and write.
        ignore_missing: true,
        ..Migrator::DEFAULT
    }
}

async fn forget_unfinished(database: &Database) -> Result<(), Error> {
    let mut connection = database.writer().await?;
    if has_history(&mut connection).await? {
        connection
            .query("DELETE FROM _sqlx_migrations WHERE success = FALSE")
            .execute()
            .await?;
    }
    Ok(())
}

/// Whether the schema is as new as this program, and its tables have transactions.
///
/// # Errors
///
/// [`Error::Behind`] or [`Error::Engine`] if that is not so, [`Error::Store`].
pub async fn check(database: &Database) -> Result<(), Error> {
    engine::check(database).await?;
    let needed = MYSQL.iter().map(|migration| migration.version).max().unwrap_or(0);
    let found = applied(database).await?.unwrap_or(0);
    if found < needed {
        Err(Error::Behind { found, needed })
    } else {
        Ok(())
    }
}

/// The newest migration that was applied; nothing if there has never been one.
async fn applied(database: &Database) -> Result<Option<i64>, Error> {
    let mut connection = database.reader().await?;
    if !has_history(&mut connection).await? {
        return Ok(None);
    }
    let newest = connection
        .query("SELECT MAX(version) FROM _sqlx_migrations WHERE success = TRUE")
        .fetch_optional()
        .await?;
    Ok(newest
        .map(|row| row.get::<Option<i64>, _>(0))
        .transpose()?
        .flatten())
}

/// Whether there is a table of migrations, which sqlx makes before the first one.
async fn has_history(connection: &mut Connection) -> Result<bool, Error> {
    let tables = match connection.dialect() {
        Dialect::MySql => {
            "SELECT COUNT(*) FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_name = '_sqlx_migrations'"
        }
        Dialect::Sqlite => {
            "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'"
        }
    };
    let table = connection.query(tables).fetch_optional().await?;
    Ok(table.map(|row| row.get::<i64, _>(0)).transpose()? == Some(1))
}
