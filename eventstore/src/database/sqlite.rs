//! Opens an SQLite file and detects when it is deleted or replaced.

use std::io::ErrorKind;
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
        .busy_timeout(LOCK_WAIT)
        .statement_cache_capacity(PREPARED_STATEMENTS)
        .disable_statement_logging();
    let path = connect.get_filename().to_owned();
    let in_memory = url.contains(":memory:") || url.contains("mode=memory");
    if !in_memory {
        if options.create {
            sqlite_file::prepare(&path)
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
    drop((writer.acquire().await?, readers.acquire().await?));
    first.close().await?;
    Ok(Opened {
        writer,
        readers,
        file,
    })
}

/// Returns a connection of a pool if the database file is still the file that was opened.
pub(super) async fn acquire(pool: &SqlitePool, file: Option<&Arc<DatabaseFile>>) -> Result<Link> {
    check(file.map(Arc::as_ref))?;
    match (pool.acquire().await, file) {
        (Ok(connection), file) => Ok(Link::Sqlite(connection, file.cloned())),
        (Err(error), Some(file)) => Err(file.check_open().err().unwrap_or_else(|| error.into())),
        (Err(error), None) => Err(error.into()),
    }
}

/// Checks that the database file is still the file that was opened.
pub(super) fn check(file: Option<&DatabaseFile>) -> Result<()> {
    file.map_or(Ok(()), DatabaseFile::check)
}

/// Opens a connection. The process that switches a new file to WAL mode needs exclusive access for a moment.
/// If a second process opens the file at that moment, SQLite returns busy immediately, regardless of the busy
/// timeout.
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

/// The open file. A process can keep reading and writing a deleted file, but everything written there is lost
/// when the process ends.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    identity: Identity,
    /// The write-ahead log, if any. It exists while a connection is open.
    wal: Option<PathBuf>,
    /// Whether the write-ahead log was ever missing. A new write-ahead log lacks the contents of the old one.
    wal_lost: AtomicBool,
}

impl DatabaseFile {
    async fn of(path: PathBuf, connection: &mut SqliteConnection) -> Result<Self> {
        let identity = identity(&path).map_err(sqlx::Error::from)?;
        let row = connection.fetch_one("PRAGMA journal_mode").await?;
        // The first read creates the write-ahead log.
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

    /// Checks that the file at the path is still the file that was opened.
    pub(super) fn check(&self) -> Result<()> {
        match identity(&self.path) {
            Ok(found) if found == self.identity && !self.wal_lost.load(Ordering::Relaxed) => Ok(()),
            _ => Err(self.lost()),
        }
    }

    /// Like [`Self::check`], for use while a connection is open. The write-ahead log must also exist.
    pub(super) fn check_open(&self) -> Result<()> {
        self.check()?;
        match &self.wal {
            Some(wal) if is_missing(wal) => {
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

/// Whether the file is missing. Does not read the file's metadata: on Linux 6.13 or later, the first write
/// after the times of a file are read has to store a new time, and `fsync` then takes a quarter longer.
fn is_missing(file: &Path) -> bool {
    // If the file exists, `read_link` fails with another error, because the file is not a symbolic link.
    matches!(std::fs::read_link(file), Err(error) if error.kind() == ErrorKind::NotFound)
}

#[cfg(unix)]
type Identity = (u64, u64);

/// Returns the device and the inode of the file.
#[cfg(unix)]
fn identity(path: &Path) -> std::io::Result<Identity> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

#[cfg(not(unix))]
type Identity = std::time::SystemTime;

/// Returns the creation time of the file.
#[cfg(not(unix))]
fn identity(path: &Path) -> std::io::Result<Identity> {
    std::fs::metadata(path).and_then(|file| file.created())
}
