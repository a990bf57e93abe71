//! The embedded schema, with one folder of SQL for each dialect.
//!
//! All statements can be repeated safely (`IF NOT EXISTS`, `INSERT IGNORE`). MySQL commits each
//! `CREATE TABLE` separately, so an interrupted migration is run again. A lease ensures that only one process
//! migrates at a time. sqlx's own lock is not used, because it relies on `GET_LOCK`, which Galera and Vitess
//! do not have.
//!
//! # Adding a migration
//!
//! 1. Add `NNNN_name.sql` to `mysql/` and `sqlite/`, with the next number.
//! 2. Keep everything that older binaries read and write: first expand, and contract one release later.
//!    During an upgrade, the older program runs on the newer schema (docs/operations.md, "Upgrading"):
//!
//!    | expand: at any time | contract: when no earlier program is running any more |
//!    |---|---|
//!    | add a table, an index, or a column that is nullable or has a default | drop or rename any of them |
//!    | relax a `CHECK` | tighten a `CHECK`, add `NOT NULL` without a default |
//!    | add a value that older programs ignore | add a value at which older programs stop |
//!    | drop an index without which older programs are only slower | drop an index with a `UNIQUE` rule |
//!
//!    `scripts/upgrade` runs an older program on the newer schema.
//! 3. On MySQL, write `ENGINE=InnoDB` in each `CREATE TABLE`. The program refuses to run while one of its
//!    tables has another engine. It finds the table names after `CREATE TABLE IF NOT EXISTS`.
//! 4. Grant the new table to its users in `users/grant.sql`, and add it to the table of privileges in
//!    docs/operations.md. A test checks that both agree.

mod engine;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use eventstore::{Clock, Connection, Database, Dialect, Lease, Session};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::mysql::MySqlDatabaseError;

static MYSQL: Migrator = sqlx::migrate!("./mysql");
static SQLITE: Migrator = sqlx::migrate!("./sqlite");

/// How long a migrating process may fail to renew its lease before another process takes over.
const LEASE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

/// Statement that limits the wait for a table lock. While an `ALTER TABLE` waits for open transactions, all
/// other statements on that table queue behind it. Each attempt therefore waits only two seconds, and the
/// queued statements run before the next attempt.
const SHORT_LOCK_WAIT: &str = "SET SESSION lock_wait_timeout = 2";
const BETWEEN_LOCK_WAITS: Duration = Duration::from_secs(3);

/// Reason why the schema is not usable.
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
    #[error("the schema is at migration {found}, but this program needs {needed}: run `patients migrate`")]
    Behind {
        /// Newest migration in the database, or 0 if it has none.
        found: i64,
        /// Newest migration in this program.
        needed: i64,
    },
    /// Tables use a storage engine that has no transactions or is untested.
    #[error("{} not InnoDB and would lose committed data; stop all processes, then run:{}", engine::tables(.0), engine::mend(.0))]
    Engine(Vec<OtherEngine>),
}

/// A table with a storage engine other than `InnoDB`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherEngine {
    /// Name of the table.
    pub table: String,
    /// Storage engine of the table.
    pub engine: String,
}

impl Error {
    /// Whether the connection to the database failed, so that the operation may succeed on a new connection.
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

/// Migrates the schema to the version of this program. `owner` identifies this process. If another process is
/// migrating, waits for it.
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
            tracing::info!("waiting for another process that is migrating the schema");
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

/// Renews the lease for as long as this future is polled.
async fn renew(lease: &mut Lease) -> Infallible {
    loop {
        tokio::time::sleep(LEASE / 3).await;
        if let Err(error) = lease.hold().await {
            tracing::warn!(%error, "could not renew the migration lease");
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
            // An interrupted migration is recorded as started. Its statements can be repeated.
            forget_unfinished(database).await?;
            let mut connection = pool.acquire().await.map_err(eventstore::Error::from_driver)?;
            // The connection keeps a changed session setting, so it must not return to the pool.
            connection.close_on_drop();
            sqlx::query(SHORT_LOCK_WAIT)
                .execute(&mut *connection)
                .await
                .map_err(eventstore::Error::from_driver)?;
            match migrator.run(&mut *connection).await {
                Err(error) if is_lock_wait(&error) => {
                    tracing::warn!(
                        "waiting for open transactions, such as those of `patients projection verify`: {error}"
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

/// Whether waiting for a table lock timed out.
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
        // A newer program may have applied further migrations, which stay compatible with older programs.
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

/// Checks that the schema is at least as new as this program, and that its tables support transactions.
///
/// # Errors
///
/// [`Error::Behind`] or [`Error::Engine`] if a check fails, and [`Error::Store`] if the database fails.
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

/// Returns the newest applied migration, if any.
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

/// Whether sqlx's table of migrations exists, which sqlx creates before the first migration.
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
