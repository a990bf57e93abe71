//! Connections and transactions.
//!
//! A future may be dropped at any await: a client goes away, a timeout passes. A connection whose statement
//! was dropped half-way is out of step with its server, and sqlx would give it back to its pool all the same
//! and wait, without limit, for an answer to its ping. So a connection here knows whether something on it is
//! unfinished, and if it is dropped then, it is closed instead: the server rolls back what was open, and the
//! pool gets its place back. That is also why the statements that begin and end a transaction are sent here
//! and not by `sqlx::Transaction`.

use sqlx::pool::PoolConnection;
use sqlx::{Executor, MySql, Sqlite};

use std::sync::Arc;

use super::Dialect;
use super::query::{Query, Row, finish};
use super::script::{Script, Value};
use super::sqlite::DatabaseFile;
use crate::error::{Error, Result};

#[derive(Debug)]
pub(super) enum Link {
    /// With the maximum number of bytes of a script up to its last row.
    MySql(PoolConnection<MySql>, usize),
    Sqlite(PoolConnection<Sqlite>, Option<Arc<DatabaseFile>>),
}

/// What statements run on: a connection or a transaction.
pub trait Session: Send {
    /// A statement to run here, with `?` where a value is to be bound.
    fn query<'q>(&mut self, sql: &'q str) -> Query<'q, '_>;
}

/// A connection from a pool: given back when it is dropped, or closed if it was dropped in the middle of
/// something.
#[derive(Debug)]
pub struct Connection {
    link: Link,
    unfinished: bool,
}

impl Connection {
    pub(super) const fn new(link: Link) -> Self {
        Self {
            link,
            unfinished: false,
        }
    }

    /// Which SQL it speaks.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        match self.link {
            Link::MySql(..) => Dialect::MySql,
            Link::Sqlite(..) => Dialect::Sqlite,
        }
    }

    /// Closes the connection when it is dropped, instead of giving it back to its pool.
    pub fn close_on_drop(&mut self) {
        self.unfinished = true;
    }

    /// Begins a transaction on this connection; on SQLite it must be one to write with.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if the connection is broken.
    pub async fn begin(&mut self) -> Result<Transaction<'_>> {
        Transaction::begin(Held::Lent(self)).await
    }

    /// Begins a transaction and runs what `fill` adds to a script in it, all in one round trip; the rows of
    /// all statements, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`].
    pub async fn begin_with(
        &mut self,
        fill: impl FnOnce(&mut Script),
    ) -> Result<(Transaction<'_>, Vec<Row>)> {
        Transaction::begin_with(Held::Lent(self), fill).await
    }

    /// Maximum number of bytes of a script up to its last row, so that the server accepts it.
    #[must_use]
    pub const fn script_limit(&self) -> usize {
        match self.link {
            Link::MySql(_, limit) => limit,
            Link::Sqlite(..) => usize::MAX,
        }
    }

    /// Inserts rows, in as many statements as the server accepts: `insert`, which ends with `VALUES`, and
    /// then the rows.
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

    /// Runs a script, in one round trip; the rows of all its statements, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`].
    pub async fn run(&mut self, script: Script) -> Result<Vec<Row>> {
        Ok(match &mut self.link {
            Link::MySql(connection, _) => {
                let text = script.text().unwrap_or_default();
                let rows = finish(&mut self.unfinished, None, (&mut **connection).fetch_all(text)).await?;
                rows.into_iter().map(Row::MySql).collect()
            }
            Link::Sqlite(connection, file) => {
                let running = script.run_prepared(connection);
                let rows = finish(&mut self.unfinished, file.as_deref(), running).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
        })
    }
}

impl Session for Connection {
    fn query<'q>(&mut self, sql: &'q str) -> Query<'q, '_> {
        match &mut self.link {
            Link::MySql(connection, _) => Query::mysql(connection, sql, &mut self.unfinished),
            Link::Sqlite(connection, file) => {
                Query::sqlite(connection, sql, &mut self.unfinished, file.as_deref())
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.unfinished {
            match &mut self.link {
                Link::MySql(connection, _) => connection.close_on_drop(),
                Link::Sqlite(connection, _) => connection.close_on_drop(),
            }
        }
    }
}

#[derive(Debug)]
pub(super) enum Held<'c> {
    Own(Connection),
    Lent(&'c mut Connection),
}

impl Held<'_> {
    const fn dialect(&self) -> Dialect {
        match self {
            Self::Own(connection) => connection.dialect(),
            Self::Lent(connection) => connection.dialect(),
        }
    }
}

/// A transaction. If it is dropped without a commit, its connection is closed, and the server rolls it back.
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
        let begin = match connection.dialect() {
            Dialect::MySql => "BEGIN",
            // Takes the write lock at once: a transaction that reads first and writes later could find, at
            // its first write, that another one has written since, and would have to start again.
            Dialect::Sqlite => "BEGIN IMMEDIATE",
        };
        let mut script = Script::new(connection.dialect());
        script.statement(begin);
        fill(&mut script);
        Self::begin_by(connection, script).await
    }

    pub(super) async fn snapshot(connection: Held<'c>) -> Result<Self> {
        let begin = match connection.dialect() {
            Dialect::MySql => [
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
            ],
            // The moment is that of the first read.
            Dialect::Sqlite => ["BEGIN", "SELECT 1 FROM sqlite_schema LIMIT 1"],
        };
        let mut script = Script::new(connection.dialect());
        for statement in begin {
            script.statement(statement);
        }
        Ok(Self::begin_by(connection, script).await?.0)
    }

    async fn begin_by(connection: Held<'c>, script: Script) -> Result<(Self, Vec<Row>)> {
        // From here on, whoever drops this ends the connection.
        let mut transaction = Self {
            connection,
            ended: false,
        };
        if transaction.connection().unfinished {
            return Err(Error::Database(sqlx::Error::WorkerCrashed));
        }
        let rows = transaction.connection().run(script).await?;
        Ok((transaction, rows))
    }

    const fn connection(&mut self) -> &mut Connection {
        match &mut self.connection {
            Held::Own(connection) => connection,
            Held::Lent(connection) => connection,
        }
    }

    /// Which SQL it speaks.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.connection.dialect()
    }

    /// Makes what the transaction did durable.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`]: then it is open whether it was committed.
    pub async fn commit(self) -> Result<()> {
        let none = Script::new(self.dialect());
        self.commit_with(none).await
    }

    /// Runs one last script and commits, in one round trip. If a statement fails, nothing is committed.
    ///
    /// # Errors
    ///
    /// As [`Transaction::commit`].
    pub async fn commit_with(self, mut script: Script) -> Result<()> {
        script.statement("COMMIT");
        self.end(script).await
    }

    /// As [`Connection::run`].
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`].
    pub async fn run(&mut self, script: Script) -> Result<Vec<Row>> {
        self.connection().run(script).await
    }

    /// As [`Connection::insert`].
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

    /// As [`Connection::script_limit`].
    #[must_use]
    pub const fn script_limit(&mut self) -> usize {
        self.connection().script_limit()
    }

    /// Undoes what the transaction did.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if the connection is broken; the server undoes it then by itself.
    pub async fn rollback(self) -> Result<()> {
        let mut script = Script::new(self.dialect());
        script.statement("ROLLBACK");
        self.end(script).await
    }

    async fn end(mut self, script: Script) -> Result<()> {
        self.connection().run(script).await?;
        self.ended = true;
        Ok(())
    }
}

impl Session for Transaction<'_> {
    fn query<'q>(&mut self, sql: &'q str) -> Query<'q, '_> {
        self.connection().query(sql)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.connection().unfinished = true;
        }
    }
}
