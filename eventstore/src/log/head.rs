//! The end of the log, and the statement that locks it.

use crate::clock::Timestamp;
use crate::database::{Dialect, Row, Script};
use crate::error::{DatabaseError, Error, Result};
use crate::event::{Hash, Position};

/// The end of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// Position of the last event, or [`Position::BEGINNING`] if the log is empty.
    pub position: Position,
    /// Hash of the last event, or 32 zero bytes if the log is empty.
    pub hash: Hash,
    /// When the last event was recorded.
    pub recorded_at: Timestamp,
}

impl Head {
    /// Reads the last event: hash, position and time. An empty log has no row.
    ///
    /// A separate statement from [`Head::lock`], because a statement may take its snapshot of the log before
    /// it waits for the lock.
    pub(crate) const LAST_EVENT: &str =
        "SELECT hash, position, recorded_at FROM events ORDER BY position DESC LIMIT 1";

    /// Column of [`Head::lock`] at which the format of the log begins.
    pub(crate) const FORMAT: usize = 4;
    /// Column of [`Head::lock`] that shows whether the server accepts no writes.
    const READ_ONLY: usize = 8;

    /// Returns the statement that reads the head, the database's clock, the format of the log and whether the
    /// server accepts no writes, and locks the head: other appends wait until the transaction ends.
    pub(crate) fn lock(dialect: Dialect) -> String {
        let (clock, for_update) = (clock_of(dialect), dialect.for_update());
        let is_read_only = dialect.is_read_only();
        format!(
            "SELECT h.position, h.hash, h.recorded_at, {clock}, f.format, f.log_id, f.retired, f.claims, \
             CAST({is_read_only} AS SIGNED) FROM log_head h JOIN log_format f ON f.id = h.id WHERE h.id = 1{for_update}"
        )
    }

    /// Checks a row of [`Head::lock`]. A server with `read_only` may be an old primary. It rejects the lock
    /// of an ordinary user, but lets a privileged user lock an old state of the log, and write.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`] if the server accepts no writes.
    pub(crate) fn check_writable(row: &Row) -> Result<()> {
        match row.get::<i64, _>(Self::READ_ONLY)? {
            0 => Ok(()),
            _ => Err(Error::ReadOnly(DatabaseError::read_only())),
        }
    }

    /// Adds the statement that moves the locked head to this head.
    pub(crate) fn advance(&self, script: &mut Script) {
        script
            .statement("UPDATE log_head SET position = ")
            .value(self.position)
            .sql(", hash = ")
            .value(&self.hash.0)
            .sql(", recorded_at = ")
            .value(self.recorded_at)
            .sql(" WHERE id = 1");
    }

    /// Reads the head from a row of [`Head::lock`].
    pub(crate) fn of(row: Option<&Row>) -> Result<Self> {
        let row = row.ok_or(Error::MissingHead)?;
        let position = row.get(0)?;
        Ok(Self {
            position,
            hash: hash(row, 1, position)?,
            recorded_at: row.get(2)?,
        })
    }
}

/// The database's clock in microseconds since 1970; `NULL` for SQLite, which has no clock.
///
/// `SYSDATE` returns the time after the wait for a lock, unlike `UTC_TIMESTAMP`. Every session's time zone is
/// UTC.
pub(crate) const fn clock_of(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => "TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', SYSDATE(6))",
        Dialect::Sqlite => "NULL",
    }
}

/// Reads a hash from a column of the event at `position`.
pub(crate) fn hash(row: &Row, column: usize, position: Position) -> Result<Hash> {
    let bytes: Vec<u8> = row.get(column)?;
    let bytes = bytes.try_into().map_err(|_| Error::Damaged {
        position,
        what: "its hash is not 32 bytes",
    })?;
    Ok(Hash(bytes))
}
