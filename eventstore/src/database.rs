//! A common interface to MySQL, MariaDB and SQLite.
//!
//! A few enums wrap the two sqlx drivers, so a statement that the dialects share is written once:
//! `connection.query("SELECT … WHERE id = ?").bind(id).fetch_all().await`. sqlx's own `Any` driver has no
//! JSON, reads MySQL's `TEXT` as bytes, and hides the pools that mysql-es and sqlite-es need.
//!
//! SQLite has one writer at a time, so it has two pools: one with a single connection for writing, and one
//! with several connections for reading.

mod cluster;
mod dialect;
mod inspect;
#[cfg(feature = "cqrs")]
mod library_pool;
mod mysql;
mod mysql_url;
mod options;
mod pools;
mod query;
mod renewed_pool;
mod row;
mod rows;
mod script;
mod servers;
mod session;
mod sqlite;
mod value;

use std::sync::{Arc, OnceLock};

use sqlx::sqlite::SqlitePool;

use crate::error::Result;
use crate::metrics::Metrics;
use crate::sealing::Sealing;
#[cfg(feature = "cqrs")]
use library_pool::SharedLibraryPool;
use pools::Pools;
use session::Held;

pub use dialect::Dialect;
pub use inspect::ServerFacts;
#[cfg(feature = "cqrs")]
pub(crate) use library_pool::LibraryPool;
pub use options::DatabaseOptions;
pub(crate) use query::BlockSize;
pub use query::{Query, in_list, padded};
pub use row::{Column, ColumnIndex, Row};
pub use script::Script;
pub use session::{Connection, Session, Transaction};
pub use value::Value;

/// An open database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pools: Pools,
    #[cfg(feature = "cqrs")]
    library_pool: Arc<SharedLibraryPool>,
    metrics: Metrics,
    sealing: Arc<OnceLock<Sealing>>,
    replica: Arc<OnceLock<Database>>,
}

impl Database {
    /// Returns for each pool its name, the number of connections in use, and the number of open connections.
    #[must_use]
    pub fn connections(&self) -> Vec<(&'static str, usize, usize)> {
        let mut connections = self.pools.connections();
        if let Some(keys) = self.keys() {
            connections.extend(keys.pools.connections_to_keys());
        }
        if let Some(replica) = self.replica.get() {
            let open = replica.pools.connections().into_iter();
            connections.extend(open.map(|(_, used, open)| ("replica-mysql", used, open)));
        }
        connections
    }

    /// Returns the database of the keys of this log, if it is another database.
    fn keys(&self) -> Option<&Self> {
        self.sealing()?.keys().own_database()
    }

    /// Returns the metrics of this database, which its clones share.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Seals the personal data of the events that are appended to the log of this database, and opens the
    /// personal data of the events that are read, also for all clones. Only the first call has an effect. The
    /// format of the log must be sealed ([`crate::LogFormat`]).
    pub fn seal_with(&self, sealing: Sealing) {
        let _ = self.sealing.set(sealing);
    }

    /// Returns the sealing of the log, if it has one.
    #[must_use]
    pub fn sealing(&self) -> Option<&Sealing> {
        self.sealing.get()
    }

    /// Opens the database at `url`: `mysql://user:password@host:port/name` or `sqlite://path`. A MySQL URL
    /// may list several servers, separated by commas. The server that accepts writes is used, even after
    /// another server has taken over this role.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Url`] if the URL has another scheme or an unknown option, and [`crate::Error::Tls`] if
    /// the server's certificate is not trusted. Retrying fixes neither. [`crate::Error::NoFile`] if an SQLite
    /// file does not exist and must not be created. [`crate::Error::Database`] and [`crate::Error::Timeout`]
    /// if the database cannot be reached.
    pub async fn connect(url: &str, options: DatabaseOptions) -> Result<Self> {
        Ok(Self {
            pools: Pools::connect(url, options).await?,
            #[cfg(feature = "cqrs")]
            library_pool: Arc::default(),
            metrics: Metrics::default(),
            sealing: Arc::default(),
            replica: Arc::default(),
        })
    }

