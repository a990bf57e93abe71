//! Statements, and the rows that they answer.

use std::time::Duration;

use futures::{Stream, TryStreamExt};
use sqlx::mysql::{MySqlArguments, MySqlConnection, MySqlRow};
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{ColumnIndex, Decode, Encode, MySql, Row as _, Sqlite, Type};
use tokio::sync::mpsc;

use super::sqlite::{self, DatabaseFile};
use crate::error::{Error, Result};
use crate::event::Position;

/// How long one statement may take. A server that is gone without a word would otherwise never be noticed.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(20);

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
pub struct Query<'q, 'c> {
    statement: Statement<'q, 'c>,
    unfinished: &'c mut bool,
    file: Option<&'c DatabaseFile>,
}

enum Statement<'q, 'c> {
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
    pub(super) fn mysql(connection: &'c mut MySqlConnection, sql: &'q str, unfinished: &'c mut bool) -> Self {
        Self {
            statement: Statement::MySql(connection, sqlx::query(sql)),
            unfinished,
            file: None,
        }
    }

    pub(super) fn sqlite(
        connection: &'c mut SqliteConnection,
        sql: &'q str,
        unfinished: &'c mut bool,
        file: Option<&'c DatabaseFile>,
    ) -> Self {
        Self {
            statement: Statement::Sqlite(connection, sqlx::query(sql)),
            unfinished,
            file,
        }
    }

    /// Binds the next `?`.
    #[must_use]
    pub fn bind<T: Bind<'q>>(mut self, value: T) -> Self {
        self.statement = match self.statement {
            Statement::MySql(connection, query) => Statement::MySql(connection, query.bind(value)),
            Statement::Sqlite(connection, query) => Statement::Sqlite(connection, query.bind(value)),
        };
        self
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
    /// [`Error::Database`], [`Error::Timeout`].
    pub async fn execute(self) -> Result<u64> {
        let Self {
            statement,
            unfinished,
            file,
        } = self;
        finish(unfinished, file, async {
            Ok(match statement {
                Statement::MySql(connection, query) => query.execute(connection).await?.rows_affected(),
                Statement::Sqlite(connection, query) => query.execute(connection).await?.rows_affected(),
            })
        })
        .await
    }

    /// Runs it; all rows.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`].
    pub async fn fetch_all(self) -> Result<Vec<Row>> {
        let Self {
            statement,
            unfinished,
            file,
        } = self;
        finish(unfinished, file, async {
            Ok(match statement {
                Statement::MySql(connection, query) => query
                    .fetch_all(connection)
                    .await?
                    .into_iter()
                    .map(Row::MySql)
                    .collect(),
                Statement::Sqlite(connection, query) => query
                    .fetch_all(connection)
                    .await?
                    .into_iter()
                    .map(Row::Sqlite)
                    .collect(),
            })
        })
        .await
    }

    /// Runs it and sends the rows as they come, in blocks. The first column is the position; that of the last
    /// row, or `None` if there was no row or the receiver is gone.
    pub(crate) async fn send_blocks(
        self,
        size: BlockSize,
        blocks: &mpsc::Sender<Result<Vec<Row>>>,
    ) -> Result<Option<Position>> {
        let Self {
            statement,
            unfinished,
            file,
        } = self;
        // Until the last row has come, the server has more to say.
        let before = std::mem::replace(unfinished, true);
        let sent = match statement {
            Statement::MySql(connection, query) => {
                send(query.fetch(connection).map_ok(Row::MySql), size, blocks).await?
            }
            Statement::Sqlite(connection, query) => {
                send(query.fetch(connection).map_ok(Row::Sqlite), size, blocks).await?
            }
        };
        sqlite::check(file)?;
        match sent {
            Sent::All(last) => {
                *unfinished = before;
                Ok(last)
            }
            Sent::Abandoned => Ok(None),
        }
    }

    /// Runs it; the first row, if there is one. For statements that give one row at most.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`].
    pub async fn fetch_optional(self) -> Result<Option<Row>> {
        Ok(self.fetch_all().await?.into_iter().next())
    }
}

/// Waits for a statement, and notes whether its connection can be used on: only if the server has answered.
/// What an SQLite file answers counts only if it still is the database's file.
pub(super) async fn finish<T>(
    unfinished: &mut bool,
    file: Option<&DatabaseFile>,
    statement: impl Future<Output = sqlx::Result<T>>,
) -> Result<T> {
    let before = std::mem::replace(unfinished, true);
    let answered = tokio::time::timeout(STATEMENT_TIMEOUT, statement)
        .await
        .map_err(|_| Error::Timeout(STATEMENT_TIMEOUT))?
        .map_err(Error::from);
    if !answered.as_ref().is_err_and(Error::is_connection) {
        *unfinished = before;
    }
    // First: a file that is gone makes statements fail in many ways.
    file.map_or(Ok(()), DatabaseFile::check_open)?;
    answered
}

/// How much is sent at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockSize {
    /// The most rows.
    pub(crate) rows: usize,
    /// The bytes that end a block.
    pub(crate) bytes: usize,
    /// The columns whose bytes count.
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
            .map_err(|_| Error::Timeout(STATEMENT_TIMEOUT))??;
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

    /// The bytes of a column that holds text, JSON or bytes, as they came; `None` for NULL.
    pub(crate) fn bytes(&self, column: usize) -> Result<Option<&[u8]>> {
        // Unchecked, since no type of sqlx reads JSON as what it is on the wire.
        Ok(match self {
            Self::MySql(row) => row.try_get_unchecked(column)?,
            Self::Sqlite(row) => row.try_get_unchecked(column)?,
        })
    }
}

/// `?, ?, …` for the values of an `IN (…)`, and how many there are: the next power of two, so that a server
/// sees few different statements. Bind the values, then the last one again for the rest: [`padded`].
#[must_use]
pub fn in_list(values: usize) -> String {
    let mut list = "?, ".repeat(values.next_power_of_two());
    list.truncate(list.len() - 2);
    list
}

/// The values for an [`in_list`]: the last one again until their number is a power of two. Nothing for no
/// value.
pub fn padded<T: Copy>(values: &[T]) -> impl Iterator<Item = T> + '_ {
    let rest = values
        .last()
        .map(|last| std::iter::repeat_n(*last, values.len().next_power_of_two() - values.len()));
    values.iter().copied().chain(rest.into_iter().flatten())
}
