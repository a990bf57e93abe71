//! Single statements.

use std::time::Duration;

use futures::{Stream, TryStreamExt};
use sqlx::mysql::{MySqlArguments, MySqlConnection};
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{MySql, Sqlite};
use tokio::sync::mpsc;

use super::renewed_pool::Generation;
use super::row::Row;
use super::sqlite::file::DatabaseFile;
use super::value::{Value, bind_value};
use crate::error::{Error, Result};
use crate::event::Position;

/// Timeout of one statement. Without it, a server that disappears would go unnoticed.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(20);

/// A statement and the connection that runs it.
pub struct Query<'q, 'c> {
    statement: DriverQuery<'q, 'c>,
    unfinished: &'c mut bool,
    origin: Origin<'c>,
}

/// Where the answers to a statement come from.
#[derive(Clone, Copy)]
pub(super) enum Origin<'c> {
    /// A MySQL server, over a connection of this generation.
    Server(&'c Generation),
    /// An SQLite file; `None` if it is not checked.
    File(Option<&'c DatabaseFile>),
}

impl Origin<'_> {
    /// Notes an error that shows that the server was switched. Returns [`Error::FileLost`] if the SQLite file
    /// is no longer the file of the database.
    fn check<T>(self, answered: &Result<T>) -> Result<()> {
        match self {
            Self::Server(generation) => {
                if let Err(error) = answered {
                    generation.note(error);
                }
                Ok(())
            }
            Self::File(file) => file.map_or(Ok(()), DatabaseFile::check_open),
        }
    }
}

enum DriverQuery<'q, 'c> {
    MySql(
        &'c mut MySqlConnection,
        sqlx::query::Query<'q, MySql, MySqlArguments>,
    ),
    Sqlite(
        &'c mut SqliteConnection,
        sqlx::query::Query<'q, Sqlite, SqliteArguments<'q>>,
    ),
}

impl<'q, 'c> Query<'q, 'c> {
    pub(super) fn mysql(
        connection: &'c mut MySqlConnection,
        sql: &'q str,
        unfinished: &'c mut bool,
        generation: &'c Generation,
    ) -> Self {
        Self {
            statement: DriverQuery::MySql(connection, sqlx::query(sql)),
            unfinished,
            origin: Origin::Server(generation),
        }
    }

    pub(super) fn sqlite(
        connection: &'c mut SqliteConnection,
        sql: &'q str,
        unfinished: &'c mut bool,
        file: Option<&'c DatabaseFile>,
    ) -> Self {
        Self {
            statement: DriverQuery::Sqlite(connection, sqlx::query(sql)),
            unfinished,
            origin: Origin::File(file),
        }
    }

    /// Binds the next `?`.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        let value = value.into();
        self.statement = match self.statement {
            DriverQuery::MySql(connection, query) => {
                DriverQuery::MySql(connection, bind_value!(query, value))
            }
            DriverQuery::Sqlite(connection, query) => {
                DriverQuery::Sqlite(connection, bind_value!(query, value))
            }
        };
        self
    }

    /// Binds each value to the next `?`.
    #[must_use]
    pub fn bind_all<V: Into<Value<'q>>>(self, values: impl IntoIterator<Item = V>) -> Self {
        values.into_iter().fold(self, Self::bind)
    }

    /// Runs the statement and returns the number of affected rows.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`].
    pub async fn execute(self) -> Result<u64> {
        let Self {
            statement,
            unfinished,
            origin,
        } = self;
        finish(unfinished, origin, async {
            Ok(match statement {
                DriverQuery::MySql(connection, query) => query.execute(connection).await?.rows_affected(),
                DriverQuery::Sqlite(connection, query) => query.execute(connection).await?.rows_affected(),
            })
        })
        .await
    }

    /// Runs the statement and returns all rows.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`].
    pub async fn fetch_all(self) -> Result<Vec<Row>> {
        let Self {
            statement,
            unfinished,
            origin,
        } = self;
        finish(unfinished, origin, async {
            Ok(match statement {
                DriverQuery::MySql(connection, query) => query
                    .fetch_all(connection)
                    .await?
                    .into_iter()
                    .map(Row::mysql)
                    .collect(),
                DriverQuery::Sqlite(connection, query) => query
                    .fetch_all(connection)
                    .await?
                    .into_iter()
                    .map(Row::sqlite)
                    .collect(),
            })
        })
        .await
    }

    /// Runs the statement and sends the rows in blocks as they arrive. The first column is the position.
    /// Returns the position of the last row, or `None` if there was no row or the receiver is gone.
    pub(crate) async fn send_blocks(
        self,
        size: BlockSize,
        blocks: &mpsc::Sender<Result<Vec<Row>>>,
    ) -> Result<Option<Position>> {
        let Self {
            statement,
            unfinished,
            origin,
        } = self;
        // The connection stays unfinished until the last row has arrived.
        let before = std::mem::replace(unfinished, true);
        let sent = match statement {
            DriverQuery::MySql(connection, query) => {
                send(query.fetch(connection).map_ok(Row::mysql), size, blocks).await?
            }
            DriverQuery::Sqlite(connection, query) => {
                send(query.fetch(connection).map_ok(Row::sqlite), size, blocks).await?
            }
        };
        if let Origin::File(file) = origin {
            DatabaseFile::check_if_any(file)?;
        }
        match sent {
            Sent::All(last) => {
                *unfinished = before;
                Ok(last)
            }
            Sent::Abandoned => Ok(None),
        }
    }

    /// Runs the statement and returns its first row, if any. For statements that return at most one row.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`].
    pub async fn fetch_optional(self) -> Result<Option<Row>> {
        Ok(self.fetch_all().await?.into_iter().next())
    }
}

