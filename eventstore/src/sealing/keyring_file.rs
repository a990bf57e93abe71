//! The file of a keyring. Only its owner may have access to it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::Generate as _;
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
    /// [`KeyringFileError::Exists`], also if another process has just written the file, or
    /// [`KeyringFileError::Io`].
    pub fn create(&self, keyring: &Keyring) -> Result<(), KeyringFileError> {
        // Unlike a rename, a hard link fails if the file exists.
        self.publish(keyring, |written| fs::hard_link(written, &self.0))
    }

    /// Replaces the content of the file. Readers see either the old or the new content, also after a crash.
    ///
    /// # Errors
    ///
    /// [`KeyringFileError::Io`].
    pub fn replace(&self, keyring: &Keyring) -> Result<(), KeyringFileError> {
        self.publish(keyring, |written| fs::rename(written, &self.0))
    }

    /// Writes the keyring to a temporary file in the same folder, gives it its name with `publish`, and
    /// removes the temporary file, also after an error.
    ///
    /// The name of the temporary file is random, because processes in different containers can have the same
    /// process id and share the folder. A process that is killed leaves its temporary file behind.
    fn publish(
        &self,
        keyring: &Keyring,
        publish: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), KeyringFileError> {
        let text = keyring.to_text().map_err(|error| self.io(error.into()))?;
        let suffix = <[u8; 8]>::try_generate()
            .map_err(|_| self.io(io::Error::other("the operating system provides no random bytes")))?;
        let mut name = self.0.file_name().map_or_else(OsString::new, ToOwned::to_owned);
        name.push(format!(".{:016x}.tmp", u64::from_be_bytes(suffix)));
        let temporary = self.0.with_file_name(name);
        let written = match private::create_file(&temporary) {
            // The file belongs to another process, so it is not removed.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let path = self.0.clone();
                return Err(KeyringFileError::Io { path, error });
            }
            created => created.and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.write_all(b"\n")?;
                file.sync_all()
            }),
        };
        let published = written
            .and_then(|()| publish(&temporary))
            .and_then(|()| self.sync_folder());
        let removed = match fs::remove_file(&temporary) {
            // The file was never created, or was renamed.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        published.and(removed).map_err(|error| self.io(error))
    }

    /// Makes the entry of the file in its folder durable.
    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.0.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
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
