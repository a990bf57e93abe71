//! Statements that travel together.
//!
//! A round trip costs more than the network: on a busy machine either side waits for its turn on a core, and
//! a transaction holds its locks meanwhile. So statements between which nobody decides go to the server as
//! one text. MySQL takes values apart from the text for one statement at a time only; here they are spelt
//! out, and nothing is escaped: numbers stand in digits, texts without quotes, backslashes and control
//! characters between quotes, and all else in hexadecimal digits. (With a binary log, MySQL writes the values
//! of prepared statements into their text too, before it runs them.)
//!
//! SQLite is in the process and has no round trips: there the statements are run one after the other,
//! prepared.

use std::fmt::Write as _;

use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Executor as _, Sqlite};

use super::Dialect;
use crate::clock::Timestamp;
use crate::event::Position;

/// The most values of a statement that SQLite keeps prepared. Each number of rows is a statement of its own,
/// a prepared one grows with its values, and a connection keeps many. With all of them kept a process under
/// load had 83 MiB, and has 48, at the same rate.
const KEPT_VALUES: usize = 500;

/// Statements with their values, in the order in which they run. A failure of one ends the script there.
#[derive(Debug)]
pub struct Script(Spelt);

#[derive(Debug)]
enum Spelt {
    MySql(String),
    Sqlite(Vec<Prepared>),
}

/// A statement with a `?` for each of its values.
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
    /// A whole number.
    Integer(i64),
    /// Text, or JSON.
    Text(&'v str),
    /// 32 bytes of SHA-256.
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
    /// No statement yet.
    #[must_use]
    pub const fn new(dialect: Dialect) -> Self {
        Self(match dialect {
            Dialect::MySql => Spelt::MySql(String::new()),
            Dialect::Sqlite => Spelt::Sqlite(Vec::new()),
        })
    }

    /// Begins a statement, which goes on with [`Script::sql`], [`Script::value`] and [`Script::list`]. Values
    /// are never a part of `sql`.
    pub fn statement(&mut self, sql: &str) -> &mut Self {
        match &mut self.0 {
            Spelt::MySql(text) if !text.is_empty() => text.push_str("; "),
            Spelt::MySql(_) => {}
            Spelt::Sqlite(statements) => statements.push(Prepared::default()),
        }
        self.sql(sql)
    }

    /// More of the present statement.
    pub fn sql(&mut self, sql: &str) -> &mut Self {
        match &mut self.0 {
            Spelt::MySql(text) => text.push_str(sql),
            Spelt::Sqlite(statements) => present(statements).sql.push_str(sql),
        }
        self
    }

    /// A value in the present statement.
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

    /// `(…, …)`: the values of an `IN`, which are some.
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

    /// `(…), (…)`: the rows of an `INSERT … VALUES`, which are some.
    pub fn rows<'v, const N: usize>(&mut self, rows: impl IntoIterator<Item = [Value<'v>; N]>) -> &mut Self {
        for (number, row) in rows.into_iter().enumerate() {
            if number > 0 {
                self.sql(", ");
            }
            self.list(row);
        }
        self
    }

    /// Which SQL it is in.
    pub(super) const fn dialect(&self) -> Dialect {
        match self.0 {
            Spelt::MySql(_) => Dialect::MySql,
            Spelt::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// The bytes that go to MySQL; 0 for SQLite, which is in this process.
    pub(super) fn len(&self) -> usize {
        self.text().map_or(0, str::len)
    }

    /// Whether it has no statement.
    pub(super) fn is_empty(&self) -> bool {
        match &self.0 {
            Spelt::MySql(text) => text.is_empty(),
            Spelt::Sqlite(statements) => statements.is_empty(),
        }
    }

    /// Takes away what follows the first `length` bytes.
    pub(super) fn cut(&mut self, length: usize) -> String {
        match &mut self.0 {
            Spelt::MySql(text) => text.split_off(length),
            Spelt::Sqlite(_) => String::new(),
        }
    }

    /// What goes to MySQL; nothing to SQLite.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.0 {
            Spelt::MySql(text) => Some(text),
            Spelt::Sqlite(_) => None,
        }
    }

    /// Runs it on SQLite; the rows of all statements, in order.
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

/// The statement that was begun last.
fn present(statements: &mut Vec<Prepared>) -> &mut Prepared {
    if statements.is_empty() {
        statements.push(Prepared::default());
    }
    let last = statements.len() - 1;
    &mut statements[last]
}

/// Writes a value as MySQL reads it in a text, whatever its `sql_mode`.
fn spell(text: &mut String, value: Value<'_>) {
    match value {
        Value::Integer(number) => {
            // Writing to a String does not fail.
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

/// Whether a text means itself between quotes, with `NO_BACKSLASH_ESCAPES` and without. The connection is in
/// UTF-8, no character of which has a byte of another one's in it.
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