/// Waits for a statement. Marks the connection as reusable only if the server has answered. An answer from
/// SQLite counts only if the open file is still the database's file.
pub(super) async fn finish<T>(
    unfinished: &mut bool,
    origin: Origin<'_>,
    statement: impl Future<Output = sqlx::Result<T>>,
) -> Result<T> {
    let before = std::mem::replace(unfinished, true);
    let answered = tokio::time::timeout(STATEMENT_TIMEOUT, statement)
        .await
        .map_err(|_| Error::Timeout(STATEMENT_TIMEOUT))?
        .map_err(Error::from_driver);
    if !answered
        .as_ref()
        .is_err_and(|error| error.is_connection() || error.shows_a_switch())
    {
        *unfinished = before;
    }
    // Checked first, because statements fail in many ways if the file is gone.
    origin.check(&answered)?;
    answered
}

/// Limits of one block of rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockSize {
    /// Maximum number of rows.
    pub(crate) rows: usize,
    /// Number of bytes at which a block ends.
    pub(crate) bytes: usize,
    /// Columns whose bytes are counted.
    pub(crate) counted: &'static [usize],
}

enum Sent {
    All(Option<Position>),
    Abandoned,
}

async fn send(
    mut rows: impl Stream<Item = sqlx::Result<Row>> + Send + Unpin,
    size: BlockSize,
    blocks: &mpsc::Sender<Result<Vec<Row>>>,
) -> Result<Sent> {
    let mut last = None;
    let mut block = Vec::new();
    let mut bytes = 0;
    loop {
        let row = tokio::time::timeout(STATEMENT_TIMEOUT, rows.try_next())
            .await
            .map_err(|_| Error::Timeout(STATEMENT_TIMEOUT))?
            .map_err(Error::from_driver)?;
        let ends = row.is_none();
        if let Some(row) = row {
            last = Some(row.get(0)?);
            for column in size.counted {
                bytes += row.bytes(*column)?.map_or(0, <[u8]>::len);
            }
            block.push(row);
        }
        if block.len() == size.rows || bytes >= size.bytes || ends && !block.is_empty() {
            bytes = 0;
            if blocks.send(Ok(std::mem::take(&mut block))).await.is_err() {
                return Ok(Sent::Abandoned);
            }
        }
        if ends {
            return Ok(Sent::All(last));
        }
    }
}

/// Returns `?, ?, …` for an `IN (…)` with the given number of values, rounded up to the next power of two. A
/// server therefore sees few different statements. Bind the values that [`padded`] returns.
#[must_use]
pub fn in_list(values: usize) -> String {
    let mut list = "?, ".repeat(values.next_power_of_two());
    list.truncate(list.len() - 2);
    list
}

/// Returns the values for an [`in_list`]. The last value is repeated until the number of values is a power of
/// two. Without values, the result is empty.
pub fn padded<T: Copy>(values: &[T]) -> impl Iterator<Item = T> + '_ {
    let rest = values
        .last()
        .map(|last| std::iter::repeat_n(*last, values.len().next_power_of_two() - values.len()));
    values.iter().copied().chain(rest.into_iter().flatten())
}
