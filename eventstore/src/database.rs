//! One way to talk to MySQL, MariaDB and SQLite.
//!
//! Both sqlx drivers stand behind a few enums, so that a statement that the dialects share is written once:
//! `connection.query("SELECT … WHERE id = ?").bind(id).fetch_all().await`. sqlx's own `Any` driver has no
//! JSON, reads MySQL's `TEXT` as bytes and hides the pools that mysql-es and sqlite-es want.
//!
//! SQLite has one writer at a time, so it gets two pools: one connection that writes, in turn, and some that
//! read.

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

/// Statements kept prepared on each connection. Batches vary in length, and each length is a statement of its
/// own.
const PREPARED_STATEMENTS: usize = 1024;

/// How long a statement waits for a lock that another connection holds.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The pause before a busy SQLite file is opened again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// How long connections that are in use are waited for when a database is closed, and how often they are
/// looked at.
const CLOSING: Duration = Duration::from_secs(10);
const CLOSING_PAUSE: Duration = Duration::from_millis(2);

/// A kind of SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// MySQL 8.4 and later, MariaDB 10.6 and later.
    MySql,
    /// SQLite 3.
    Sqlite,
}

impl Dialect {
    /// What follows a `SELECT` that takes the rows for the rest of the transaction. SQLite takes the whole
    /// database at `BEGIN IMMEDIATE` instead.
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

    /// What follows the name of a table that is read in the order of its primary key. MySQL would at times
    /// rather find all rows by the beginning of another index and sort them, in particular where they are
    /// about a thousand.
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
    /// How long MySQL keeps a connection that says nothing, in whole seconds from 1. A process that is gone
    /// without a word (a machine without power, a network cut in two, a suspended process) would otherwise
    /// hold the locks of its transaction for hours, and `log_head`'s stops every append everywhere.
    pub silence: Duration,
    /// Whether an SQLite file and its folder are created if they do not exist.
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

/// A database, opened. Cheap to clone.
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
        /// None for a database in memory.
        file: Option<Arc<DatabaseFile>>,
    },
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
    /// Waiting does not fix [`Error::Url`], if the URL is of neither kind or has an option that is not known,
    /// nor [`Error::Tls`], if the server's certificate is not trusted. [`Error::NoFile`] if an SQLite file
    /// does not exist and is not to be created; [`Error::Database`] and [`Error::Timeout`] if the database
    /// cannot be reached.
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

    /// Creates the database that a MySQL URL names, if it does not exist. (An SQLite database is created when
    /// it is opened.)
    ///
    /// # Errors
    ///
    /// [`Error::Database`], such as for a user without the right to; those of [`Database::connect`].
    pub async fn create(url: &str) -> Result<()> {
        mysql::create(url, DatabaseOptions::default()).await
    }

    /// The same database with so many connections apart from the others, each of which is opened in the
    /// runtime that first uses it. SQLite has one writer, and so nothing apart.
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

    /// Which SQL it speaks.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        match self.pools {
            Pools::MySql { .. } => Dialect::MySql,
            Pools::Sqlite { .. } => Dialect::Sqlite,
        }
    }

    /// A connection to read with.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if there is none within the time allowed; [`Error::FileLost`].
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

    /// A connection to write with.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if there is none within the time allowed; [`Error::FileLost`].
    pub async fn writer(&self) -> Result<Connection> {
        match &self.pools {
            Pools::MySql { .. } => self.reader().await,
            Pools::Sqlite { writer, file, .. } => {
                Ok(Connection::new(sqlite::acquire(writer, file.as_ref()).await?))
            }
        }
    }

    /// Lends connections to a library that wants a pool: what it does takes as long as a statement may, and a
    /// connection that it leaves in the middle of something is used by nobody again.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`], [`Error::FileLost`].
    pub(crate) async fn lend<T>(&self, work: impl AsyncFnOnce(LentPool) -> T) -> Result<T> {
        self.lent.lend(&self.pools, work).await
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
            Pools::MySql { pool, .. } => Some(pool),
            Pools::Sqlite { .. } => None,
        }
    }

    /// The pool that reads SQLite, if it is one.
    #[must_use]
    pub const fn sqlite_readers(&self) -> Option<&SqlitePool> {
        match &self.pools {
            Pools::MySql { .. } => None,
            Pools::Sqlite { readers, .. } => Some(readers),
        }
    }

    /// The pool that writes SQLite, if it is one.
    #[must_use]
    pub const fn sqlite_writer(&self) -> Option<&SqlitePool> {
        match &self.pools {
            Pools::MySql { .. } => None,
            Pools::Sqlite { writer, .. } => Some(writer),
        }
    }

    /// Closes every connection, those in use as soon as they are given back. The last one that closes an
    /// SQLite file moves the write-ahead log into it.
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

/// Closes a pool, and waits until its connections are closed. The driver's own `close` counts a place twice
/// for each connection that was idle, and so may return while others are in use or are being given back.
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
            "connections to the database are still in use, and are left open"
        );
    }
}
