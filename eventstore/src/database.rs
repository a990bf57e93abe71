//! One way to talk to MySQL, MariaDB and SQLite.
//!
//! Both sqlx drivers stand behind a few enums, so that a statement that the dialects share is written once:
//! `connection.query("SELECT … WHERE id = ?").bind(id).fetch_all().await`. sqlx's own `Any` driver has no JSON, reads
//! MySQL's `TEXT` as bytes and hides the pools that mysql-es and sqlite-es want.
//!
//! SQLite has one writer at a time, so it gets two pools: one connection that writes, in turn, and some that read.

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::MigrateDatabase;
use sqlx::mysql::{
    MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions, MySqlRow,
};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ColumnIndex, Connection as _, Decode, Encode, Executor, MySql, Row as _, Sqlite, Type};
use tokio::time::Instant;

use crate::error::{Error, Result};

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
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self {
            connections: 10,
            acquire_timeout: Duration::from_secs(5),
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
        Ok(match &self.pools {
            Pools::MySql(pool) => Connection::MySql(pool.acquire().await?),
            Pools::Sqlite { readers, .. } => Connection::Sqlite(readers.acquire().await?),
        })
    }

    /// A connection to write with.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if there is none within the time allowed.
    pub async fn writer(&self) -> Result<Connection> {
        Ok(match &self.pools {
            Pools::MySql(pool) => Connection::MySql(pool.acquire().await?),
            Pools::Sqlite { writer, .. } => Connection::Sqlite(writer.acquire().await?),
        })
    }

    /// Begins a transaction that may write. It is rolled back when it is dropped without a commit.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if no connection is had within the time allowed.
    pub async fn begin(&self) -> Result<Transaction<'static>> {
        let pools = self.pools.clone();
        // In a task of its own, which goes on when this call is cancelled: sqlx forgets a `BEGIN` that is cancelled between
        // the statement and its bookkeeping, and the connection would go back to the pool with a transaction open.
        let begun = tokio::spawn(async move {
            Ok(match pools {
                Pools::MySql(pool) => Transaction::MySql(pool.begin().await?),
                Pools::Sqlite { writer, .. } => {
                    Transaction::Sqlite(writer.begin_with(BEGIN_IMMEDIATE).await?)
                }
            })
        });
        begun
            .await
            .unwrap_or_else(|_| Err(Error::Database(sqlx::Error::WorkerCrashed)))
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

/// Takes SQLite's write lock at once: a transaction that reads first and writes later could find, at its first write,
/// that another one has written since, and would have to start again.
const BEGIN_IMMEDIATE: &str = "BEGIN IMMEDIATE";

async fn connect_mysql(url: &str, options: DatabaseOptions) -> Result<MySqlPool> {
    let connect = MySqlConnectOptions::from_str(url)
        .map_err(|error| Error::Url(format!("expected mysql://user:password@host/name ({error})")))?
        .statement_cache_capacity(PREPARED_STATEMENTS);
    let pool = MySqlPoolOptions::new()
        .max_connections(options.connections)
        .acquire_timeout(options.acquire_timeout)
        // The busiest paths keep a connection of their own; the others can afford a ping to never get a stale one.
        .test_before_acquire(true)
        .after_connect(|connection, _| {
            Box::pin(async move {
                // Read committed: a statement sees what is committed when it starts. Under the default, repeatable
                // read, range conditions would also lock gaps, and neighbours would deadlock.
                connection
                    .execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                    .await?;
                connection
                    .execute(
                        format!("SET SESSION innodb_lock_wait_timeout = {}", LOCK_WAIT.as_secs()).as_str(),
                    )
                    .await?;
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
        .statement_cache_capacity(PREPARED_STATEMENTS);
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

/// What statements run on: a connection or a transaction.
pub trait Session: Send {
    /// A statement to run here, with `?` where a value is to be bound.
    fn query<'q>(&mut self, sql: &'q str) -> Query<'q, '_>;
}

/// A connection from a pool, given back when it is dropped.
#[derive(Debug)]
pub enum Connection {
    /// To MySQL or MariaDB.
    MySql(PoolConnection<MySql>),
    /// To SQLite.
    Sqlite(PoolConnection<Sqlite>),
}

impl Connection {
    /// Ends the connection when it is dropped, instead of giving it back to its pool: whatever state it is in, its
    /// transaction ends with it.
    pub fn close_on_drop(&mut self) {
        match self {
            Self::MySql(connection) => connection.close_on_drop(),
            Self::Sqlite(connection) => connection.close_on_drop(),
        }
    }

    /// Begins a transaction on this connection; on SQLite it must be one to write with.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if the connection is broken.
    pub async fn begin(&mut self) -> Result<Transaction<'_>> {
        Ok(match self {
            Self::MySql(connection) => Transaction::MySql(connection.begin().await?),
            Self::Sqlite(connection) => Transaction::Sqlite(connection.begin_with(BEGIN_IMMEDIATE).await?),
        })
    }
}

impl Session for Connection {
    fn query<'q>(&mut self, sql: &'q str) -> Query<'q, '_> {
        match self {
            Self::MySql(connection) => Query::MySql(connection, sqlx::query(sql)),
            Self::Sqlite(connection) => Query::Sqlite(connection, sqlx::query(sql)),
        }
    }
}

/// A transaction, rolled back when it is dropped without a commit.
#[derive(Debug)]
pub enum Transaction<'c> {
    /// On MySQL or MariaDB.
    MySql(sqlx::Transaction<'c, MySql>),
    /// On SQLite.
    Sqlite(sqlx::Transaction<'c, Sqlite>),
}

impl Transaction<'_> {
    /// Which SQL it speaks.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        match self {
            Self::MySql(_) => Dialect::MySql,
            Self::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// Makes what the transaction did durable.
    ///
    /// # Errors
    ///
    /// [`Error::Database`]: then it is open whether it was committed.
    pub async fn commit(self) -> Result<()> {
        match self {
            Self::MySql(transaction) => transaction.commit().await?,
            Self::Sqlite(transaction) => transaction.commit().await?,
        }
        Ok(())
    }

    /// Undoes what the transaction did.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if the connection is broken; the server undoes it then by itself.
    pub async fn rollback(self) -> Result<()> {
        match self {
            Self::MySql(transaction) => transaction.rollback().await?,
            Self::Sqlite(transaction) => transaction.rollback().await?,
        }
        Ok(())
    }
}

impl Session for Transaction<'_> {
    fn query<'q>(&mut self, sql: &'q str) -> Query<'q, '_> {
        match self {
            Self::MySql(transaction) => Query::MySql(transaction, sqlx::query(sql)),
            Self::Sqlite(transaction) => Query::Sqlite(transaction, sqlx::query(sql)),
        }
    }
}

