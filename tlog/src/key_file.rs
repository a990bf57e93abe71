//! The file of the key that signs checkpoints. Only its owner may have access to it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use eventstore::private;
use transparency::Hash;
use transparency::checkpoint::{Checkpoint, CheckpointError};
use transparency::note::{KeyError, MAX_KEY_LEN, SigningKey};
use zeroize::Zeroizing;

use crate::state::{StateError, StateFile};

/// Reason why a key file cannot be used. It contains no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file does not exist.
    #[error("the key file {} does not exist", path.display())]
    Missing {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file exists already.
    #[error("the key file {} exists already", path.display())]
    Exists {
        /// Path of the file.
        path: PathBuf,
    },
    /// The group or others have access to the file.
    #[error("the key file {} is accessible to other users: run chmod 600 on it", path.display())]
    Shared {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("the key file {}: {error}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        error: io::Error,
    },
    /// The file does not contain a key.
    #[error("the key file {}: {error}", path.display())]
    Content {
        /// Path of the file.
        path: PathBuf,
        /// The error.
        #[source]
        error: KeyError,
    },
    /// The name of the key is not the origin of the log.
    #[error("the key in {} has the name {name}, but the origin of the log is {origin}", path.display())]
    Name {
        /// Path of the file.
        path: PathBuf,
        /// Name of the key.
        name: String,
        /// Origin of the log.
        origin: String,
    },
    /// The operating system provides no random bytes.
    #[error("the operating system provides no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// The state file beside the key file cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The origin of the log cannot be the name of a key.
    #[error("the origin cannot be the name of a key: {0}")]
    Origin(#[source] KeyError),
    /// The origin of the log cannot be the origin of a checkpoint.
    #[error("the origin cannot be the origin of a checkpoint: {0}")]
    Empty(#[source] CheckpointError),
}

/// A key file, in the form of Go's `golang.org/x/mod/sumdb/note`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile(PathBuf);

impl KeyFile {
    /// Names the file at `path`, which need not exist.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The state file beside this file.
    #[must_use]
    pub fn state(&self) -> StateFile {
        StateFile::beside(&self.0)
    }

    /// Reads the key of the log with this origin.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`].
    pub fn load(&self, origin: &str) -> Result<SigningKey, KeyFileError> {
        let path = &self.0;
        if private::is_shared(path).map_err(|error| self.io(error))? {
            return Err(KeyFileError::Shared { path: path.clone() });
        }
        let file = File::open(path).map_err(|error| self.io(error))?;
        // The capacity suffices, so that growing leaves no copy in memory.
        let mut text = Zeroizing::new(String::with_capacity(2 * MAX_KEY_LEN));
        let read = file.take(2 * MAX_KEY_LEN as u64).read_to_string(&mut text);
        read.map_err(|error| self.io(error))?;
        let key = SigningKey::parse(&text).map_err(|error| KeyFileError::Content {
            path: path.clone(),
            error,
        })?;
        if key.verifier().name() != origin {
            return Err(KeyFileError::Name {
                path: path.clone(),
                name: key.verifier().name().to_owned(),
                origin: origin.to_owned(),
            });
        }
        Ok(key)
    }

    /// Makes a new key for the log with this origin, and writes it to a new file. If there is no state file,
    /// writes the state of a key that has signed nothing. The files are durable when this returns.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::Exists`], also if another process has just written the file; other
    /// [`KeyFileError`]s.
    pub fn create(&self, origin: &str) -> Result<SigningKey, KeyFileError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice())?;
        let key = SigningKey::from_seed(origin, &seed).map_err(KeyFileError::Origin)?;
        if self.0.try_exists().map_err(|error| self.io(error))? {
            return Err(KeyFileError::Exists { path: self.0.clone() });
        }
        self.begin_state(origin)?;
        let mut suffix = [0; 8];
        getrandom::fill(&mut suffix)?;
        let mut name = self.0.file_name().map_or_else(OsString::new, ToOwned::to_owned);
        name.push(format!(".{:016x}.tmp", u64::from_be_bytes(suffix)));
        let temporary = self.0.with_file_name(name);
        let mut file = private::create_file(&temporary).map_err(|error| self.io(error))?;
        let published = file
            .write_all(key.to_text().as_bytes())
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.sync_all())
            // Unlike a rename, a hard link fails if the file exists.
            .and_then(|()| fs::hard_link(&temporary, &self.0))
            .and_then(|()| sync_folder(&self.0));
        // The removal is durable too, so that no second copy of the key comes back.
        let removed = fs::remove_file(&temporary).and_then(|()| sync_folder(&self.0));
        published.and(removed).map_err(|error| self.io(error))?;
        Ok(key)
    }

    /// Writes the state of a key that has signed nothing, unless there is a state.
    fn begin_state(&self, origin: &str) -> Result<(), KeyFileError> {
        // A signer that has locked the state has a state.
        if let Some(locked) = self.state().lock().map_err(|error| self.missing_folder(error))?
            && locked.read(origin)?.is_none()
        {
            let nothing = Checkpoint::new(origin, 0, Hash::EMPTY_ROOT).map_err(KeyFileError::Empty)?;
            locked.write(&nothing)?;
        }
        Ok(())
    }

    /// Converts the error of a folder that does not exist.
    fn missing_folder(&self, error: StateError) -> KeyFileError {
        match error {
            StateError::Io { error, .. } if error.kind() == ErrorKind::NotFound => self.io(error),
            error => error.into(),
        }
    }

    fn io(&self, error: io::Error) -> KeyFileError {
        let path = self.0.clone();
        match error.kind() {
            ErrorKind::NotFound => KeyFileError::Missing { path },
            ErrorKind::AlreadyExists => KeyFileError::Exists { path },
            _ => KeyFileError::Io { path, error },
        }
    }
}

/// Makes the entry of a file in its folder durable.
pub(crate) fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
