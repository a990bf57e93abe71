//! Statements that are sent together.
//!
//! A round trip costs more than the network time. On a busy machine, both sides wait for a core, and a
//! transaction holds its locks meanwhile. Statements that do not depend on each other's results are therefore
//! sent to the server as one text. MySQL accepts values separately from the text only for a single statement,
//! so the values are written into the text. Nothing is escaped: numbers are decimal, texts without quotes,
//! backslashes or control characters are quoted, and all other values are hexadecimal. (With a binary log,
//! MySQL also writes the values of prepared statements into their text before it runs them.)
//!
//! SQLite runs in the process and has no round trips. Its statements run one after the other, prepared.

use std::fmt::Write as _;

use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Executor as _, Sqlite};

use super::Dialect;
use crate::clock::Timestamp;
use crate::event::Position;

/// Maximum number of values in a statement that SQLite keeps prepared. Each number of rows is a separate
/// statement, a prepared statement grows with its values, and a connection keeps many of them. Without this
/// limit, a process under load used 83 MiB. With it, the process uses 48 MiB at the same rate.
const KEPT_VALUES: usize = 500;

/// Statements with their values, in the order in which they run. The script stops at the first failure.
#[derive(Debug)]
pub struct Script(Spelt);

#[derive(Debug)]
enum Spelt {
    MySql(String),
    Sqlite(Vec<Prepared>),
}

/// A statement with a `?` for each value.
#[derive(Debug, Default)]
struct Prepared {
    sql: String,
    values: Vec<Owned>,
}

#[derive(Debug)]
enum Owned {
    Integer(i64),
    Text(String),
    Digest([u8; 32]),
    Null,
}

/// A value in a statement.
#[derive(Debug, Clone, Copy)]
pub enum Value<'v> {
    /// An integer.
    Integer(i64),
    /// Text or JSON.
    Text(&'v str),
    /// A SHA-256 digest of 32 bytes.
    Digest(&'v [u8; 32]),
    /// NULL.
    Null,
}

impl<T: Into<Self>> From<Option<T>> for Value<'_> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(moment: Timestamp) -> Self {
        Self::Integer(moment.as_micros())
    }
}

impl From<Position> for Value<'_> {
    fn from(position: Position) -> Self {
        Self::Integer(position.get().cast_signed())
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(text: &'v str) -> Self {
        Self::Text(text)
    }
}

impl<'v> From<&'v String> for Value<'v> {
    fn from(text: &'v String) -> Self {
        Self::Text(text)
    }
}

impl<'v> From<&'v [u8; 32]> for Value<'v> {
    fn from(digest: &'v [u8; 32]) -> Self {
        Self::Digest(digest)
    }
}

impl Script {
    /// Creates an empty script.
    #[must_use]
    pub const fn new(dialect: Dialect) -> Self {
        Self(match dialect {
            Dialect::MySql => Spelt::MySql(String::new()),
            Dialect::Sqlite => Spelt::Sqlite(Vec::new()),
        })
    }

    /// Begins a statement. [`Script::sql`], [`Script::value`] and [`Script::list`] continue it. Never put
    /// values into `sql`.
    pub fn statement(&mut self, sql: &str) -> &mut Self {
        match &mut self.0 {
            Spelt::MySql(text) if !text.is_empty() => text.push_str("; "),
            Spelt::MySql(_) => {}
            Spelt::Sqlite(statements) => statements.push(Prepared::default()),
        }
        self.sql(sql)
    }

    /// Adds SQL to the current statement.
    pub fn sql(&mut self, sql: &str) -> &mut Self {
        match &mut self.0 {
            Spelt::MySql(text) => text.push_str(sql),
            Spelt::Sqlite(statements) => present(statements).sql.push_str(sql),
        }
        self
    }

