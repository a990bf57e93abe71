//! Output files that get their final name only when they are complete.

use std::fs::{File, FileType, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use eventstore::private;

/// A file named `NAME.part` until it is complete. After an interruption it stays, so that the next run can
/// resume. Only its owner can read it, because it contains personal data.
///
/// Only regular files are written and replaced. Links, devices, pipes and directories are rejected, and links
/// are not followed.
#[derive(Debug)]
pub(crate) struct PartFile {
    part: PathBuf,
    target: PathBuf,
    file: File,
}

impl PartFile {
    /// Opens the part of `target`, with its content, and locks it against other processes.
    pub(crate) fn open(target: &Path) -> anyhow::Result<Self> {
        check_target(target)?;
        let part = beside(target, ".part");
        let file = open_private(&part)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another process is writing {}", part.display()),
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

    /// Whether a part of `target`, or its final file, would be written over the file `other`. Links are
    /// followed.
    pub(crate) fn would_replace(target: &Path, other: &Path) -> bool {
        // A file that does not exist, or cannot be found, cannot be lost.
        let identity = |path: &Path| {
            std::fs::metadata(path)
                .ok()
                .map(|found| (found.dev(), found.ino()))
        };
        let other = identity(other);
        let written = [target.to_owned(), beside(target, ".part")];
        other.is_some() && written.iter().any(|path| identity(path) == other)
    }

    /// Returns the file, open for reading and writing.
    pub(crate) const fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Flushes the file to disk and renames it to its target.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        check_target(&self.target)?;
        let finish = || {
            self.file.sync_all()?;
            std::fs::rename(&self.part, &self.target)?;
            private::sync_folder_of(&self.target)
        };
        finish().with_context(|| format!("{} cannot be written", self.target.display()))
    }

    /// Writes a complete file.
    pub(super) fn write(target: &Path, content: &[u8]) -> anyhow::Result<()> {
        let mut part = Self::open(target)?;
        let cannot = || format!("{} cannot be written", target.display());
        part.file.set_len(0).with_context(cannot)?;
        part.file.write_all(content).with_context(cannot)?;
        part.finish()
    }
}

/// Appends a suffix to the last component of a path.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Opens a file for reading and writing, and creates it if it does not exist. Only its owner can read it.
pub(super) fn open_private(path: &Path) -> anyhow::Result<File> {
    let cannot = || format!("{} cannot be written", path.display());
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    // Exclusive creation does not follow links.
    match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        created => return created.with_context(cannot),
    }
    let found = std::fs::symlink_metadata(path).with_context(cannot)?;
    check_regular(path, &found)?;
    let file = options.open(path).with_context(cannot)?;
    let opened = file.metadata().with_context(cannot)?;
    if (opened.dev(), opened.ino()) != (found.dev(), found.ino()) {
        bail!("{} was replaced while it was being opened", path.display());
    }
    if opened.nlink() > 1 {
        bail!(
            "{} has a second name (a hard link); remove one of them",
            path.display()
        );
    }
    if opened.uid() != uzers::get_effective_uid() {
        bail!("{} belongs to another user", path.display());
    }
    file.set_permissions(Permissions::from_mode(0o600))
        .with_context(cannot)?;
    Ok(file)
}

/// Checks that a target is a regular file or does not exist.
fn check_target(path: &Path) -> anyhow::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => check_regular(path, &found),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("{} cannot be written", path.display())),
    }
}

fn check_regular(path: &Path, found: &Metadata) -> anyhow::Result<()> {
    if !found.is_file() {
        bail!(
            "{} is {}; only a regular file can be replaced",
            path.display(),
            kind(found.file_type())
        );
    }
    Ok(())
}

fn kind(found: FileType) -> &'static str {
    if found.is_symlink() {
        "a symbolic link"
    } else if found.is_dir() {
        "a directory"
    } else if found.is_fifo() {
        "a named pipe"
    } else if found.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}
