//! The schema, one folder of SQL for each dialect, embedded.
//!
//! The statements can be run again without harm (`IF NOT EXISTS`, `INSERT IGNORE`), because MySQL commits each
//! `CREATE TABLE` by itself: a migration that was killed half-way is simply run again. Two processes never migrate
//! at once; a lease keeps them apart, since sqlx's own lock is `GET_LOCK`, which Galera and Vitess do not have.
//!
//! # Adding a migration
//!
//! 1. Add `NNNN_name.sql` to `mysql/` and `sqlite/`, with the next number.
//! 2. Keep what older binaries read and write: first expand, then, one release later, contract.
//! 3. Who needs a new table gets it in `users/grant.sql`, and in the table of rights in docs/operations.md; a test holds them
//!    together.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use eventstore::{Clock, Connection, Database, Dialect, Lease, Session};
use sqlx::migrate::{MigrateError, Migrator};

static MYSQL: Migrator = sqlx::migrate!("./mysql");
static SQLITE: Migrator = sqlx::migrate!("./sqlite");

/// How long a process that migrates may say nothing before another one takes over.
const LEASE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

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
}

/// Brings the schema up to date. `owner` names this process; another one that migrates at the moment is waited for.
///
/// # Errors
///
/// [`Error::Store`], [`Error::Migrate`].
pub async fn migrate(database: &Database, clock: Arc<dyn Clock>, owner: &str) -> Result<(), Error> {
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
    while !lease.hold().await? {
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
        // A migration that was killed half-way is marked as begun. Its statements can be run again.
        forget_unfinished(database).await?;
        migrator.run(pool).await?;
    } else if let Some(pool) = database.sqlite_writer() {
        migrator.run(pool).await?;
    }
    Ok(())
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

/// Whether the schema is as new as this program.
///
/// # Errors
///
/// [`Error::Behind`] if it is not, [`Error::Store`].
pub async fn check(database: &Database) -> Result<(), Error> {
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
