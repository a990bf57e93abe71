//! Options of connections.

use std::time::Duration;

/// Number of prepared statements cached for each connection. Each length of a batch needs a separate
/// statement.
pub(super) const PREPARED_STATEMENTS: usize = 1024;

/// How long a statement waits for a lock held by another connection.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Options for opening a database.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseOptions {
    /// Maximum number of connections, 1 or more.
    pub connections: u32,
    /// How long to wait for a free or new connection.
    pub acquire_timeout: Duration,
    /// How long MySQL keeps an idle connection, in whole seconds, at least 1 second. Without this limit, a
    /// process that disappears (a power failure, a network partition, a suspended process) would hold the
    /// locks of its transaction for hours. The lock on `log_head` stops every append in every process.
    pub idle_timeout: Duration,
    /// Time after which a MySQL connection is not taken from its pool again. A connection that is kept
    /// outside of its pool is replaced after the same time. A connection that stays open while its name or
    /// its proxy leads to another server is thus replaced eventually, whatever its server reports.
    pub max_age: Duration,
    /// Whether a missing SQLite file and its folder are created.
    pub create: bool,
    /// Whether the server may accept no writes, because the database is only read from and may be out of
    /// date. Of several servers, the first of the URL that answers is used.
    pub is_replica: bool,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self {
            connections: 16,
            acquire_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            max_age: Duration::from_mins(5),
            create: true,
            is_replica: false,
        }
    }
}
