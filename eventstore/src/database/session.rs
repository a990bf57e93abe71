//! Connections and transactions.
//!
//! A future may be dropped at any await, for example when a client disconnects or a timeout passes. If a
//! statement is dropped before it completes, its connection is out of sync with its server. sqlx would
//! nevertheless return the connection to its pool and wait, without a limit, for the answer to a ping. A
//! connection here therefore records whether it has unfinished work, and is closed if it is dropped in that
//! state. The server then rolls back the open transaction, and the pool can open a new connection. For the
//! same reason, the statements that begin and end a transaction are sent here and not by `sqlx::Transaction`.

mod server;

use std::sync::{Arc, OnceLock};

use sqlx::pool::PoolConnection;
use sqlx::{Executor, MySql, Sqlite};

use super::dialect::Dialect;
use super::mysql::Texts;
use super::query::{Origin, Query, finish};
use super::renewed_pool::Generation;
use super::row::Row;
use super::script::Script;
use super::sqlite::file::DatabaseFile;
use super::value::Value;
use crate::error::{Error, Result};
use crate::sealing::Sealing;

/// A connection of a driver's pool.
#[derive(Debug)]
pub(super) enum PooledConnection {
    /// The connection, how scripts are sent, and its generation.
    MySql(PoolConnection<MySql>, Texts, Generation),
    Sqlite(PoolConnection<Sqlite>, Option<Arc<DatabaseFile>>),
}

/// A connection or a transaction, on which statements run.
pub trait Session: Send {
    /// Returns the SQL dialect of the session.
    fn dialect(&self) -> Dialect;

    /// Returns a statement to run here, with a `?` for each value to bind.
    fn query<'q>(&mut self, sql: &'q str) -> Query<'q, '_>;

    /// Returns the sealing of the log, if it has one.
    fn sealing(&self) -> Option<&Sealing>;
}

/// A connection from a pool. When it is dropped, the connection returns to the pool, or is closed if it has
/// unfinished work.
#[derive(Debug)]
pub struct Connection {
    pooled: PooledConnection,
    unfinished: bool,
    /// Whether a transaction is open. The SQLite file is checked only when the transaction ends.
    in_transaction: bool,
    /// Shared with the database, because the log may be sealed while this connection is in use.
    sealing: Arc<OnceLock<Sealing>>,
}

impl Connection {
    pub(super) fn new(pooled: PooledConnection) -> Self {
        Self {
            pooled,
            unfinished: false,
            in_transaction: false,
            sealing: Arc::default(),
        }
    }

    /// Sets the sealing with which events are opened.
    pub(super) fn with_sealing(mut self, sealing: Arc<OnceLock<Sealing>>) -> Self {
        self.sealing = sealing;
        self
    }

