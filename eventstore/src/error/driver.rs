//! The errors of the database driver, and their meaning on each database.

use sqlx::mysql::MySqlDatabaseError;
use sqlx::sqlite::SqliteError;

/// An error that the database or its driver reported.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DatabaseError(Cause);

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Driver(sqlx::Error),
    #[error("the server variable read_only, super_read_only or innodb_read_only is on")]
    ReadOnlyVariable,
    #[error(
        "several servers in the URL accept writes, but they do not form a multi-primary cluster: set read_only on every server \
         except the primary"
    )]
    SeveralPrimaries,
}

impl DatabaseError {
    pub(super) const fn new(error: sqlx::Error) -> Self {
        Self(Cause::Driver(error))
    }

    /// Returns the error of a server whose variables show that it accepts no writes.
    pub(crate) const fn read_only() -> Self {
        Self(Cause::ReadOnlyVariable)
    }

    /// Returns the error of servers of which only one should accept writes.
    pub(crate) const fn several_primaries() -> Self {
        Self(Cause::SeveralPrimaries)
    }

    /// Returns the error of the driver, if the driver failed.
    const fn driver(&self) -> Option<&sqlx::Error> {
        match &self.0 {
            Cause::Driver(error) => Some(error),
            Cause::ReadOnlyVariable | Cause::SeveralPrimaries => None,
        }
    }

    fn mysql_number(&self) -> Option<u16> {
        mysql_number(self.driver()?)
    }

    /// Whether the database rejected a row because another row has the same unique key.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        let error = self.driver().and_then(sqlx::Error::as_database_error);
        error.is_some_and(sqlx::error::DatabaseError::is_unique_violation)
    }

    /// Returns the error number or code with which the database rejected a statement; `None` if the driver
    /// failed.
    pub(crate) fn code(&self) -> Option<String> {
        let error = self.driver()?.as_database_error()?;
        let number = self.mysql_number().map(|number| number.to_string());
        Some(
            number
                .or_else(|| error.code().map(Into::into))
                .unwrap_or_else(|| "unknown".to_owned()),
        )
    }

    /// Whether the connection failed, and not the statement.
    pub(crate) fn is_lost_connection(&self) -> bool {
        self.driver().is_some_and(is_lost_connection)
    }

    /// Whether the server has no connection left for this client: `ER_CON_COUNT_ERROR`,
    /// `ER_TOO_MANY_USER_CONNECTIONS`, `ER_USER_LIMIT_REACHED`.
    pub(crate) fn is_too_many_connections(&self) -> bool {
        matches!(self.mysql_number(), Some(1040 | 1203 | 1226))
    }

    /// Whether the database rejected a value because of the value itself.
    pub(super) fn is_of_data(&self) -> bool {
        let Some(error) = self.driver().and_then(sqlx::Error::as_database_error) else {
            return false;
        };
        let code = error.code().unwrap_or_default();
        if self.mysql_number().is_some() {
            // SQLSTATE classes: data exception, integrity constraint violation.
            return code.starts_with("22") || code.starts_with("23");
        }
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH and their extended codes.
        code.parse::<u32>()
            .is_ok_and(|code| matches!(code & 0xff, 18..=20))
    }

    /// Whether the server has no database with the given name.
    pub(super) fn is_unknown_database(&self) -> bool {
        // ER_BAD_DB_ERROR
        self.mysql_number() == Some(1049)
    }

    /// Whether the database aborted the transaction because of other transactions.
    pub(super) fn is_contention(&self) -> bool {
        self.driver().is_some_and(is_contention)
    }

    /// Whether the server is leaving its cluster: `ER_UNKNOWN_COM_ERROR` (Galera), `ER_RUN_HOOK_ERROR` (Group
    /// Replication).
    pub(super) fn is_of_a_leaving_member(&self) -> bool {
        matches!(self.mysql_number(), Some(1047 | 3100))
    }

    /// Whether the database reported that it accepts no writes, or several servers accept writes although
    /// only one should.
    pub(super) fn is_read_only(&self) -> bool {
        self.driver().is_none_or(is_read_only)
    }
}

/// Whether the database reported that it accepts no writes.
pub(super) fn is_read_only(error: &sqlx::Error) -> bool {
    if let Some(number) = mysql_number(error) {
        // ER_OPTION_PREVENTS_STATEMENT (read_only, super_read_only),
        // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, ER_READ_ONLY_MODE (innodb_read_only),
        // ER_INNODB_READ_ONLY, ER_SCHEMA_READ_ONLY, and ER_OPEN_AS_READONLY (MariaDB).
        return matches!(number, 1290 | 1792 | 1836 | 1874 | 3989 | 1036);
    }
    // SQLITE_READONLY and its extended codes.
    sqlite_code(error) == Some(8)
}

/// Whether the connection failed, and not the statement.
pub(super) fn is_lost_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // ER_CON_COUNT_ERROR, ER_UNKNOWN_COM_ERROR (a Galera node outside the primary component),
        // ER_SERVER_SHUTDOWN, ER_CONNECTION_KILLED (MariaDB), ER_RUN_HOOK_ERROR (a member that is leaving
        // Group Replication), ER_SESSION_WAS_KILLED, ER_CLIENT_INTERACTION_TIMEOUT (MySQL's final message to
        // a connection that was idle for wait_timeout).
        error => matches!(
            mysql_number(error),
            Some(1040 | 1047 | 1053 | 1927 | 3100 | 3169 | 4031)
        ),
    }
}

/// Whether the database aborted the transaction because of other transactions. Nothing was committed.
pub(super) fn is_contention(error: &sqlx::Error) -> bool {
    if let Some(error) = mysql(error) {
        return match error.number() {
            // ER_CHECKREAD: with innodb_snapshot_isolation, MariaDB rolls back a transaction that locks a row
            // after another transaction has changed the row. ER_LOCK_WAIT_TIMEOUT.
            1020 | 1205 => true,
            // ER_ERROR_DURING_COMMIT with HA_ERR_LOCK_DEADLOCK: the certification of Galera failed. The
            // other errors during a commit are not contention.
            1180 => numbers(error.message()).any(|number| number == "149"),
            // "Transaction rollback": ER_LOCK_DEADLOCK, ER_TRANSACTION_ROLLBACK_DURING_COMMIT (the
            // certification of Group Replication failed), and others.
            _ => error.code().is_some_and(|code| code.starts_with("40")),
        };
    }
    // SQLITE_BUSY, SQLITE_LOCKED.
    matches!(sqlite_code(error), Some(5 | 6))
}

/// Returns the primary result code of an SQLite error.
fn sqlite_code(error: &sqlx::Error) -> Option<u32> {
    let error = error.as_database_error()?;
    error.try_downcast_ref::<SqliteError>()?;
    Some(error.code()?.parse::<u32>().ok()? & 0xff)
}

/// Returns the numbers in a message, which may be in any language.
fn numbers(message: &str) -> impl Iterator<Item = &str> {
    message.split(|character: char| !character.is_ascii_digit())
}

/// Returns the number of a MySQL or MariaDB error.
fn mysql_number(error: &sqlx::Error) -> Option<u16> {
    mysql(error).map(MySqlDatabaseError::number)
}

fn mysql(error: &sqlx::Error) -> Option<&MySqlDatabaseError> {
    error
        .as_database_error()?
        .try_downcast_ref::<MySqlDatabaseError>()
}