    /// Opens a replica of this database, at a MySQL URL. A replica is only read from, and may be out of date.
    /// It shares the sealing of this database.
    ///
    /// # Errors
    ///
    /// The errors of [`Database::connect`].
    pub async fn connect_replica(&self, url: &str, options: DatabaseOptions) -> Result<Self> {
        let options = DatabaseOptions {
            is_replica: true,
            create: false,
            ..options
        };
        Ok(Self {
            sealing: Arc::clone(&self.sealing),
            ..Self::connect(url, options).await?
        })
    }

    /// Uses a replica for reads that may be out of date, also for all clones. Only the first call has an
    /// effect.
    pub fn read_from(&self, replica: Self) {
        let _ = self.replica.set(replica);
    }

    /// Returns the database for reads that may be out of date: the replica or, if there is no replica, this
    /// database.
    #[must_use]
    pub fn for_stale_reads(&self) -> &Self {
        self.replica.get().unwrap_or(self)
    }

    /// Returns the replica, if there is one.
    #[must_use]
    pub fn replica(&self) -> Option<&Self> {
        self.replica.get()
    }

    /// Creates the database of a MySQL URL if it does not exist. (An SQLite database is created when it is
    /// opened.)
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`], for example if the user lacks the privilege, and the errors of
    /// [`Database::connect`].
    pub async fn create(url: &str) -> Result<()> {
        mysql::create(url, DatabaseOptions::default()).await
    }

    /// Asks each server of a MySQL URL about itself, also servers that accept no writes. Returns the address
    /// of each server, as `host:port`, with its answer.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Url`] if the URL cannot be parsed, or if a file that it names cannot be read. The
    /// answer of a server can be each error of [`Database::connect`].
    pub async fn inspect(url: &str) -> Result<Vec<(String, Result<ServerFacts>)>> {
        inspect::inspect(url).await
    }

    /// Returns the same database with a separate pool of at most `connections` connections. Each connection
    /// is opened in the runtime that first uses it. SQLite has one writer, so its pools stay shared.
    #[must_use]
    pub fn with_separate_pool(&self, connections: u32) -> Self {
        Self {
            pools: self.pools.with_separate_pool(connections),
            #[cfg(feature = "cqrs")]
            library_pool: Arc::clone(&self.library_pool),
            metrics: self.metrics.clone(),
            sealing: Arc::clone(&self.sealing),
            replica: Arc::clone(&self.replica),
        }
    }

    /// Returns the SQL dialect of the database.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.pools.dialect()
    }

    /// Returns a connection for reading. On MySQL, its server accepts writes, because a server that accepts
    /// no writes may be out of date. Only the server of a replica may accept no writes.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`] if no connection becomes available before the timeout;
    /// [`crate::Error::ReadOnly`]; [`crate::Error::FileLost`].
    pub async fn reader(&self) -> Result<Connection> {
        let connection = self.pools.reader().await?;
        Ok(connection.with_sealing(Arc::clone(&self.sealing)))
    }

    /// Returns a connection for writing.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`] if no connection becomes available before the timeout;
    /// [`crate::Error::ReadOnly`]; [`crate::Error::FileLost`].
    pub async fn writer(&self) -> Result<Connection> {
        let connection = self.pools.writer().await?;
        Ok(connection.with_sealing(Arc::clone(&self.sealing)))
    }

    /// Runs the work of a library that needs a pool. The work has the same timeout as a statement. A
    /// connection on which the work was interrupted is never reused.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Timeout`], [`crate::Error::ReadOnly`], [`crate::Error::FileLost`].
    #[cfg(feature = "cqrs")]
    pub(crate) async fn with_library_pool<T>(&self, work: impl AsyncFnOnce(LibraryPool) -> T) -> Result<T> {
        self.library_pool.run(&self.pools, work).await
    }

    /// Begins a transaction that may write. If the transaction is dropped without a commit, it is rolled
    /// back.
    ///
    /// # Errors
    ///
    /// The errors of [`Database::writer`]; [`crate::Error::Timeout`].
    pub async fn begin(&self) -> Result<Transaction<'static>> {
        Transaction::begin(Held::Owned(self.writer().await?)).await
    }

    /// Begins a transaction for reading. The transaction sees a snapshot of the whole database until it ends.
    ///
    /// # Errors
    ///
    /// The errors of [`Database::reader`]; [`crate::Error::Timeout`].
    pub async fn snapshot(&self) -> Result<Transaction<'static>> {
        Transaction::snapshot(Held::Owned(self.reader().await?)).await
    }

    /// Returns the SQLite pool for writing; `None` for MySQL.
    pub(crate) const fn sqlite_writer(&self) -> Option<&SqlitePool> {
        match &self.pools {
            Pools::MySql(_) => None,
            Pools::Sqlite { writer, .. } => Some(writer),
        }
    }

    /// Whether this database, or the database of the keys of its log, is an SQLite file, to which
    /// [`Database::vacuum`] and [`Database::truncate_journal`] apply.
    #[must_use]
    pub fn has_files(&self) -> bool {
        let is_sqlite = |database: &Self| database.dialect() == Dialect::Sqlite;
        is_sqlite(self) || self.keys().is_some_and(is_sqlite)
    }

    /// Removes earlier versions of pages from SQLite's write-ahead log, which may contain deleted data, also
    /// in the database of the keys. Returns false if a reader still needs them; call the function again
    /// later. On MySQL, does nothing.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`], [`crate::Error::Timeout`], [`crate::Error::Keys`].
    pub async fn truncate_journal(&self) -> Result<bool> {
        let keys_are_gone = match self.keys() {
            None => true,
            Some(keys) => keys.truncate_own_journal().await.map_err(crate::Error::of_keys)?,
        };
        Ok(self.truncate_own_journal().await? && keys_are_gone)
    }

    async fn truncate_own_journal(&self) -> Result<bool> {
        if self.dialect() == Dialect::MySql {
            return Ok(true);
        }
        let mut writer = self.writer().await?;
        // The checkpoint blocks all writers while it waits for readers, so it waits only for a moment.
        writer.query("PRAGMA busy_timeout = 100").fetch_all().await?;
        let row = writer
            .query("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_optional()
            .await;
        let restored = format!("PRAGMA busy_timeout = {}", options::LOCK_WAIT.as_millis());
        writer.query(&restored).fetch_all().await?;
        let busy: i64 = row?.map_or(Ok(0), |row| row.get(0))?;
        Ok(busy == 0)
    }

    /// Rewrites the SQLite file, and the SQLite file of the keys, without deleted data. SQLite overwrites
    /// deleted rows with zeros, but can leave copies of rows that it has moved to another page. The earlier
    /// versions of the pages stay in the write-ahead log until [`Database::truncate_journal`]. Other writers
    /// wait meanwhile, and the statement has no timeout. On MySQL, does nothing.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`], [`crate::Error::Keys`].
    pub async fn vacuum(&self) -> Result<()> {
        if let Some(keys) = self.keys() {
            keys.vacuum_own().await.map_err(crate::Error::of_keys)?;
        }
        self.vacuum_own().await
    }

    async fn vacuum_own(&self) -> Result<()> {
        if let Some(writer) = self.sqlite_writer() {
            let vacuumed = sqlx::query("VACUUM").execute(writer).await;
            vacuumed.map_err(crate::Error::from_driver)?;
        }
        Ok(())
    }

    /// Closes every connection, also to the replica and to the database of the keys. Connections in use are
    /// closed when they are returned. SQLite moves the write-ahead log into the file when its last connection
    /// closes.
    pub async fn close(&self) {
        if let Some(replica) = self.replica.get() {
            replica.pools.close().await;
        }
        #[cfg(feature = "cqrs")]
        self.library_pool.close().await;
        self.pools.close().await;
        if let Some(keys) = self.keys() {
            keys.pools.close().await;
        }
    }
}
