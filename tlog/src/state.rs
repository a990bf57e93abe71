//! The state of a signer: the last checkpoint that it may have signed.
//!
//! The state is written and flushed before the checkpoint is signed. It is a file beside the key, not a row
//! of the database, so restoring a backup of the database does not bring an older state back.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use eventstore::private;
use transparency::checkpoint::{Checkpoint, CheckpointError};

/// Maximum size of the file in bytes.
const LARGEST: u64 = 4096;

/// Reason why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file cannot be read or written.
    #[error("the state file {}: {error}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        error: io::Error,
    },
    /// The lock file beside the state file cannot be created or locked.
    #[error("the lock file {}: {error}", path.display())]
    Lock {
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        error: io::Error,
    },
    /// The state is older than a checkpoint that was made with it.
    #[error(
        "the state file {} is missing or was restored from a backup: the checkpoint of {newest} events beside it is \
         newer. Do not remove that checkpoint; see \"Loss of a witness\" in docs/audit.md",
        path.display()
    )]
    Behind {
        /// Path of the file.
        path: PathBuf,
        /// Size of the newer checkpoint.
        newest: u64,
    },
    /// The file does not contain a checkpoint.
    #[error("the state file {}: {error}", path.display())]
    Content {
        /// Path of the file.
        path: PathBuf,
        /// The error.
        #[source]
        error: CheckpointError,
    },
    /// The state belongs to a log with another origin.
    #[error("the state file {} belongs to the log {origin}", path.display())]
    Origin {
        /// Path of the file.
        path: PathBuf,
        /// Origin in the file.
        origin: String,
    },
}

/// A state file: the text of a checkpoint without signatures. It has the name of the key file with the suffix
/// `.state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFile(PathBuf);

/// A state file that no other process can lock.
#[derive(Debug)]
pub struct LockedState {
    path: PathBuf,
    /// A separate file, because the state file is replaced when it is written.
    _lock: File,
}

impl StateFile {
    pub(crate) fn beside(key_file: &Path) -> Self {
        Self(with_suffix(key_file, ".state"))
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Locks the state. Returns `None` if another process has locked it. The lock ends with the returned
    /// value, or with the process.
    ///
    /// # Errors
    ///
    /// [`StateError::Lock`].
    pub fn lock(&self) -> Result<Option<LockedState>, StateError> {
        let path = with_suffix(&self.0, ".lock");
        match lock_file(&path) {
            Ok(lock) => Ok(lock.map(|lock| LockedState {
                path: self.0.clone(),
                _lock: lock,
            })),
            Err(error) => Err(StateError::Lock { path, error }),
        }
    }
}

/// Locks a file, which is created if it does not exist. Returns `None` if another process has locked it. The
/// lock ends with the returned file.
///
/// # Errors
///
/// If the file cannot be created or locked.
pub fn lock_file(path: &Path) -> io::Result<Option<File>> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    let locked = opened.map_err(TryLockError::Error).and_then(|file| {
        file.try_lock()?;
        Ok(file)
    });
    match locked {
        Ok(file) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Reads the checkpoint in a state file. Returns `None` if the file does not exist.
pub(crate) fn read(path: &Path, origin: &str) -> Result<Option<Checkpoint>, StateError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST).read_to_string(&mut text));
    let path = || path.to_owned();
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateError::Io { path: path(), error }),
    }
    let state: Checkpoint = text
        .parse()
        .map_err(|error| StateError::Content { path: path(), error })?;
    if state.origin() != origin {
        return Err(StateError::Origin {
            path: path(),
            origin: state.origin().to_owned(),
        });
    }
    Ok(Some(state))
}

impl LockedState {
    /// Path of the state file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the state of the log with this origin. Returns `None` if the file does not exist.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn read(&self, origin: &str) -> Result<Option<Checkpoint>, StateError> {
        read(&self.path, origin)
    }

    /// Replaces the state. The new state is durable when this returns. A process that is killed during the
    /// call leaves either the old or the new state.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`].
    pub fn write(&self, state: &Checkpoint) -> Result<(), StateError> {
        private::replace(&self.path, state.to_string().as_bytes()).map_err(|error| StateError::Io {
            path: self.path.clone(),
            error,
        })
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