    /// Returns the SQL dialect of the connection.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        match self.pooled {
            PooledConnection::MySql(..) => Dialect::MySql,
            PooledConnection::Sqlite(..) => Dialect::Sqlite,
        }
    }

    /// Marks the connection to be closed on drop, instead of returned to its pool.
    pub fn close_on_drop(&mut self) {
        self.unfinished = true;
    }

    /// Begins a transaction on this connection. On SQLite, the connection must come from the pool for
    /// writing.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`].
    pub async fn begin(&mut self) -> Result<Transaction<'_>> {
        Transaction::begin(Held::Borrowed(self)).await
    }

    /// Begins a transaction for reading on this connection. The transaction sees a snapshot of the whole
    /// database until it ends.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`].
    pub async fn snapshot(&mut self) -> Result<Transaction<'_>> {
        Transaction::snapshot(Held::Borrowed(self)).await
    }

    /// Begins a transaction and runs the statements that `fill` adds, all in one round trip. Returns the rows
    /// of all statements, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`].
    pub async fn begin_with(
        &mut self,
        fill: impl FnOnce(&mut Script),
    ) -> Result<(Transaction<'_>, Vec<Row>)> {
        Transaction::begin_with(Held::Borrowed(self), fill).await
    }

    /// Runs a whole transaction in one round trip: a script of [`Script::transaction`], and the commit. If a
    /// statement fails, nothing is committed. After [`Error::is_of_data`], the connection can still be used.
    ///
    /// # Errors
    ///
    /// The errors of [`Transaction::commit`].
    pub(crate) async fn transact(&mut self, script: Script) -> Result<()> {
        Transaction::whole(Held::Borrowed(self), script).await
    }

    /// Whether the statements of a script share one round trip.
    pub(crate) const fn sends_scripts_whole(&self) -> bool {
        match self.pooled {
            PooledConnection::MySql(_, texts, _) => !texts.one_by_one,
            PooledConnection::Sqlite(..) => false,
        }
    }

    /// Returns the maximum size of a script up to its last row that the server accepts, in bytes.
    #[must_use]
    pub const fn script_limit(&self) -> usize {
        match self.pooled {
            PooledConnection::MySql(_, texts, _) => texts.limit,
            PooledConnection::Sqlite(..) => usize::MAX,
        }
    }

    /// Inserts rows, in as many statements as the server's limit requires. Each statement is `insert`, which
    /// ends with `VALUES`, followed by rows.
    ///
    /// # Errors
    ///
    /// [`Error::RowTooLarge`]; [`Error::Database`], [`Error::Timeout`].
    pub async fn insert<'v, const N: usize>(
        &mut self,
        insert: &str,
        rows: impl IntoIterator<Item = [Value<'v>; N]>,
    ) -> Result<()> {
        let (mut full, mut last) = (Vec::new(), Script::new(self.dialect()));
        last.insert(insert, rows, self.script_limit(), &mut full)?;
        for script in full {
            self.run(script).await?;
        }
        if !last.is_empty() {
            self.run(last).await?;
        }
        Ok(())
    }

    /// Runs a script in one round trip and returns the rows of all its statements, in order. On Galera, each
    /// statement takes a round trip.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`].
    pub async fn run(&mut self, script: Script) -> Result<Vec<Row>> {
        Ok(match &mut self.pooled {
            PooledConnection::MySql(connection, texts, generation) => {
                let running = async {
                    let mut rows = Vec::new();
                    for text in script.texts(texts.one_by_one) {
                        rows.extend((&mut **connection).fetch_all(text).await?);
                    }
                    Ok(rows)
                };
                let rows = finish(&mut self.unfinished, Origin::Server(generation), running).await?;
                rows.into_iter().map(Row::mysql).collect()
            }
            PooledConnection::Sqlite(connection, file) => {
                let running = script.run_prepared(connection);
                let file = file.as_deref().filter(|_| !self.in_transaction);
                let rows = finish(&mut self.unfinished, Origin::File(file), running).await?;
                rows.into_iter().map(Row::sqlite).collect()
            }
        })
    }
}

impl Session for Connection {
    fn dialect(&self) -> Dialect {
        self.dialect()
    }

    fn query<'q>(&mut self, sql: &'q str) -> Query<'q, '_> {
        match &mut self.pooled {
            PooledConnection::MySql(connection, _, generation) => {
                Query::mysql(connection, sql, &mut self.unfinished, generation)
            }
            PooledConnection::Sqlite(connection, file) => {
                let file = file.as_deref().filter(|_| !self.in_transaction);
                Query::sqlite(connection, sql, &mut self.unfinished, file)
            }
        }
    }

    fn sealing(&self) -> Option<&Sealing> {
        self.sealing.get()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.unfinished || !self.is_current() {
            match &mut self.pooled {
                PooledConnection::MySql(connection, ..) => connection.close_on_drop(),
                PooledConnection::Sqlite(connection, _) => connection.close_on_drop(),
            }
        }
    }
}

#[derive(Debug)]
pub(super) enum Held<'c> {
    Owned(Connection),
    Borrowed(&'c mut Connection),
}

impl Held<'_> {
    const fn dialect(&self) -> Dialect {
        match self {
            Self::Owned(connection) => connection.dialect(),
            Self::Borrowed(connection) => connection.dialect(),
        }
    }
}

/// A transaction. If the transaction is dropped without a commit, its connection is closed, and the server
/// rolls back the transaction.
#[derive(Debug)]
pub struct Transaction<'c> {
    connection: Held<'c>,
    ended: bool,
}

impl<'c> Transaction<'c> {
    pub(super) async fn begin(connection: Held<'c>) -> Result<Self> {
        Ok(Self::begin_with(connection, |_| ()).await?.0)
    }

    async fn begin_with(connection: Held<'c>, fill: impl FnOnce(&mut Script)) -> Result<(Self, Vec<Row>)> {
        let mut script = Script::transaction(connection.dialect());
        fill(&mut script);
        Self::begin_by(connection, script).await
    }

