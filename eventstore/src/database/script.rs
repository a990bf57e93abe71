//! Statements that are sent together.
//!
//! A round trip costs more than the network time. On a busy machine, both sides wait for a core, and a
//! transaction holds its locks meanwhile. Statements that do not depend on each other's results are therefore
//! sent to the server as one text. MySQL accepts values separately from the text only for a single statement,
//! so the values are written into the text. Nothing is escaped: numbers are decimal, texts without quotes,
//! backslashes or control characters are quoted, and all other values are hexadecimal. (With a binary log,
//! MySQL also writes the values of prepared statements into their text before it runs them.)
//!
//! On Galera, each statement is sent alone: see `Cluster::needs_single_statements`.
//!
//! SQLite runs in the process and has no round trips. Its statements run one after the other, prepared.

use std::fmt::Write as _;

use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Executor as _, Sqlite};

use super::dialect::Dialect;
use super::value::{Value, bind_value};

type SqliteQuery<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments<'q>>;

/// Maximum number of values in a statement that SQLite keeps prepared. Each number of rows is a separate
/// statement, a prepared statement grows with its values, and a connection keeps many of them. Without this
/// limit, a process under load used 83 MiB. With it, the process uses 48 MiB at the same rate.
const KEPT_VALUES: usize = 500;

/// The text between two statements. No statement contains it: neither its SQL, nor its values, because texts
/// with control characters are hexadecimal.
const BETWEEN: &str = ";\n";

/// Statements with their values, in the order in which they run. The script stops at the first failure.
#[derive(Debug)]
pub struct Script(Content);

#[derive(Debug)]
enum Content {
    /// The text of all statements.
    MySql(String),
    Sqlite(Vec<Statement>),
}

/// A statement with a `?` for each value.
#[derive(Debug, Default)]
struct Statement {
    sql: String,
    values: Vec<Value<'static>>,
}

impl Script {
    /// Creates an empty script.
    #[must_use]
    pub const fn new(dialect: Dialect) -> Self {
        Self(match dialect {
            Dialect::MySql => Content::MySql(String::new()),
            Dialect::Sqlite => Content::Sqlite(Vec::new()),
        })
    }

    /// Creates a script that begins a transaction, for [`Connection::transact`].
    ///
    /// [`Connection::transact`]: super::session::Connection::transact
    pub(crate) fn transaction(dialect: Dialect) -> Self {
        let mut script = Self::new(dialect);
        script.statement(dialect.begin());
        script
    }

    /// Begins a statement. [`Script::sql`], [`Script::value`] and [`Script::list`] continue it. Never put
    /// values into `sql`.
    pub fn statement(&mut self, sql: &str) -> &mut Self {
        match &mut self.0 {
            Content::MySql(text) if !text.is_empty() => text.push_str(BETWEEN),
            Content::MySql(_) => {}
            Content::Sqlite(statements) => statements.push(Statement::default()),
        }
        self.sql(sql)
    }

    /// Adds SQL to the current statement.
    pub fn sql(&mut self, sql: &str) -> &mut Self {
        match &mut self.0 {
            Content::MySql(text) => text.push_str(sql),
            Content::Sqlite(statements) => current(statements).sql.push_str(sql),
        }
        self
    }

    /// Adds a value to the current statement.
    pub fn value<'v>(&mut self, value: impl Into<Value<'v>>) -> &mut Self {
        let value = value.into();
        match &mut self.0 {
            Content::MySql(text) => write_literal(text, &value),
            Content::Sqlite(statements) => {
                let statement = current(statements);
                statement.sql.push('?');
                statement.values.push(value.into_owned());
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
            Content::MySql(_) => Dialect::MySql,
            Content::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// Returns the number of bytes to send to MySQL; 0 for SQLite, which runs in this process.
    pub(crate) fn len(&self) -> usize {
        self.text().map_or(0, str::len)
    }

    /// Whether the script has no statements.
    pub(super) fn is_empty(&self) -> bool {
        match &self.0 {
            Content::MySql(text) => text.is_empty(),
            Content::Sqlite(statements) => statements.is_empty(),
        }
    }

    /// Removes and returns the text after the first `length` bytes.
    pub(super) fn cut(&mut self, length: usize) -> String {
        match &mut self.0 {
            Content::MySql(text) => text.split_off(length),
            Content::Sqlite(_) => String::new(),
        }
    }

    /// Returns the text to send to MySQL; `None` for SQLite.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.0 {
            Content::MySql(text) => Some(text),
            Content::Sqlite(_) => None,
        }
    }

    /// Returns the texts to send to MySQL: one text, or the text of each statement.
    pub(super) fn texts(&self, one_by_one: bool) -> Vec<&str> {
        match self.text() {
            Some(text) if one_by_one => text.split(BETWEEN).collect(),
            text => text.into_iter().collect(),
        }
    }

    /// Runs the script on SQLite and returns the rows of all statements, in order.
    pub(super) async fn run_prepared(
        self,
        connection: &mut SqliteConnection,
    ) -> sqlx::Result<Vec<SqliteRow>> {
        let mut rows = Vec::new();
        if let Content::Sqlite(statements) = self.0 {
            for Statement { sql, values } in statements {
                let kept = values.len() <= KEPT_VALUES;
                let query = sqlx::query(&sql).persistent(kept);
                let bound = values
                    .into_iter()
                    .fold(query, |query: SqliteQuery<'_>, value| bind_value!(query, value));
                rows.extend(connection.fetch_all(bound).await?);
            }
        }
        Ok(rows)
    }
}

/// Returns the current statement.
fn current(statements: &mut Vec<Statement>) -> &mut Statement {
    if statements.is_empty() {
        statements.push(Statement::default());
    }
    let last = statements.len() - 1;
    &mut statements[last]
}

/// Writes a value as a MySQL literal that is valid under any `sql_mode`.
fn write_literal(text: &mut String, value: &Value<'_>) {
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
            write_hexadecimal(text, value.as_bytes());
            text.push('\'');
        }
        Value::Bytes(bytes) => {
            text.push_str("X'");
            write_hexadecimal(text, bytes);
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

fn write_hexadecimal(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.reserve(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_can_be_sent_together_or_one_by_one_whatever_their_values_contain() {
        let mut script = Script::new(Dialect::MySql);
        script
            .statement("BEGIN")
            .statement("SELECT ")
            .value("a;\nb")
            .statement("COMMIT");
        assert_eq!(
            script.texts(true),
            ["BEGIN", "SELECT _utf8mb4 X'613B0A62'", "COMMIT"]
        );
        assert_eq!(script.texts(false).len(), 1);
        assert_eq!(Script::new(Dialect::Sqlite).texts(true), [""; 0]);
    }
}
