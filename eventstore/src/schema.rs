//! The database schema: the tables of the log, and the tables of the service that uses it.
//!
//! The crate brings the steps that create its own tables. A service adds its own [`Step`]s, and [`migrate`]
//! runs the steps of both that the database does not have yet, in order of version.
//!
//! All statements can be repeated safely (`IF NOT EXISTS`, `INSERT IGNORE`). MySQL commits each
//! `CREATE TABLE` separately, so an interrupted step is run again. A lease ensures that only one process
//! migrates at a time. sqlx's own lock is not used, because it relies on `GET_LOCK`, which Galera and Vitess
//! do not have.
//!
//! # Writing steps
//!
//! - Number the steps of a new service from 5. The log's steps have the versions 1, 2, 4 and, later, versions
//!   larger than [`LAST_VERSION`]; a service's step with the version 1, 2 or 4 becomes a part of the log's
//!   step, so it cannot be added later.
//! - Never change a step that has run: the database stores its checksum, and [`migrate`] fails if it differs.
//! - Write statements that can be repeated.
//! - On MySQL, write `ENGINE=InnoDB` in each `CREATE TABLE`. Tables with another engine are rejected. The
//!   check takes the names of the tables from the text after `CREATE TABLE IF NOT EXISTS`.
//! - A projection needs a table, but no row in `projections`: the engine adds the row.

mod engine;
mod steps;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, Migrator};

use crate::clock::Clock;
use crate::database::{Connection, Database, Dialect, Session};
use crate::error::Error;
use crate::lease::Lease;

pub use steps::{LAST_VERSION, Step};

/// Duration of the lease: a migrating process that does not renew its lease for this long is replaced by
/// another process.
const LEASE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

/// Uses of a database, as [`SchemaError::OtherUse`] calls them.
const THE_LOG: &str = "the tables of a log";
const THE_KEYS: &str = "the keys of a log";

/// Statement that limits the wait for a table lock. While an `ALTER TABLE` waits for open transactions, all
/// other statements on that table queue behind it. Each attempt therefore waits only two seconds, and the
/// queued statements run before the next attempt.
const SHORT_LOCK_WAIT: &str = "SET SESSION lock_wait_timeout = 2";
const BETWEEN_LOCK_WAITS: Duration = Duration::from_secs(3);

/// Reason why the schema is not usable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// A step failed, or its text differs from the text that the database has run.
    #[error("migration: {0}")]
    Step(#[from] StepError),
    /// The schema is older than this program.
    #[error("the schema is at migration {found}, but this program needs {needed}")]
    Behind {
        /// Newest version in the database before the first missing version, or 0 if there is none.
        found: i64,
        /// Newest version in this program.
        needed: i64,
    },
    /// The versions of the service's steps do not ascend, or are not between 1 and [`LAST_VERSION`].
    #[error("the versions of the steps do not ascend from 1 to at most {LAST_VERSION}")]
    Versions,
    /// The database has the tables of a log and should have the keys of a log, or vice versa. A log and its
    /// separate keys need separate databases.
    #[error("the database has {found}, so it cannot have {wanted}: use another database")]
    OtherUse {
        /// What the database has.
        found: &'static str,
        /// What it should have.
        wanted: &'static str,
    },
    /// Tables use a storage engine that has no transactions or is untested.
    #[error("{} InnoDB, so committed data could be lost. Stop all processes, and then run:{}", engine::tables(.0), engine::conversions(.0))]
    Engine(Vec<OtherEngine>),
}

/// The error of a step.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StepError(MigrateError);

impl StepError {
    /// The database's error, if the database failed.
    const fn of_database(&self) -> Option<&sqlx::Error> {
        match &self.0 {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => Some(error),
            _ => None,
        }
    }

    /// Whether waiting for a table lock timed out, or the database aborted a statement because of other
    /// transactions.
    fn is_contention(&self) -> bool {
        self.of_database().is_some_and(Error::is_contention_of_driver)
    }
}

