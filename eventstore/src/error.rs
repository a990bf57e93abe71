//! Errors of the log and its database.

mod driver;

use std::path::PathBuf;
use std::time::Duration;

use crate::event::Position;
use crate::sealing::SealingError;

pub use driver::DatabaseError;

/// Result of an operation on the log.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the log or of its database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The claim rules of the log have another version than the rules of the caller: the version has changed
    /// since the caller read it.
    #[error("the claim rules of the log have changed meanwhile: repeat the command")]
    OtherClaims,
    /// The database could not be reached, or rejected a statement.
    #[error("database: {0}")]
    Database(#[source] DatabaseError),
    /// The database accepts no writes: it is a replica, or its administrator has made it read-only. Also if
    /// several servers accept writes although only one should.
    #[error("the database is read-only: {0}")]
    ReadOnly(#[source] DatabaseError),
    /// The separate database of the keys failed.
    #[error("the keys' database: {0}")]
    Keys(#[source] Box<Error>),
    /// An earlier statement on the connection did not finish, so the connection is unusable.
    #[error("database: an earlier statement on this connection did not finish")]
    UnfinishedConnection,
    /// A column has a value that this version of the program does not know.
    #[error("database: {table}.{column} has the unknown value {value:?}")]
    UnknownValue {
        /// Name of the table.
        table: &'static str,
        /// Name of the column.
        column: &'static str,
        /// The unknown value.
        value: String,
    },
    /// The file of an SQLite database does not exist and must not be created.
    #[error("the database file {} does not exist", path.display())]
    NoFile {
        /// Path of the missing file.
        path: PathBuf,
    },
    /// The file of an SQLite database was deleted or replaced while it was open. Writes to it are lost.
    #[error(
        "the database file {} was deleted or replaced while it was open: put it back, or restart this process",
        path.display()
    )]
    FileLost {
        /// Path of the lost file.
        path: PathBuf,
    },
    /// A row is larger than the server accepts in one packet.
    #[error(
        "a row of {bytes} bytes exceeds the limit of {limit} bytes that the server's max_allowed_packet sets: increase it"
    )]
    RowTooLarge {
        /// Size of the row in a statement, in bytes.
        bytes: usize,
        /// Maximum size, in bytes.
        limit: usize,
    },
    /// A TLS connection to the database server is impossible, and waiting does not help.
    #[error("TLS to the database server: {0}")]
    Tls(String),
    /// The database did not answer before the timeout.
    #[error("database: no answer within {0:?}")]
    Timeout(Duration),
    /// This crate cannot open the database URL.
    #[error("database URL: {0}")]
    Url(String),
    /// The log is damaged: its content differs from what the appends wrote.
    #[error("the log is damaged at position {position}: {what}")]
    Damaged {
        /// Position of the damage.
        position: Position,
        /// Description of the damage.
        what: &'static str,
    },
    /// The clock of this process is wrong, so this process must not record events.
    #[error("the clock of this process is {} s {} {of}", seconds.unsigned_abs(), if *seconds < 0 { "behind" } else { "ahead of" })]
    ClockWrong {
        /// Offset of the clock in seconds; negative if the clock is behind.
        seconds: i64,
        /// Name of the reference clock.
        of: &'static str,
    },
    /// A checkpoint is at a position outside the log.
    #[error("checkpoint {name} is at {position}, {}: the checkpoint was altered, or the log was truncated", beside(*.position, *.head))]
    BadCheckpoint {
        /// Name of the checkpoint.
        name: String,
        /// Position of the checkpoint.
        position: Position,
        /// End of the log.
        head: Position,
    },
    /// A projection serves a generation that was never built.
    #[error("{projection} serves generation {generation}, which was never built: rebuild the projection")]
    NoSuchGeneration {
        /// Name of the projection.
        projection: String,
        /// Number of the generation.
        generation: i64,
    },
    /// A projection was added to a log with events, and its first generation is not filled yet.
    #[error("the first generation of {projection} is not filled yet")]
    NotFilled {
        /// Name of the projection.
        projection: String,
    },
    /// The single row of `log_head` is missing: the schema has not been migrated, or the row was removed.
    #[error("log_head has no row: the migrations have not been run, or the row was removed")]
    MissingHead,
    /// The single row of `log_format` is missing: the schema has not been migrated, or the row was removed.
    #[error("log_format has no row: the migrations have not been run, or the row was removed")]
    MissingFormat,
    /// Another owner has moved the checkpoint since this owner read it.
    #[error("checkpoint {name} was moved by another owner")]
    Superseded {
        /// Name of the subscription.
        name: String,
    },
    /// A handler could not apply an event.
    #[error("{name} cannot apply the events after position {after}: {source}")]
    Handler {
        /// Name of the subscription.
        name: String,
        /// Last position that the subscription has finished.
        after: Position,
        /// Number of events that the handler was given.
        events: usize,
        /// Error of the handler.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A handler could not write, for a reason other than the events.
    #[error("{name} could not write: {source}")]
    NotWritten {
        /// Name of the subscription.
        name: String,
        /// Error of the handler.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The personal data of events could not be sealed or opened.
    #[error(transparent)]
    Sealing(Box<SealingError>),
    /// A value could not be written as JSON.
    #[error("json: {0}")]
    Json(#[from] serde_json::Error),
    /// A task of the log ended without a result. The cause is a bug, or the process is stopping.
    #[error("interrupted")]
    Interrupted,
    /// Redis could not be reached, or its URL is wrong.
    #[cfg(feature = "redis")]
    #[error("redis: {0}")]
    Redis(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Redis did not answer before the timeout.
    #[cfg(feature = "redis")]
    #[error("redis: no answer within {0:?}")]
    RedisTimeout(Duration),
}

impl From<SealingError> for Error {
    fn from(error: SealingError) -> Self {
        match error {
            SealingError::Store(error) => error,
            other => Self::Sealing(Box::new(other)),
        }
    }
}

fn beside(position: Position, head: Position) -> String {
    if position > head {
        format!("beyond the end of the log at {head}")
    } else {
        "before the beginning of the log".to_owned()
    }
}

impl Error {
    /// Converts an error of the database driver.
    pub(crate) fn from_driver(error: sqlx::Error) -> Self {
        let error = DatabaseError::new(error);
        if error.is_read_only() {
            Self::ReadOnly(error)
        } else {
            Self::Database(error)
        }
    }

    /// Marks an error as an error of the keys' database.
    pub(crate) fn of_keys(error: Self) -> Self {
        Self::Keys(Box::new(error))
    }

    /// Converts an error of the Redis client.
    #[cfg(feature = "redis")]
    pub(crate) fn from_redis(error: redis::RedisError) -> Self {
        Self::Redis(error.into())
    }

    /// Whether the log, a checkpoint or a served generation is damaged, so that retrying does not help.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. }
                | Self::MissingHead
                | Self::MissingFormat
                | Self::BadCheckpoint { .. }
                | Self::NoSuchGeneration { .. }
        )
    }

    /// Whether the personal data of the aggregate was erased.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        matches!(self, Self::Sealing(error) if matches!(**error, SealingError::Erased { .. }))
    }

    /// Whether the error shows that the connection does not lead to the server that accepts writes.
    pub(crate) fn shows_a_switch(&self) -> bool {
        match self {
            Self::ReadOnly(_) => true,
            Self::Database(error) => error.is_of_a_leaving_member(),
            _ => false,
        }
    }

    /// Whether the error is transient and disappears without a change to the request or the data: the server
    /// cannot be reached, accepts no writes, or has aborted the transaction because of other transactions.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::ReadOnly(_) => true,
            Self::Keys(error) => error.passes(),
            error => error.is_connection() || error.is_contention(),
        }
    }

    /// Whether the connection failed rather than the statement, or the server left its cluster. The same call
    /// may succeed on another connection. If the error is the answer to a `COMMIT`, it is unknown whether the
    /// transaction was committed.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::UnfinishedConnection => true,
            Self::Database(error) => error.is_lost_connection(),
            Self::Keys(error) => error.is_connection(),
            _ => false,
        }
    }

    /// Like [`Error::is_contention`], but for an error of the driver.
    pub(crate) fn is_contention_of_driver(error: &sqlx::Error) -> bool {
        driver::is_contention(error)
    }

    /// Like [`Error::passes`], but for an error of the driver.
    pub(crate) fn of_driver_passes(error: &sqlx::Error) -> bool {
        driver::is_contention(error) || driver::is_lost_connection(error) || driver::is_read_only(error)
    }

    /// Whether the error affects the whole database until an operator fixes the cause, and not only a single
    /// statement.
    #[must_use]
    pub const fn is_of_the_whole_database(&self) -> bool {
        matches!(
            self,
            Self::ReadOnly(_) | Self::FileLost { .. } | Self::NoFile { .. }
        )
    }

    /// Whether the database rejected a value because of the value itself (a constraint, a length, a type),
    /// not because of the state of the database. The same statement would be rejected at any other time.
    #[must_use]
    pub fn is_of_data(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_of_data())
    }

    /// Whether the server can be reached but has no database with the given name, or the SQLite file does not
    /// exist.
    #[must_use]
    pub fn is_unknown_database(&self) -> bool {
        match self {
            Self::NoFile { .. } => true,
            Self::Database(error) => error.is_unknown_database(),
            _ => false,
        }
    }

    /// Whether the database aborted the transaction because of other transactions (deadlock, lock wait, busy,
    /// a failed certification in a cluster). Nothing was committed, even if the error is the answer to a
    /// `COMMIT`. The same transaction may succeed if it is retried.
    #[must_use]
    pub fn is_contention(&self) -> bool {
        match self {
            Self::Database(error) => error.is_contention(),
            Self::Keys(error) => error.is_contention(),
            _ => false,
        }
    }
}
