//! The open SQLite file, and whether it was deleted or replaced.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::sqlite::SqliteConnection;
use sqlx::{Executor as _, Row as _};

use crate::error::{Error, Result};

/// The open file. A process can keep reading and writing a deleted file, but everything written there is lost
/// when the process ends.
#[derive(Debug)]
pub(in crate::database) struct DatabaseFile {
    path: PathBuf,
    identity: Identity,
    /// The write-ahead log, if any. It exists while a connection is open.
    wal: Option<PathBuf>,
    /// Whether the write-ahead log was ever missing. A new write-ahead log lacks the contents of the old one.
    wal_lost: AtomicBool,
}

impl DatabaseFile {
    pub(super) async fn of(path: PathBuf, connection: &mut SqliteConnection) -> Result<Self> {
        let identity = identity(&path).map_err(|error| Error::from_driver(error.into()))?;
        let is_wal = opens_wal(connection).await.map_err(Error::from_driver)?;
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

    /// Like [`Self::check`], but accepts an in-memory database, which has no file.
    pub(in crate::database) fn check_if_any(file: Option<&Self>) -> Result<()> {
        file.map_or(Ok(()), Self::check)
    }

    /// Checks that the file at the path is still the file that was opened, and that its write-ahead log was
    /// never found missing.
    fn check(&self) -> Result<()> {
        match identity(&self.path) {
            Ok(found) if found == self.identity && !self.wal_lost.load(Ordering::Relaxed) => Ok(()),
            _ => Err(self.lost()),
        }
    }

    /// Like [`Self::check`], for use while a connection is open. The write-ahead log must also exist.
    pub(in crate::database) fn check_open(&self) -> Result<()> {
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

/// Reads from the database, which creates its write-ahead log. Returns whether the database has one.
async fn opens_wal(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    let row = connection.fetch_one("PRAGMA journal_mode").await?;
    connection.fetch_one("SELECT COUNT(*) FROM sqlite_schema").await?;
    Ok(row.try_get::<String, _>(0)?.eq_ignore_ascii_case("wal"))
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
