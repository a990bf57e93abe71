//! A common interface to MySQL, MariaDB and SQLite.
//!
//! A few enums wrap the two sqlx drivers, so a statement that the dialects share is written once:
//! `connection.query("SELECT … WHERE id = ?").bind(id).fetch_all().await`. sqlx's own `Any` driver has no
//! JSON, reads MySQL's `TEXT` as bytes, and hides the pools that mysql-es and sqlite-es need.
//!
//! SQLite has one writer at a time, so it has two pools: one with a single connection for writing, and one
//! with several connections for reading.

mod lent;
mod mysql;
mod mysql_url;
mod query;
mod rows;
mod script;
mod session;
mod sqlite;
mod sqlite_file;

use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::MySqlPool;
use sqlx::sqlite::SqlitePool;

use crate::error::{Error, Result};
use lent::Lent;
use mysql::Packet;
use session::{Held, Link};
use sqlite::DatabaseFile;

pub(crate) use lent::LentPool;
pub(crate) use query::BlockSize;
pub use query::{Bind, Column, Query, Row, in_list, padded};
pub use script::{Script, Value};
pub use session::{Connection, Session, Transaction};

/// Number of prepared statements cached for each connection. Each length of a batch needs a separate
/// statement.
const PREPARED_STATEMENTS: usize = 1024;

/// How long a statement waits for a lock held by another connection.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Pause before opening a busy SQLite file again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// How long closing a database waits for connections in use, and the pause between checks.
const CLOSING: Duration = Duration::from_secs(10);
const CLOSING_PAUSE: Duration = Duration::from_millis(2);

/// An SQL dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// MySQL 8.4 and later, MariaDB 10.6 and later.
    MySql,
    /// SQLite 3.
    Sqlite,
}

impl Dialect {
    /// Returns the suffix of a `SELECT` that locks its rows until the transaction ends. SQLite locks the
    /// whole database at `BEGIN IMMEDIATE` instead.
    #[must_use]
    pub const fn for_update(self) -> &'static str {
        match self {
            Self::MySql => " FOR UPDATE",
            Self::Sqlite => "",
        }
    }

    /// Like [`Dialect::for_update`], but skips rows that another transaction has locked.
    #[must_use]
    pub const fn for_update_skip_locked(self) -> &'static str {
        match self {
            Self::MySql => " FOR UPDATE SKIP LOCKED",
            Self::Sqlite => "",
        }
    }

    /// Returns the suffix of a table name that makes the query read in primary key order. MySQL sometimes
    /// prefers to find all rows by a prefix of another index and sort them, in particular for about a
    /// thousand rows.
    #[must_use]
    pub const fn by_primary_key(self) -> &'static str {
        match self {
            Self::MySql => " FORCE INDEX (PRIMARY)",
            Self::Sqlite => "",
        }
    }

    /// Returns the suffix of the table `events` that makes a query find events by their aggregates. SQLite
    /// does so if the query uses `+position`.
    pub(crate) const fn by_aggregate(self) -> &'static str {
        match self {
            Self::MySql => " FORCE INDEX (events_aggregate)",
            Self::Sqlite => "",
        }
    }

    /// Returns the start of an `INSERT` that leaves existing rows unchanged.
    #[must_use]
    pub const fn insert_ignore(self) -> &'static str {
        match self {
            Self::MySql => "INSERT IGNORE",
            Self::Sqlite => "INSERT OR IGNORE",
        }
    }
}

/// Options for opening a database.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseOptions {
    /// Maximum number of connections, 1 or more.
    pub connections: u32,
    /// How long to wait for a free or new connection.
    pub acquire_timeout: Duration,
    /// How long MySQL keeps an idle connection, in whole seconds from 1. Without this limit, a process that
    /// disappears (a power failure, a network partition, a suspended process) would hold the locks of its
    /// transaction for hours. The lock on `log_head` stops every append in every process.
    pub silence: Duration,
    /// Whether a missing SQLite file and its folder are created.
    pub create: bool,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self {
            connections: 16,
            acquire_timeout: Duration::from_secs(5),
            silence: Duration::from_secs(30),
            create: true,
        }
    }
}

/// An open database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pools: Pools,
    lent: Arc<Lent>,
}

#[derive(Debug, Clone)]
enum Pools {
    MySql {
        pool: MySqlPool,
        packet: Packet,
    },
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
        /// `None` for an in-memory database.
        file: Option<Arc<DatabaseFile>>,
    },
}

impl Database {
    /// Returns for each pool its name, the number of connections in use, and the number of open connections.
    #[must_use]
    pub fn connections(&self) -> Vec<(&'static str, usize, usize)> {
        fn of<D: sqlx::Database>(name: &'static str, pool: &sqlx::Pool<D>) -> (&'static str, usize, usize) {
            let open = pool.size() as usize;
            (name, open.saturating_sub(pool.num_idle()), open)
        }
        match &self.pools {
            Pools::MySql { pool, .. } => vec![of("mysql", pool)],
            Pools::Sqlite { writer, readers, .. } => {
                vec![of("sqlite-writer", writer), of("sqlite-readers", readers)]
            }
        }
    }