/// A table with a storage engine other than `InnoDB`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherEngine {
    /// Name of the table.
    pub table: String,
    /// Storage engine of the table.
    pub engine: String,
}

impl SchemaError {
    /// Whether the error is transient and disappears without a change to the schema: the server cannot be
    /// reached, accepts no writes, or has aborted a statement because of other transactions.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Store(error) => error.passes(),
            Self::Step(error) => error.of_database().is_some_and(Error::of_driver_passes),
            Self::Behind { .. } | Self::Versions | Self::OtherUse { .. } | Self::Engine(_) => false,
        }
    }

    /// Whether the database aborted a statement because of other transactions.
    fn is_contention(&self) -> bool {
        match self {
            Self::Store(error) => error.is_contention(),
            Self::Step(error) => error.is_contention(),
            Self::Behind { .. } | Self::Versions | Self::OtherUse { .. } | Self::Engine(_) => false,
        }
    }
}

/// Migrates the schema to the version of this program: runs the steps of the log and the steps of the service
/// that the database has not run yet. `owner` identifies this process. If another process is migrating, waits
/// for it.
///
/// # Errors
///
/// [`SchemaError`], except [`SchemaError::Behind`].
pub async fn migrate(
    database: &Database,
    clock: Arc<dyn Clock>,
    owner: &str,
    service: &[Step],
) -> Result<(), SchemaError> {
    let migrations = steps::migrations(database.dialect(), service)?;
    let keys = steps::keys(database.dialect());
    check_use(database, &keys, THE_KEYS, THE_LOG).await?;
    migrate_to(database, clock, owner, migrations).await
}

/// Migrates the schema of a database that is only for the keys of a log
/// ([`KeyStore::elsewhere`](crate::sealing::KeyStore::elsewhere)), like [`migrate`].
///
/// # Errors
///
/// [`SchemaError`], except [`SchemaError::Behind`].
pub async fn migrate_keys(
    database: &Database,
    clock: Arc<dyn Clock>,
    owner: &str,
) -> Result<(), SchemaError> {
    let log = steps::migrations(database.dialect(), &[])?;
    check_use(database, &log, THE_LOG, THE_KEYS).await?;
    migrate_to(database, clock, owner, steps::keys(database.dialect())).await
}

/// Rejects a database that has run one of `others`.
async fn check_use(
    database: &Database,
    others: &[Migration],
    found: &'static str,
    wanted: &'static str,
) -> Result<(), SchemaError> {
    let applied = applied(database).await?;
    if others.iter().any(|other| applied.contains(&other.version)) {
        return Err(SchemaError::OtherUse { found, wanted });
    }
    Ok(())
}