    pub(super) async fn snapshot(connection: Held<'c>) -> Result<Self> {
        let begin = match connection.dialect() {
            Dialect::MySql => [
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
            ],
            // The first read fixes the snapshot.
            Dialect::Sqlite => ["BEGIN", "SELECT 1 FROM sqlite_schema LIMIT 1"],
        };
        let mut script = Script::new(connection.dialect());
        for statement in begin {
            script.statement(statement);
        }
        Ok(Self::begin_by(connection, script).await?.0)
    }

    /// Like [`Connection::transact`].
    async fn whole(connection: Held<'c>, mut script: Script) -> Result<()> {
        script.statement("COMMIT");
        let mut transaction = Self::on(connection)?;
        match transaction.run(script).await {
            Ok(_) => transaction.ended = true,
            Err(error) => {
                // The server has not run the statements after the failed statement. Another BEGIN would
                // commit the statements before it.
                if error.is_of_data() {
                    transaction.rollback().await?;
                }
                return Err(error);
            }
        }
        transaction.connection().in_transaction = false;
        Ok(())
    }

    async fn begin_by(connection: Held<'c>, script: Script) -> Result<(Self, Vec<Row>)> {
        let mut transaction = Self::on(connection)?;
        let rows = transaction.connection().run(script).await?;
        Ok((transaction, rows))
    }

    /// Takes a connection on which the next script begins a transaction.
    fn on(connection: Held<'c>) -> Result<Self> {
        // From here on, dropping the transaction closes the connection.
        let mut transaction = Self {
            connection,
            ended: false,
        };
        if transaction.connection().unfinished {
            return Err(Error::UnfinishedConnection);
        }
        transaction.connection().in_transaction = true;
        Ok(transaction)
    }

    const fn connection(&mut self) -> &mut Connection {
        match &mut self.connection {
            Held::Owned(connection) => connection,
            Held::Borrowed(connection) => connection,
        }
    }

    /// Returns the SQL dialect of the transaction.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.connection.dialect()
    }

    /// Commits the transaction, so that its changes are durable.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`]. It is then unknown whether the transaction was committed.
    pub async fn commit(self) -> Result<()> {
        let none = Script::new(self.dialect());
        self.commit_with(none).await
    }

    /// Runs a last script and commits, in one round trip. If a statement fails, nothing is committed.
    ///
    /// # Errors
    ///
    /// The errors of [`Transaction::commit`].
    pub async fn commit_with(self, mut script: Script) -> Result<()> {
        script.statement("COMMIT");
        self.end(script).await
    }

    /// Like [`Connection::run`], but within this transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`].
    pub async fn run(&mut self, script: Script) -> Result<Vec<Row>> {
        self.connection().run(script).await
    }

    /// Like [`Connection::insert`], but within this transaction.
    ///
    /// # Errors
    ///
    /// [`Error::RowTooLarge`]; [`Error::Database`], [`Error::Timeout`].
    pub async fn insert<'v, const N: usize>(
        &mut self,
        insert: &str,
        rows: impl IntoIterator<Item = [Value<'v>; N]>,
    ) -> Result<()> {
        self.connection().insert(insert, rows).await
    }

    /// Like [`Connection::script_limit`].
    #[must_use]
    pub const fn script_limit(&mut self) -> usize {
        self.connection().script_limit()
    }

    /// Rolls back the transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`]. The server then rolls back by itself.
    pub async fn rollback(self) -> Result<()> {
        let mut script = Script::new(self.dialect());
        script.statement("ROLLBACK");
        self.end(script).await
    }

    async fn end(mut self, script: Script) -> Result<()> {
        self.connection().in_transaction = false;
        self.connection().run(script).await?;
        self.ended = true;
        Ok(())
    }
}

impl Session for Transaction<'_> {
    fn dialect(&self) -> Dialect {
        self.dialect()
    }

    fn query<'q>(&mut self, sql: &'q str) -> Query<'q, '_> {
        self.connection().query(sql)
    }

    fn sealing(&self) -> Option<&Sealing> {
        match &self.connection {
            Held::Owned(connection) => connection.sealing(),
            Held::Borrowed(connection) => connection.sealing(),
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.connection().unfinished = true;
        }
    }
}