    /// Opens the database at `url`: `mysql://user:password@host:port/name` or `sqlite://path`.
    ///
    /// # Errors
    ///
    /// [`Error::Url`] if the URL has another scheme or an unknown option, and [`Error::Tls`] if the server's
    /// certificate is not trusted. Retrying fixes neither. [`Error::NoFile`] if an SQLite file does not exist
    /// and must not be created. [`Error::Database`] and [`Error::Timeout`] if the database cannot be reached.
    pub async fn connect(url: &str, options: DatabaseOptions) -> Result<Self> {
        let pools = if url.starts_with("mysql:") || url.starts_with("mariadb:") {
            let (pool, packet) = mysql::connect(url, options).await?;
            Pools::MySql { pool, packet }
        } else if url.starts_with("sqlite:") {
            let sqlite::Opened {
                writer,
                readers,
                file,
            } = sqlite::connect(url, options).await?;
            Pools::Sqlite {
                writer,
                readers,
                file,
            }
        } else {
            return Err(Error::Url(
                "expected mysql://user:password@host/name or sqlite://path".into(),
            ));
        };
        Ok(Self {
            pools,
            lent: Arc::default(),
        })
    }

    /// Creates the database of a MySQL URL if it does not exist. (An SQLite database is created when it is
    /// opened.)
    ///
    /// # Errors
    ///
    /// [`Error::Database`], for example if the user lacks the privilege, and the errors of
    /// [`Database::connect`].
    pub async fn create(url: &str) -> Result<()> {
        mysql::create(url, DatabaseOptions::default()).await
    }

    /// Returns the same database with a separate pool of at most `connections` connections. Each connection
    /// is opened in the runtime that first uses it. SQLite has one writer, so its pools stay shared.
    #[must_use]
    pub fn apart(&self, connections: u32) -> Self {
        let pools = match &self.pools {
            Pools::MySql { pool, packet } => Pools::MySql {
                pool: pool
                    .options()
                    .clone()
                    .max_connections(connections)
                    .connect_lazy_with(pool.connect_options().as_ref().clone()),
                packet: packet.clone(),
            },
            sqlite @ Pools::Sqlite { .. } => sqlite.clone(),
        };
        Self {
            pools,
            lent: Arc::clone(&self.lent),
        }
    }

    /// Returns the SQL dialect of the database.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        match self.pools {
            Pools::MySql { .. } => Dialect::MySql,
            Pools::Sqlite { .. } => Dialect::Sqlite,
        }
    }

    /// Returns a connection for reading.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if no connection becomes available before the timeout; [`Error::FileLost`].
    pub async fn reader(&self) -> Result<Connection> {
        Ok(match &self.pools {
            Pools::MySql { pool, packet } => {
                Connection::new(Link::MySql(pool.acquire().await?, packet.script_limit()))
            }
            Pools::Sqlite { readers, file, .. } => {
                Connection::new(sqlite::acquire(readers, file.as_ref()).await?)
            }
        })
    }

    /// Returns a connection for writing.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if no connection becomes available before the timeout; [`Error::FileLost`].
    pub async fn writer(&self) -> Result<Connection> {
        match &self.pools {
            Pools::MySql { .. } => self.reader().await,
            Pools::Sqlite { writer, file, .. } => {
                Ok(Connection::new(sqlite::acquire(writer, file.as_ref()).await?))
            }
        }
    }

    /// Lends connections to a library that needs a pool. The library's work has the same timeout as a
    /// statement. A connection on which the work was interrupted is never reused.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`], [`Error::FileLost`].
    pub(crate) async fn lend<T>(&self, work: impl AsyncFnOnce(LentPool) -> T) -> Result<T> {
        self.lent.lend(&self.pools, work).await
    }

    /// Begins a transaction that may write. If the transaction is dropped without a commit, it is rolled
    /// back.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if no connection becomes available before the timeout.
    pub async fn begin(&self) -> Result<Transaction<'static>> {
        Transaction::begin(Held::Own(self.writer().await?)).await
    }

    /// Begins a transaction for reading. The transaction sees a snapshot of the whole database until it ends.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if no connection becomes available before the timeout.
    pub async fn snapshot(&self) -> Result<Transaction<'static>> {
        Transaction::snapshot(Held::Own(self.reader().await?)).await
    }

    /// Returns the MySQL pool; `None` for SQLite.
    #[must_use]
    pub const fn mysql(&self) -> Option<&MySqlPool> {
        match &self.pools {
            Pools::MySql { pool, .. } => Some(pool),
            Pools::Sqlite { .. } => None,
        }
    }

    /// Returns the SQLite pool for reading; `None` for MySQL.
    #[must_use]
    pub const fn sqlite_readers(&self) -> Option<&SqlitePool> {
        match &self.pools {
            Pools::MySql { .. } => None,
            Pools::Sqlite { readers, .. } => Some(readers),
        }
    }

    /// Returns the SQLite pool for writing; `None` for MySQL.
    #[must_use]
    pub const fn sqlite_writer(&self) -> Option<&SqlitePool> {
        match &self.pools {
            Pools::MySql { .. } => None,
            Pools::Sqlite { writer, .. } => Some(writer),
        }
    }

    /// Closes every connection. Connections in use are closed when they are returned. SQLite moves the
    /// write-ahead log into the file when its last connection closes.
    pub async fn close(&self) {
        self.lent.close().await;
        match &self.pools {
            Pools::MySql { pool, .. } => close(pool).await,
            Pools::Sqlite { writer, readers, .. } => {
                close(readers).await;
                close(writer).await;
            }
        }
    }
}

/// Closes a pool and waits until its connections are closed. The driver's own `close` counts the slot of each
/// idle connection twice, so it may return while other connections are in use or being returned.
async fn close<D: sqlx::Database>(pool: &sqlx::Pool<D>) {
    let closing = async {
        loop {
            pool.close().await;
            if pool.size() == 0 {
                return;
            }
            tokio::time::sleep(CLOSING_PAUSE).await;
        }
    };
    if tokio::time::timeout(CLOSING, closing).await.is_err() {
        tracing::warn!(
            connections = pool.size(),
            "database connections are still in use; leaving them open"
        );
    }
}
