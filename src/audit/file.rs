//! A file that is there when it is whole.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// A file under another name, `NAME.part`, until it is finished. What an interrupted run has written stays there, for the
/// next one to go on from. Only its owner may read it: it holds personal data.
#[derive(Debug)]
pub(super) struct PartFile {
    part: PathBuf,
    target: PathBuf,
    file: File,
}

impl PartFile {
    /// Opens the part of `target` as it is, and keeps other processes from it.
    pub(super) fn open(target: &Path) -> anyhow::Result<Self> {
        let mut part = target.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&part)
            .with_context(|| format!("{} cannot be written", part.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another process writes {}", part.display()),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{} cannot be locked", part.display()));
            }
        }
        Ok(Self {
            part,
            target: target.to_owned(),
            file,
        })
    }

    /// What is written so far, to be read and written.
    pub(super) const fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Makes it durable and gives it its name.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let finish = || {
            self.file.sync_all()?;
            std::fs::rename(&self.part, &self.target)?;
            let folder = self
                .target
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        finish().with_context(|| format!("{} cannot be written", self.target.display()))
    }

    /// Writes a whole file at once.
    pub(super) fn write(target: &Path, content: &[u8]) -> anyhow::Result<()> {
        let mut part = Self::open(target)?;
        part.file.set_len(0)?;
        part.file.write_all(content)?;
        part.finish()
    }
}
