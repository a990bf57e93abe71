//! The file of a keyring. Only its owner may have access to it.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::keyring::{Keyring, KeyringError};
use crate::private;

/// Maximum size of the file in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Reason why a keyring file cannot be used. It contains no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringFileError {
    /// The file does not exist.
    #[error("the keyring file {} does not exist", path.display())]
    Missing {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file exists already.
    #[error("the keyring file {} exists already", path.display())]
    Exists {
        /// Path of the file.
        path: PathBuf,
    },
    /// The group or others have access to the file.
    #[error("the keyring file {} is accessible to other users: run chmod 600 on it", path.display())]
    Shared {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("the keyring file {}: {error}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        error: io::Error,
    },
    /// The content of the file cannot be used.
    #[error("the keyring file {}: {error}", path.display())]
    Content {
        /// Path of the file.
        path: PathBuf,
        /// The error.
        #[source]
        error: KeyringError,
    },
}

/// A keyring file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyringFile(PathBuf);

impl KeyringFile {
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

    /// Reads the keyring.
    ///
    /// # Errors
    ///
    /// [`KeyringFileError`], except [`KeyringFileError::Exists`].
    pub fn load(&self) -> Result<Keyring, KeyringFileError> {
        let path = &self.0;
        if private::is_shared(path).map_err(|error| self.io(error))? {
            return Err(KeyringFileError::Shared { path: path.clone() });
        }
        self.load_shared()
    }

    /// Reads the keyring even if other users have access to the file, in order to copy it to a private file.
    ///
    /// # Errors
    ///
    /// [`KeyringFileError::Missing`], [`KeyringFileError::Io`] or [`KeyringFileError::Content`].
    pub fn load_shared(&self) -> Result<Keyring, KeyringFileError> {
        let path = &self.0;
        let file = File::open(path).map_err(|error| self.io(error))?;
        let mut text = Zeroizing::new(String::new());
        let read = file.take(LARGEST + 1).read_to_string(&mut text);
        let read = read.map_err(|error| self.io(error))?;
        if read as u64 > LARGEST {
            return Err(self.io(io::Error::new(ErrorKind::FileTooLarge, "it is larger than 1 MiB")));
        }
        Keyring::parse(&text).map_err(|error| KeyringFileError::Content {
            path: path.clone(),
            error,
        })
    }

    /// Writes a new file. The file is durable when this returns.
    ///
    /// # Errors
    ///
    /// [`KeyringFileError::Exists`], even if another process has just written the file, or
    /// [`KeyringFileError::Io`].
    pub fn create(&self, keyring: &Keyring) -> Result<(), KeyringFileError> {
        self.write(keyring, private::write_new)
    }

    /// Replaces the content of the file. Readers see either the old or the new content, even after a crash.
    ///
    /// # Errors
    ///
    /// [`KeyringFileError::Io`].
    pub fn replace(&self, keyring: &Keyring) -> Result<(), KeyringFileError> {
        self.write(keyring, private::replace)
    }

    fn write(
        &self,
        keyring: &Keyring,
        write: impl FnOnce(&Path, &[u8]) -> io::Result<()>,
    ) -> Result<(), KeyringFileError> {
        let text = keyring.to_text().map_err(|error| self.io(error.into()))?;
        // The capacity suffices, so that growing leaves no copy in memory.
        let mut content = Zeroizing::new(Vec::with_capacity(text.len() + 1));
        content.extend_from_slice(text.as_bytes());
        content.push(b'\n');
        write(&self.0, &content).map_err(|error| self.io(error))
    }

    fn io(&self, error: io::Error) -> KeyringFileError {
        let path = self.0.clone();
        match error.kind() {
            ErrorKind::NotFound => KeyringFileError::Missing { path },
            ErrorKind::AlreadyExists => KeyringFileError::Exists { path },
            _ => KeyringFileError::Io { path, error },
        }
    }
}

#[cfg(test)]
mod tests;
