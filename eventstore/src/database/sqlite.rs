//! Opening an SQLite file, and noticing that it is no longer the one that was opened.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};
use tokio::time::Instant;

use super::session::Link;
use super::sqlite_file;
use super::{BUSY_PAUSE, DatabaseOptions, LOCK_WAIT, PREPARED_STATEMENTS};
use crate::error::{Error, Result};

/// SQLite has one writer at a time, so it has two pools: one connection that writes, in turn, and some that
/// read.
pub(super) struct Opened {
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
    pub(super) file: Option<Arc<DatabaseFile>>,
}

pub(super) async fn connect(url: &str, options: DatabaseOptions) -> Result<Opened> {
    let connect = SqliteConnectOptions::from_str(url)
        .map_err(|error| Error::Url(format!("expected sqlite://path ({error})")))?
        .journal_mode(SqliteJournalMode::Wal)
        // FULL: a commit is on the disk when it returns, as with MySQL's defaults.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(LOCK_WAIT)
        .statement_cache_capacity(PREPARED_STATEMENTS)
        .disable_statement_logging();
    let path = connect.get_filename().to_owned();
    let in_memory = url.contains(":memory:") || url.contains("mode=memory");
    if !in_memory {
        if options.create {
            sqlite_file::prepare(&path)
                .await
                .map_err(|error| Error::Url(format!("the file of {url} cannot be made ({error})")))?;
        } else if !tokio::fs::try_exists(&path).await.unwrap_or(false) {
            return Err(Error::NoFile { path });
        }
    }
    // Only this connection may make the file: one that is opened later would make an empty one in the place
    // of one that is gone.
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
    // So that neither is opened by a request, and the file is never without a connection meanwhile.
    drop((writer.acquire().await?, readers.acquire().await?));
    first.close().await?;
    Ok(Opened {
        writer,
        readers,
        file,
    })
}

/// A connection of one of the pools, if the file is still the one that was opened.
pub(super) async fn acquire(pool: &SqlitePool, file: Option<&Arc<DatabaseFile>>) -> Result<Link> {
    check(file.map(Arc::as_ref))?;
    match (pool.acquire().await, file) {
        (Ok(connection), file) => Ok(Link::Sqlite(connection, file.cloned())),
        (Err(error), Some(file)) => Err(file.check_open().err().unwrap_or_else(|| error.into())),
        (Err(error), None) => Err(error.into()),
    }
}

/// Looks whether the file is still the one that was opened.
pub(super) fn check(file: Option<&DatabaseFile>) -> Result<()> {
    file.map_or(Ok(()), DatabaseFile::check)
}

/// Opens a connection. Whoever makes a new file a WAL one needs it alone for a moment; a second process that
/// opens it just then is told that it is busy at once, whatever the busy timeout.
async fn open(connect: SqliteConnectOptions) -> Result<SqliteConnection> {
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match connect.connect().await.map_err(Error::from) {
            Err(error) if error.is_contention() && Instant::now() < until => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            opened => return opened,
        }
    }
}

/// The file that was opened. A process goes on reading and writing a file that was deleted, and everything
/// that it writes there is gone when it ends.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    identity: Identity,
    /// The write-ahead log, if there is one: it is there for as long as a connection is open.
    wal: Option<PathBuf>,
    /// Whether it was found missing once: another one in its place does not have what was in it.
    wal_lost: AtomicBool,
}

impl DatabaseFile {
    async fn of(path: PathBuf, connection: &mut SqliteConnection) -> Result<Self> {
        let identity = identity(&path).map_err(sqlx::Error::from)?;
        let row = connection.fetch_one("PRAGMA journal_mode").await?;
        // The first read makes the write-ahead log.
        connection.fetch_one("SELECT COUNT(*) FROM sqlite_schema").await?;
        let is_wal = row.try_get::<String, _>(0)?.eq_ignore_ascii_case("wal");
        let mut wal = path.clone().into_os_string();
        wal.push("-wal");
        let wal = Some(PathBuf::from(wal)).filter(|wal| is_wal && wal.exists());
        Ok(Self {
            path,
            identity,
            wal,
            wal_lost: AtomicBool::new(false),
        })
    }

    /// Looks whether the file at the path is still the one that was opened.
    pub(super) fn check(&self) -> Result<()> {
        match identity(&self.path) {
            Ok(found) if found == self.identity && !self.wal_lost.load(Ordering::Relaxed) => Ok(()),
            _ => Err(self.lost()),
        }
    }

    /// The same while a connection is open: then the write-ahead log is there too.
    pub(super) fn check_open(&self) -> Result<()> {
        self.check()?;
        match &self.wal {
            Some(wal) if !wal.exists() => {
                self.wal_lost.store(true, Ordering::Relaxed);
                Err(self.lost())
            }
            _ => Ok(()),
        }
    }

    fn lost(&self) -> Error {
        Error::FileLost {
            path: self.path.clone(),
        }
    }
}

#[cfg(unix)]
type Identity = (u64, u64);

/// Device and inode.
#[cfg(unix)]
fn identity(path: &Path) -> std::io::Result<Identity> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

#[cfg(not(unix))]
type Identity = std::time::SystemTime;

/// When it was made.
#[cfg(not(unix))]
fn identity(path: &Path) -> std::io::Result<Identity> {
    std::fs::metadata(path).and_then(|file| file.created())
}