async fn migrate_to(
    database: &Database,
    clock: Arc<dyn Clock>,
    owner: &str,
    migrations: Vec<Migration>,
) -> Result<(), SchemaError> {
    engine::check(database, &migrations).await?;
    let leases = steps::leases(database.dialect());
    database.writer().await?.query(leases).execute().await?;
    let mut lease = Lease::new(
        database.clone(),
        clock,
        "migrate".to_owned(),
        owner.to_owned(),
        LEASE,
    );
    let mut said = false;
    loop {
        match lease.hold().await {
            Ok(true) => break,
            Ok(false) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::info!("waiting for another process that is migrating the schema");
                }
            }
            Err(error) if error.is_contention() => {}
            Err(error) => {
                // The answer may be lost, but not the request.
                drop(lease.release().await);
                return Err(error.into());
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    let migrated = tokio::select! {
        migrated = run(database, migrations) => migrated,
        never = renew(&mut lease) => match never {},
    };
    let released = lease.release().await;
    migrated?;
    Ok(released?)
}

/// Renews the lease for as long as this future is polled.
async fn renew(lease: &mut Lease) -> Infallible {
    loop {
        tokio::time::sleep(LEASE / 3).await;
        if let Err(error) = lease.hold().await {
            tracing::warn!(%error, "could not renew the migration lease");
        }
    }
}

async fn run(database: &Database, migrations: Vec<Migration>) -> Result<(), SchemaError> {
    let migrator = Migrator {
        migrations: Cow::Owned(migrations),
        locking: false,
        // A newer program may have applied further migrations, which stay compatible with older programs.
        ignore_missing: true,
        ..Migrator::DEFAULT
    };
    if database.dialect() == Dialect::MySql {
        loop {
            match run_on_mysql(database, &migrator).await {
                Err(error) if error.is_contention() => {
                    tracing::warn!(
                        "waiting for open transactions, such as the verification of a projection: {error}"
                    );
                }
                ended => return ended,
            }
            tokio::time::sleep(BETWEEN_LOCK_WAITS).await;
        }
    } else if let Some(pool) = database.sqlite_writer() {
        migrator.run(pool).await.map_err(StepError)?;
    }
    Ok(())
}

async fn run_on_mysql(database: &Database, migrator: &Migrator) -> Result<(), SchemaError> {
    // An interrupted migration is recorded as started. Its statements can be repeated.
    forget_unfinished(database).await?;
    let mut connection = database.writer().await?;
    connection.query(SHORT_LOCK_WAIT).execute().await?;
    // The connection keeps a changed session setting, so it does not return to the pool.
    let connection = connection.driver().ok_or(Error::Interrupted)?;
    Ok(migrator.run(connection).await.map_err(StepError)?)
}

async fn forget_unfinished(database: &Database) -> Result<(), SchemaError> {
    let mut connection = database.writer().await?;
    if has_history(&mut connection).await? {
        connection
            .query("DELETE FROM _sqlx_migrations WHERE success = FALSE")
            .execute()
            .await?;
    }
    Ok(())
}

/// Checks that the schema is at least as new as this program, and that its tables support transactions.
///
/// # Errors
///
/// [`SchemaError::Behind`], [`SchemaError::Engine`] or [`SchemaError::Versions`] if a check fails, and
/// [`SchemaError::Store`] if the database fails.
pub async fn check(database: &Database, service: &[Step]) -> Result<(), SchemaError> {
    check_for(database, &steps::migrations(database.dialect(), service)?).await
}

/// Checks that the schema of a database of keys is at least as new as this program, like [`check`].
///
/// # Errors
///
/// The errors of [`check`], and [`SchemaError::OtherUse`].
pub async fn check_keys(database: &Database) -> Result<(), SchemaError> {
    let log = steps::migrations(database.dialect(), &[])?;
    check_use(database, &log, THE_LOG, THE_KEYS).await?;
    check_for(database, &steps::keys(database.dialect())).await
}

async fn check_for(database: &Database, migrations: &[Migration]) -> Result<(), SchemaError> {
    engine::check(database, migrations).await?;
    let versions: Vec<i64> = migrations.iter().map(|migration| migration.version).collect();
    let applied = applied(database).await?;
    let missing = versions.iter().position(|version| !applied.contains(version));
    missing.map_or(Ok(()), |missing| {
        Err(SchemaError::Behind {
            found: missing.checked_sub(1).map_or(0, |last| versions[last]),
            needed: versions.last().copied().unwrap_or(0),
        })
    })
}

/// Returns the versions that the database has run.
async fn applied(database: &Database) -> Result<BTreeSet<i64>, SchemaError> {
    let mut connection = database.reader().await?;
    if !has_history(&mut connection).await? {
        return Ok(BTreeSet::new());
    }
    let rows = connection
        .query("SELECT version FROM _sqlx_migrations WHERE success = TRUE")
        .fetch_all()
        .await?;
    rows.iter().map(|row| Ok(row.get(0)?)).collect()
}

/// Whether sqlx's table of migrations exists, which sqlx creates before the first migration.
async fn has_history(connection: &mut Connection) -> Result<bool, SchemaError> {
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
