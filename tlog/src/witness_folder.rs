//! The folder of a witness: its key, and what it has cosigned.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use eventstore::private;
use transparency::checkpoint::{Checkpoint, SignedCheckpoint};
use transparency::note::MAX_NOTE_LEN;
use transparency::witness::{Latest, Store, monitoring_path};

use crate::key_file::KeyFile;
use crate::state::{self, StateError};

/// Returns the key file in the folder of a witness.
#[must_use]
pub fn witness_key_file(folder: &Path) -> KeyFile {
    KeyFile::new(folder.join("witness.key"))
}

/// The locked folder of a witness. For each log, the file `HASH.state` has the largest checkpoint that the
/// witness may have cosigned, where `HASH` is the SHA-256 hash of the origin. The file is written and flushed
/// before the witness returns a cosignature.
///
/// The file `HASH.checkpoint` has the last cosigned checkpoint, and `HASH.conflict` the first checkpoint that
/// the log has signed but that does not extend the cosigned checkpoint. The witness does not depend on these
/// two files.
#[derive(Debug)]
pub struct WitnessFolder {
    folder: PathBuf,
    _lock: File,
}

impl WitnessFolder {
    /// Locks the folder. Returns `None` if another process has locked it. The lock ends with the returned
    /// value, or with the process.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`].
    pub fn lock(folder: &Path) -> Result<Option<Self>, StateError> {
        let lock = state::lock_file(folder.join("witness.lock"))?;
        Ok(lock.map(|lock| Self {
            folder: folder.to_owned(),
            _lock: lock,
        }))
    }

    /// Keeps the cosigned checkpoint of a log, so that monitors can read it.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn publish(&self, cosigned: &SignedCheckpoint) -> io::Result<()> {
        let file = self.file(cosigned.checkpoint().origin(), "checkpoint");
        private::replace(&file, cosigned.to_string().as_bytes())
    }

    /// Returns the last cosigned checkpoint of a log, if any.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn published(&self, origin: &str) -> io::Result<Option<String>> {
        let mut note = String::new();
        let file = File::open(self.file(origin, "checkpoint"));
        match file.and_then(|file| file.take(MAX_NOTE_LEN as u64).read_to_string(&mut note)) {
            Ok(_) => Ok(Some(note)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a checkpoint that the log has signed but that does not extend the cosigned checkpoint, unless an
    /// earlier one is kept. Returns the path of the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn keep_conflict(&self, signed: &SignedCheckpoint) -> io::Result<PathBuf> {
        let file = self.file(signed.checkpoint().origin(), "conflict");
        match private::write_new(&file, signed.to_string().as_bytes()) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(file),
            written => written.map(|()| file),
        }
    }

    fn file(&self, origin: &str, suffix: &str) -> PathBuf {
        let path = monitoring_path(origin);
        let hash = path.split('/').next().unwrap_or_default();
        self.folder.join(format!("{hash}.{suffix}"))
    }
}

impl Store for WitnessFolder {
    type Error = StateError;

    fn latest(&mut self, origin: &str) -> Result<Option<Latest>, StateError> {
        let state = state::read(&self.file(origin, "state"), origin)?;
        Ok(state.map(|state| Latest {
            size: state.size(),
            root: state.root(),
        }))
    }

    fn replace(&mut self, origin: &str, old: Option<Latest>, new: Latest) -> Result<bool, StateError> {
        if self.latest(origin)? != old {
            return Ok(false);
        }
        let path = self.file(origin, "state");
        let state = match Checkpoint::new(origin, new.size, new.root) {
            Ok(state) => state,
            Err(error) => return Err(StateError::Content { path, error }),
        };
        let written = private::replace(&path, state.to_string().as_bytes());
        match written {
            Ok(()) => Ok(true),
            Err(error) => Err(StateError::Io { path, error }),
        }
    }
}
