//! The file of the key that signs checkpoints. Only its owner may have access to it.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
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
    /// The origin of the log, or the name of the witness, cannot be the name of a key.
    #[error("the name of the key cannot be used: {0}")]
    Origin(#[source] KeyError),
    /// The origin of the log cannot be the origin of a checkpoint.
    #[error("the origin cannot be the origin of a checkpoint: {0}")]
    Empty(#[source] CheckpointError),
}

/// A key file, in the form of Go's `golang.org/x/mod/sumdb/note`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile(PathBuf);

impl KeyFile {
    /// Creates a reference to the file at `path`, which need not exist.
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
        let key = self.load_any()?;
        if key.verifier().name() == origin {
            Ok(key)
        } else {
            Err(KeyFileError::Name {
                path: self.0.clone(),
                name: key.verifier().name().to_owned(),
                origin: origin.to_owned(),
            })
        }
    }

    /// Reads the key without checking its name.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`].
    pub fn load_any(&self) -> Result<SigningKey, KeyFileError> {
        let path = &self.0;
        if private::is_shared(path).map_err(|error| self.io(error))? {
            return Err(KeyFileError::Shared { path: path.clone() });
        }
        let file = File::open(path).map_err(|error| self.io(error))?;
        // The capacity suffices, so that growing leaves no copy in memory.
        let mut text = Zeroizing::new(String::with_capacity(2 * MAX_KEY_LEN));
        let read = file.take(2 * MAX_KEY_LEN as u64).read_to_string(&mut text);
        read.map_err(|error| self.io(error))?;
        SigningKey::parse(&text).map_err(|error| KeyFileError::Content {
            path: path.clone(),
            error,
        })
    }

    /// Makes a new key with this name, and writes it to a new file, without a state. The file is durable when
    /// this returns.
    ///
    /// # Errors
    ///
    /// As with [`KeyFile::create`].
    pub fn create_without_state(&self, name: &str) -> Result<SigningKey, KeyFileError> {
        let key = new_key(name)?;
        self.write(&key)?;
        Ok(key)
    }

    /// Makes a new key for the log with this origin, and writes it to a new file. If there is no state file,
    /// writes the state of a key that has signed nothing. The files are durable when this returns.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::Exists`], even if another process has just written the file; other [`KeyFileError`]s.
    pub fn create(&self, origin: &str) -> Result<SigningKey, KeyFileError> {
        let key = new_key(origin)?;
        if self.0.try_exists().map_err(|error| self.io(error))? {
            return Err(KeyFileError::Exists { path: self.0.clone() });
        }
        self.begin_state(origin)?;
        self.write(&key)?;
        Ok(key)
    }

    fn write(&self, key: &SigningKey) -> Result<(), KeyFileError> {
        let text = key.to_text();
        // The capacity suffices, so that growing leaves no copy in memory.
        let mut content = Zeroizing::new(Vec::with_capacity(text.len() + 1));
        content.extend_from_slice(text.as_bytes());
        content.push(b'\n');
        private::write_new(&self.0, &content).map_err(|error| self.io(error))
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

/// Makes a new key with this name.
fn new_key(name: &str) -> Result<SigningKey, KeyFileError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice())?;
    SigningKey::from_seed(name, &seed).map_err(KeyFileError::Origin)
}
