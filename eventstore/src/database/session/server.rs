//! Questions to the server of a connection: whether it accepts writes, and whether it was switched.

use sqlx::mysql::MySqlConnection;

use super::{Connection, PooledConnection};
use crate::database::script::Script;
use crate::error::{DatabaseError, Error, Result};

impl Connection {
    /// Whether the connection may be used again without being returned to its pool: the server was not
    /// switched since the connection was opened, and the connection is not too old.
    #[must_use]
    pub fn may_be_kept(&self) -> bool {
        match &self.pooled {
            PooledConnection::MySql(_, _, generation) => generation.is_current() && !generation.is_aged(),
            PooledConnection::Sqlite(..) => true,
        }
    }

    /// Whether the generation of the connection has not ended.
    pub(in crate::database) fn is_current(&self) -> bool {
        match &self.pooled {
            PooledConnection::MySql(_, _, generation) => generation.is_current(),
            PooledConnection::Sqlite(..) => true,
        }
    }

    /// Closes every connection of the same generation before its next use, because the server may have been
    /// switched. On SQLite, does nothing.
    pub(crate) fn end_generation(&self) {
        if let PooledConnection::MySql(_, _, generation) = &self.pooled {
            generation.end();
        }
    }

    /// Asks the server whether it accepts writes.
    pub(in crate::database) async fn accepts_writes(&mut self) -> Result<bool> {
        let mut script = Script::new(self.dialect());
        script
            .statement("SELECT CAST(")
            .sql(self.dialect().is_read_only())
            .sql(" AS SIGNED)");
        let rows = self.run(script).await?;
        let read_only: i64 = rows.first().map_or(Ok(0), |row| row.get(0))?;
        Ok(read_only == 0)
    }

    /// Reports the value of [`Dialect::is_read_only`](crate::Dialect::is_read_only) that a statement on this
    /// connection has read. If the server accepts no writes, all connections of the database are replaced
    /// before their next use.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`] if the server accepts no writes, so that what was read may be out of date.
    pub fn check_read_only(&mut self, read_only: i64) -> Result<()> {
        if read_only == 0 {
            return Ok(());
        }
        if let PooledConnection::MySql(_, _, generation) = &self.pooled {
            generation.end();
        }
        self.unfinished = true;
        Err(Error::ReadOnly(DatabaseError::read_only()))
    }

    /// Returns the driver's MySQL connection; `None` for SQLite. The connection is closed on drop.
    pub(crate) fn driver(&mut self) -> Option<&mut MySqlConnection> {
        self.unfinished = true;
        match &mut self.pooled {
            PooledConnection::MySql(connection, ..) => Some(connection),
            PooledConnection::Sqlite(..) => None,
        }
    }
}
