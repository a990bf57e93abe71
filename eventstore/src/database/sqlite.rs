//! Opens an SQLite file.

mod create;
pub(super) mod file;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite};
use tokio::time::Instant;

use super::options::{DatabaseOptions, LOCK_WAIT, PREPARED_STATEMENTS};
use crate::error::{Error, Result};
use file::DatabaseFile;

/// Pause before opening a busy file again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// SQLite has one writer at a time, so it has two pools: one with a single connection for writing, and one
/// with several connections for reading.
pub(super) struct Opened {
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
    pub(super) file: Option<Arc<DatabaseFile>>,
}

pub(super) async fn connect(url: &str, options: DatabaseOptions) -> Result<Opened> {
    let connect = SqliteConnectOptions::from_str(url)
        .map_err(|error| Error::Url(format!("expected sqlite://path ({error})")))?
        .journal_mode(SqliteJournalMode::Wal)
        // With FULL, a commit is on disk when it returns, as with MySQL's defaults.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // Deleted rows are overwritten with zeros, so they do not stay in free pages.
        .pragma("secure_delete", "ON")
        .busy_timeout(LOCK_WAIT)
        .statement_cache_capacity(PREPARED_STATEMENTS)
        .disable_statement_logging();
    let path = connect.get_filename().to_owned();
    let in_memory = url.contains(":memory:") || url.contains("mode=memory");
    if !in_memory {
        if options.create {
            create::prepare(&path)
                .await
                .map_err(|error| Error::Url(format!("the file of {url} cannot be created ({error})")))?;
        } else if !tokio::fs::try_exists(&path).await.unwrap_or(false) {
            return Err(Error::NoFile { path });
        }
    }
    // Only this connection may create the file. A connection opened later would replace a deleted file with
    // an empty one.
    let mut first = open(connect.clone().create_if_missing(options.create)).await?;
    let file = if in_memory {
        None
    } else {
        Some(Arc::new(DatabaseFile::of(path, &mut first).await?))
    };
    let connect = connect.create_if_missing(false);
    let pool = || SqlitePoolOptions::new().acquire_timeout(options.acquire_timeout.max(LOCK_WAIT));
    let writer = pool().max_connections(1).connect_lazy_with(connect.clone());
    let readers = pool()
        .max_connections(options.connections)
        .test_before_acquire(false)
        .connect_lazy_with(connect);
    // Opens both pools before the first request, and keeps a connection to the file open throughout.
    drop((acquire(&writer, None).await?, acquire(&readers, None).await?));
    first.close().await.map_err(Error::from_driver)?;
    Ok(Opened {
        writer,
        readers,
        file,
    })
}

/// Returns a connection of a pool if the database file is still the file that was opened.
pub(super) async fn acquire(
    pool: &SqlitePool,
    file: Option<&DatabaseFile>,
) -> Result<PoolConnection<Sqlite>> {
    DatabaseFile::check_if_any(file)?;
    pool.acquire().await.map_err(|error| {
        let lost = file.and_then(|file| file.check_open().err());
        lost.unwrap_or_else(|| Error::from_driver(error))
    })
}

/// Opens a connection. The process that switches a new file to WAL mode needs exclusive access for a moment.
/// If a second process opens the file at that moment, SQLite returns busy immediately, regardless of the busy
/// timeout.
async fn open(connect: SqliteConnectOptions) -> Result<SqliteConnection> {
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match connect.connect().await.map_err(Error::from_driver) {
            Err(error) if error.is_contention() && Instant::now() < until => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            opened => return opened,
        }
    }
}