/// A type that can be bound to a `?` on every database.
pub trait Bind<'q>: Send + Encode<'q, MySql> + Type<MySql> + Encode<'q, Sqlite> + Type<Sqlite> + 'q {}

impl<'q, T> Bind<'q> for T where
    T: Send + Encode<'q, MySql> + Type<MySql> + Encode<'q, Sqlite> + Type<Sqlite> + 'q
{
}

/// A type that can be read from a column on every database.
pub trait Column<'r>: Decode<'r, MySql> + Type<MySql> + Decode<'r, Sqlite> + Type<Sqlite> {}

impl<'r, T> Column<'r> for T where T: Decode<'r, MySql> + Type<MySql> + Decode<'r, Sqlite> + Type<Sqlite> {}

/// A statement with the connection that it will run on.
pub enum Query<'q, 'c> {
    /// On MySQL or MariaDB.
    MySql(
        &'c mut MySqlConnection,
        sqlx::query::Query<'q, MySql, MySqlArguments>,
    ),
    /// On SQLite.
    Sqlite(
        &'c mut SqliteConnection,
        sqlx::query::Query<'q, Sqlite, SqliteArguments<'q>>,
    ),
}

impl<'q> Query<'q, '_> {
    /// Binds the next `?`.
    #[must_use]
    pub fn bind<T: Bind<'q>>(self, value: T) -> Self {
        match self {
            Self::MySql(connection, query) => Self::MySql(connection, query.bind(value)),
            Self::Sqlite(connection, query) => Self::Sqlite(connection, query.bind(value)),
        }
    }

    /// Binds the next `?`s, one for each value.
    #[must_use]
    pub fn bind_all<T: Bind<'q>>(self, values: impl IntoIterator<Item = T>) -> Self {
        values.into_iter().fold(self, Self::bind)
    }

    /// Runs it; the number of rows that were changed.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn execute(self) -> Result<u64> {
        Ok(match self {
            Self::MySql(connection, query) => query.execute(connection).await?.rows_affected(),
            Self::Sqlite(connection, query) => query.execute(connection).await?.rows_affected(),
        })
    }

    /// Runs it; all rows.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn fetch_all(self) -> Result<Vec<Row>> {
        Ok(match self {
            Self::MySql(connection, query) => query
                .fetch_all(connection)
                .await?
                .into_iter()
                .map(Row::MySql)
                .collect(),
            Self::Sqlite(connection, query) => query
                .fetch_all(connection)
                .await?
                .into_iter()
                .map(Row::Sqlite)
                .collect(),
        })
    }

    /// Runs it; the first row, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn fetch_optional(self) -> Result<Option<Row>> {
        Ok(match self {
            Self::MySql(connection, query) => query.fetch_optional(connection).await?.map(Row::MySql),
            Self::Sqlite(connection, query) => query.fetch_optional(connection).await?.map(Row::Sqlite),
        })
    }
}

/// A row of an answer.
pub enum Row {
    /// From MySQL or MariaDB.
    MySql(MySqlRow),
    /// From SQLite.
    Sqlite(SqliteRow),
}

impl Row {
    /// The value of a column, by name or by number from 0.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if there is no such column or its value is of another type.
    pub fn get<'r, T, I>(&'r self, column: I) -> Result<T>
    where
        T: Column<'r>,
        I: ColumnIndex<MySqlRow> + ColumnIndex<SqliteRow>,
    {
        Ok(match self {
            Self::MySql(row) => row.try_get(column)?,
            Self::Sqlite(row) => row.try_get(column)?,
        })
    }
}

/// `?, ?, …` for the values of an `IN (…)`, and how many there are: the next power of two, so that a server sees few
/// different statements. Bind the values, then the last one again for the rest: [`padded`].
#[must_use]
pub fn in_list(values: usize) -> String {
    let mut list = "?, ".repeat(values.next_power_of_two());
    list.truncate(list.len() - 2);
    list
}

/// The values for an [`in_list`]: the last one again until their number is a power of two. Nothing for no value.
pub fn padded<T: Copy>(values: &[T]) -> impl Iterator<Item = T> + '_ {
    let rest = values
        .last()
        .map(|last| std::iter::repeat_n(*last, values.len().next_power_of_two() - values.len()));
    values.iter().copied().chain(rest.into_iter().flatten())
}

/// `(?, …), (?, …), …`: a place for each of `rows` rows of `columns` columns, for an `INSERT … VALUES`.
#[must_use]
pub fn values_list(rows: usize, columns: usize) -> String {
    let mut row = "?, ".repeat(columns);
    row.truncate(row.len().saturating_sub(2));
    let mut list = format!("({row}), ").repeat(rows);
    list.truncate(list.len().saturating_sub(2));
    list
}
