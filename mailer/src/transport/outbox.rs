//! Mails as files, for those who have no SMTP server.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use eventstore::private;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;

use crate::error::Failure;
use crate::message::Mail;

/// A folder that mails are written to, one file each: `POSITION-TEMPLATE.eml`, which any mail program opens.
///
/// A file appears whole or not at all, and is on the disk before the mail counts as sent. A mail that is sent
/// twice replaces its own file. Mails hold personal data, so only the owner may read them.
#[derive(Debug)]
pub struct Outbox {
    folder: PathBuf,
    /// Whether it was looked at who may read the folder.
    checked: AtomicBool,
}

impl Outbox {
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            checked: AtomicBool::new(false),
        }
    }

    pub(super) fn describe(&self) -> String {
        format!("files in {}", self.folder.display())
    }

    pub(super) async fn write(&self, mail: &Mail) -> Result<(), Failure> {
        let folder = self.folder.clone();
        blocking(move || private::create_folder(&folder))
            .await
            .map_err(|error| Failure::Outbox(error.kind()))?;
        self.warn_if_shared();
        let name = &mail.name;
        // Random: should two workers ever write the same mail, each has its own file to write to.
        let unfinished = self.folder.join(format!(".{name}.{:016x}", fastrand::u64(..)));
        let finished = self.folder.join(format!("{name}.eml"));
        let written = self
            .write_by_rename(mail.content.as_bytes(), &unfinished, &finished)
            .await;
        if written.is_err() {
            // It may not even be there.
            drop(fs::remove_file(&unfinished).await);
        }
        written.map_err(|error| Failure::Outbox(error.kind()))
    }

    /// Warns once of a folder that is older than the program's care, or was made by somebody else. It may be
    /// for other files too, so it stays as it is.
    fn warn_if_shared(&self) {
        if !self.checked.swap(true, Ordering::Relaxed) && private::is_shared(&self.folder).unwrap_or(false) {
            let folder = self.folder.display();
            tracing::warn!(
                "other users of this machine may read older mails in {folder}: `chmod -R go= {folder}` keeps them out"
            );
        }
    }

    async fn write_by_rename(&self, content: &[u8], unfinished: &Path, finished: &Path) -> io::Result<()> {
        let made = {
            let unfinished = unfinished.to_owned();
            blocking(move || private::create_file(&unfinished)).await?
        };
        put(File::from_std(made), content).await?;
        fs::rename(unfinished, finished).await?;
        // The new name is an entry of the folder, which has a disk block of its own.
        File::open(&self.folder).await?.sync_all().await
    }
}

async fn blocking<T: Send + 'static>(task: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(task)
        .await
        .map_err(io::Error::other)?
}

/// Writes `content`, and returns when it is on the disk.
async fn put(mut file: File, content: &[u8]) -> io::Result<()> {
    file.write_all(content).await?;
    // Tokio writes in the background; how that ended is told here, and not by `sync_all`.
    file.flush().await?;
    file.sync_all().await
}

#[cfg(test)]
mod tests;
