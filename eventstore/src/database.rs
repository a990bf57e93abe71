//! One way to talk to MySQL, MariaDB and SQLite.
//!
//! Both sqlx drivers stand behind a few enums, so that a statement that the dialects share is written once:
//! `connection.query("SELECT … WHERE id = ?").bind(id).fetch_all().await`. sqlx's own `Any` driver has no JSON, reads
//! MySQL's `TEXT` as bytes and hides the pools that mysql-es and sqlite-es want.
//!
//! SQLite has one writer at a time, so it gets two pools: one connection that writes, in turn, and some that read.

mod query;
mod script;
mod session;

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::MigrateDatabase;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _, Executor, MySql};
use tokio::time::Instant;

use crate::error::{Error, Result};
use session::{Held, Link};

pub(crate) use query::BlockSize;
pub use query::{Bind, Column, Query, Row, in_list, padded};
pub use script::{Script, Value};
pub use session::{Connection, Session, Transaction};

/// Statements kept prepared on each connection. Batches vary in length, and each length is a statement of its own.
const PREPARED_STATEMENTS: usize = 1024;

/// How long a statement waits for a lock that another connection holds.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The pause before a busy SQLite file is opened again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// A kind of SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// MySQL 8.4 and later, MariaDB 10.6 and later.
    MySql,
    /// SQLite 3.
    Sqlite,
}

impl Dialect {
    /// What follows a `SELECT` that takes the rows for the rest of the transaction. SQLite takes the whole database
    /// at `BEGIN IMMEDIATE` instead.
    #[must_use]
    pub const fn for_update(self) -> &'static str {
        match self {
            Self::MySql => " FOR UPDATE",
            Self::Sqlite => "",
        }
    }

    /// As [`Dialect::for_update`], passing over the rows that another transaction has taken.
    #[must_use]
    pub const fn for_update_skip_locked(self) -> &'static str {
        match self {
            Self::MySql => " FOR UPDATE SKIP LOCKED",
            Self::Sqlite => "",
        }
    }

    /// What follows the name of a table that is read in the order of its primary key. MySQL would at times rather find all
    /// rows by the beginning of another index and sort them, in particular where they are about a thousand.
    #[must_use]
    pub const fn by_primary_key(self) -> &'static str {
        match self {
            Self::MySql => " FORCE INDEX (PRIMARY)",
            Self::Sqlite => "",
        }
    }

    /// The words that begin an `INSERT` which leaves rows alone that are there already.
    #[must_use]
    pub const fn insert_ignore(self) -> &'static str {
        match self {
            Self::MySql => "INSERT IGNORE",
            Self::Sqlite => "INSERT OR IGNORE",
        }
    }
}

/// How to open a database.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseOptions {
    /// The most connections at a time, 1 or more.
    pub connections: u32,
    /// How long to wait for a free connection, or for a new one.
    pub acquire_timeout: Duration,
    /// How long MySQL keeps a connection that says nothing, in whole seconds from 1. A process that is gone without a word (a
    /// machine without power, a network cut in two, a suspended process) would otherwise hold the locks of its transaction
    /// for hours, and `log_head`'s stops every append everywhere.
    pub silence: Duration,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self {
            connections: 16,
            acquire_timeout: Duration::from_secs(5),
            silence: Duration::from_secs(30),
        }
    }
}

/// A database, opened. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pools: Pools,
}

#[derive(Debug, Clone)]
enum Pools {
    MySql(MySqlPool),
    Sqlite { writer: SqlitePool, readers: SqlitePool },
}

impl Database {
    /// The connections that are open, by pool: its name, how many of them are in use, and how many there are.
    #[must_use]
    pub fn connections(&self) -> Vec<(&'static str, usize, usize)> {
        fn of<D: sqlx::Database>(name: &'static str, pool: &sqlx::Pool<D>) -> (&'static str, usize, usize) {
            let open = pool.size() as usize;
            (name, open.saturating_sub(pool.num_idle()), open)
        }
        match &self.pools {
            Pools::MySql(pool) => vec![of("mysql", pool)],
            Pools::Sqlite { writer, readers } => {
                vec![of("sqlite-writer", writer), of("sqlite-readers", readers)]
            }
        }
    }

    /// Opens the database at `url`: `mysql://user:password@host:port/name` or `sqlite://path`. An SQLite file and its
    /// folder are made if they are not there.
    ///
    /// # Errors
    ///
    /// [`Error::Url`] if the URL is of neither kind; [`Error::Database`] if the database cannot be reached.
    pub async fn connect(url: &str, options: DatabaseOptions) -> Result<Self> {
        let pools = if url.starts_with("mysql:") || url.starts_with("mariadb:") {
            Pools::MySql(connect_mysql(url, options).await?)
        } else if url.starts_with("sqlite:") {
            connect_sqlite(url, options).await?
        } else {
            return Err(Error::Url(
                "expected mysql://user:password@host/name or sqlite://path".into(),
            ));
        };
        Ok(Self { pools })
    }

    /// Makes the database that a MySQL URL names. (An SQLite database is made when it is opened.)
    ///
    /// # Errors
    ///
    /// [`Error::Database`], such as for a user who may not.
    pub async fn create(url: &str) -> Result<()> {
        Ok(MySql::create_database(url).await?)
    }

    /// The same database with so many connections apart from the others, each of which is opened in the runtime that first uses it.
    /// SQLite has one writer, and so nothing apart.
    #[must_use]
    pub fn apart(&self, connections: u32) -> Self {
        let pools = match &self.pools {
            Pools::MySql(pool) => Pools::MySql(
                pool.options()
                    .clone()
                    .max_connections(connections)
                    .connect_lazy_with(pool.connect_options().as_ref().clone()),
            ),
            sqlite @ Pools::Sqlite { .. } => sqlite.clone(),
        };
        Self { pools }
    }