    /// Adds a value to the current statement.
    pub fn value<'v>(&mut self, value: impl Into<Value<'v>>) -> &mut Self {
        let value = value.into();
        match &mut self.0 {
            Spelt::MySql(text) => spell(text, value),
            Spelt::Sqlite(statements) => {
                let statement = present(statements);
                statement.sql.push('?');
                statement.values.push(match value {
                    Value::Integer(number) => Owned::Integer(number),
                    Value::Text(text) => Owned::Text(text.to_owned()),
                    Value::Digest(digest) => Owned::Digest(*digest),
                    Value::Null => Owned::Null,
                });
            }
        }
        self
    }

    /// Adds `(…, …)`, the values of an `IN`. There must be at least one value.
    pub fn list<'v, V: Into<Value<'v>>>(&mut self, values: impl IntoIterator<Item = V>) -> &mut Self {
        self.sql("(");
        for (number, value) in values.into_iter().enumerate() {
            if number > 0 {
                self.sql(", ");
            }
            self.value(value);
        }
        self.sql(")")
    }

    /// Adds `(…), (…)`, the rows of an `INSERT … VALUES`. There must be at least one row.
    pub fn rows<'v, const N: usize>(&mut self, rows: impl IntoIterator<Item = [Value<'v>; N]>) -> &mut Self {
        for (number, row) in rows.into_iter().enumerate() {
            if number > 0 {
                self.sql(", ");
            }
            self.list(row);
        }
        self
    }

    /// Returns the SQL dialect of the script.
    pub(crate) const fn dialect(&self) -> Dialect {
        match self.0 {
            Spelt::MySql(_) => Dialect::MySql,
            Spelt::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// Returns the number of bytes to send to MySQL; 0 for SQLite, which runs in this process.
    pub(super) fn len(&self) -> usize {
        self.text().map_or(0, str::len)
    }

    /// Whether the script has no statements.
    pub(super) fn is_empty(&self) -> bool {
        match &self.0 {
            Spelt::MySql(text) => text.is_empty(),
            Spelt::Sqlite(statements) => statements.is_empty(),
        }
    }

    /// Removes and returns the text after the first `length` bytes.
    pub(super) fn cut(&mut self, length: usize) -> String {
        match &mut self.0 {
            Spelt::MySql(text) => text.split_off(length),
            Spelt::Sqlite(_) => String::new(),
        }
    }

    /// Returns the text to send to MySQL; `None` for SQLite.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.0 {
            Spelt::MySql(text) => Some(text),
            Spelt::Sqlite(_) => None,
        }
    }

    /// Runs the script on SQLite and returns the rows of all statements, in order.
    pub(super) async fn run_prepared(
        self,
        connection: &mut SqliteConnection,
    ) -> sqlx::Result<Vec<SqliteRow>> {
        let mut rows = Vec::new();
        if let Spelt::Sqlite(statements) = self.0 {
            for Prepared { sql, values } in statements {
                let kept = values.len() <= KEPT_VALUES;
                let bound = values.into_iter().fold(
                    sqlx::query(&sql).persistent(kept),
                    |query: sqlx::query::Query<'_, Sqlite, SqliteArguments<'_>>, value| match value {
                        Owned::Integer(number) => query.bind(number),
                        Owned::Text(text) => query.bind(text),
                        Owned::Digest(digest) => query.bind(digest.to_vec()),
                        Owned::Null => query.bind(None::<i64>),
                    },
                );
                rows.extend(connection.fetch_all(bound).await?);
            }
        }
        Ok(rows)
    }
}

/// Returns the current statement.
fn present(statements: &mut Vec<Prepared>) -> &mut Prepared {
    if statements.is_empty() {
        statements.push(Prepared::default());
    }
    let last = statements.len() - 1;
    &mut statements[last]
}

/// Writes a value as a MySQL literal that is valid under any `sql_mode`.
fn spell(text: &mut String, value: Value<'_>) {
    match value {
        Value::Integer(number) => {
            // Writing to a String never fails.
            let _ = write!(text, "{number}");
        }
        Value::Text(value) if is_plain(value) => {
            text.push('\'');
            text.push_str(value);
            text.push('\'');
        }
        Value::Text(value) => {
            text.push_str("_utf8mb4 X'");
            spell_bytes(text, value.as_bytes());
            text.push('\'');
        }
        Value::Digest(digest) => {
            text.push_str("X'");
            spell_bytes(text, digest);
            text.push('\'');
        }
        Value::Null => text.push_str("NULL"),
    }
}

/// Whether MySQL reads the text unchanged between quotes, with and without `NO_BACKSLASH_ESCAPES`. The
/// connection uses UTF-8, in which no character contains the bytes of another character.
fn is_plain(text: &str) -> bool {
    !text
        .bytes()
        .any(|byte| byte == b'\'' || byte == b'\\' || byte < b' ')
}

fn spell_bytes(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.reserve(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}