    /// Which SQL it speaks.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        match self.pools {
            Pools::MySql(_) => Dialect::MySql,
            Pools::Sqlite { .. } => Dialect::Sqlite,
        }
    }

    /// A connection to read with.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if there is none within the time allowed.
    pub async fn reader(&self) -> Result<Connection> {
        Ok(Connection::new(match &self.pools {
            Pools::MySql(pool) => Link::MySql(pool.acquire().await?),
            Pools::Sqlite { readers, .. } => Link::Sqlite(readers.acquire().await?),
        }))
    }

    /// A connection to write with.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if there is none within the time allowed.
    pub async fn writer(&self) -> Result<Connection> {
        Ok(Connection::new(match &self.pools {
            Pools::MySql(pool) => Link::MySql(pool.acquire().await?),
            Pools::Sqlite { writer, .. } => Link::Sqlite(writer.acquire().await?),
        }))
    }

    /// Begins a transaction that may write. It is rolled back when it is dropped without a commit.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if no connection is had within the time allowed.
    pub async fn begin(&self) -> Result<Transaction<'static>> {
        Transaction::begin(Held::Own(self.writer().await?)).await
    }

    /// Begins a transaction that reads, and sees one moment of the whole database until it ends.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if no connection is had within the time allowed.
    pub async fn snapshot(&self) -> Result<Transaction<'static>> {
        Transaction::snapshot(Held::Own(self.reader().await?)).await
    }

    /// The MySQL pool, if it is one.
    #[must_use]
    pub const fn mysql(&self) -> Option<&MySqlPool> {
        match &self.pools {
            Pools::MySql(pool) => Some(pool),
            Pools::Sqlite { .. } => None,
        }
    }

    /// The pool that reads SQLite, if it is one.
    #[must_use]
    pub const fn sqlite_readers(&self) -> Option<&SqlitePool> {
        match &self.pools {
            Pools::MySql(_) => None,
            Pools::Sqlite { readers, .. } => Some(readers),
        }
    }

    /// The pool that writes SQLite, if it is one.
    #[must_use]
    pub const fn sqlite_writer(&self) -> Option<&SqlitePool> {
        match &self.pools {
            Pools::MySql(_) => None,
            Pools::Sqlite { writer, .. } => Some(writer),
        }
    }

    /// Closes every connection, those in use as soon as they are given back.
    pub async fn close(&self) {
        match &self.pools {
            Pools::MySql(pool) => pool.close().await,
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }
}

async fn connect_mysql(url: &str, options: DatabaseOptions) -> Result<MySqlPool> {
    let connect = MySqlConnectOptions::from_str(url)
        .map_err(|error| Error::Url(format!("expected mysql://user:password@host/name ({error})")))?
        .statement_cache_capacity(PREPARED_STATEMENTS)
        // It would log slow statements whole, and some have hashes of emails in their text.
        .disable_statement_logging();
    // Why there is no connection: the pool would ask on where it is refused, and say only that its time is up.
    tokio::time::timeout(options.acquire_timeout, connect.connect())
        .await
        .map_err(|_| Error::Timeout(options.acquire_timeout))??
        .close()
        .await?;
    let pool = MySqlPoolOptions::new()
        .max_connections(options.connections)
        // Sooner than the server would.
        .idle_timeout(options.silence / 2)
        .acquire_timeout(options.acquire_timeout)
        // The busiest paths keep a connection of their own; the others can afford a ping to never get a stale one.
        .test_before_acquire(true)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                // Read committed: a statement sees what is committed when it starts. Under the default, repeatable
                // read, range conditions would also lock gaps, and neighbours would deadlock.
                connection
                    .execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                    .await?;
                for (variable, limit) in [
                    ("innodb_lock_wait_timeout", LOCK_WAIT),
                    ("wait_timeout", options.silence),
                ] {
                    let set = format!("SET SESSION {variable} = {}", limit.as_secs());
                    connection.execute(set.as_str()).await?;
                }
                Ok(())
            })
        })
        .connect_with(connect)
        .await?;
    Ok(pool)
}

async fn connect_sqlite(url: &str, options: DatabaseOptions) -> Result<Pools> {
    let connect = SqliteConnectOptions::from_str(url)
        .map_err(|error| Error::Url(format!("expected sqlite://path ({error})")))?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // FULL: a commit is on the disk when it returns, as with MySQL's defaults.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(LOCK_WAIT)
        .statement_cache_capacity(PREPARED_STATEMENTS)
        .disable_statement_logging();
    if let Some(folder) = connect.get_filename().parent() {
        tokio::fs::create_dir_all(folder)
            .await
            .map_err(|error| Error::Url(format!("cannot make the folder of {url} ({error})")))?;
    }
    let pool = || SqlitePoolOptions::new().acquire_timeout(options.acquire_timeout.max(LOCK_WAIT));
    let writer = open_sqlite(pool().max_connections(1), connect.clone()).await?;
    let readers = open_sqlite(
        pool()
            .max_connections(options.connections)
            .test_before_acquire(false),
        connect.create_if_missing(false),
    )
    .await?;
    Ok(Pools::Sqlite { writer, readers })
}

/// Opens a pool. Whoever makes a new file a WAL one needs it alone for a moment; a second process that opens it just
/// then is told that it is busy at once, whatever the busy timeout.
async fn open_sqlite(pool: SqlitePoolOptions, connect: SqliteConnectOptions) -> Result<SqlitePool> {
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match pool
            .clone()
            .connect_with(connect.clone())
            .await
            .map_err(Error::from)
        {
            Err(error) if error.is_contention() && Instant::now() < until => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            opened => return opened,
        }
    }
}
