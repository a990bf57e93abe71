//! Emails as files, for use without an SMTP server.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventstore::private;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::error::DeliveryFailure;
use crate::message::Mail;

/// A folder with one file per email, `POSITION-TEMPLATE.eml`, which mail programs can open.
///
/// Files are written atomically, and are on disk before the email counts as sent. If an email is sent twice,
/// it replaces its own file. Emails contain personal data, so only the owner may read the files.
#[derive(Debug)]
pub struct Outbox {
    folder: PathBuf,
    /// Whether the permissions of the folder have been checked.
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

    pub(super) async fn write_within(&self, mail: &Mail, limit: Duration) -> Result<(), DeliveryFailure> {
        timeout(limit, self.write(mail))
            .await
            .unwrap_or(Err(DeliveryFailure::Timeout))
    }

    async fn write(&self, mail: &Mail) -> Result<(), DeliveryFailure> {
        let folder = self.folder.clone();
        blocking(move || private::create_folder(&folder))
            .await
            .map_err(|error| DeliveryFailure::Outbox(error.kind()))?;
        self.warn_if_shared();
        let name = &mail.name;
        // The random suffix gives each worker its own file, in case two workers write the same email.
        let unfinished = self.folder.join(format!(".{name}.{:016x}", fastrand::u64(..)));
        let finished = self.folder.join(format!("{name}.eml"));
        let written = self
            .write_by_rename(mail.content.as_bytes(), &unfinished, &finished)
            .await;
        if written.is_err() {
            // The file may not exist.
            drop(fs::remove_file(&unfinished).await);
        }
        written.map_err(|error| DeliveryFailure::Outbox(error.kind()))
    }

    /// Warns once if other users can read the folder, because an older version or another program created it.
    /// The folder may also hold other files, so its permissions are not changed.
    fn warn_if_shared(&self) {
        if !self.checked.swap(true, Ordering::Relaxed) && private::is_shared(&self.folder).unwrap_or(false) {
            let folder = self.folder.display();
            tracing::warn!(
                "other users of this machine may be able to read older emails in {folder}: run `chmod -R go= {folder}`"
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
        // The new name is an entry in the folder, which must be synced separately.
        File::open(&self.folder).await?.sync_all().await
    }
}

async fn blocking<T: Send + 'static>(task: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(task)
        .await
        .map_err(io::Error::other)?
}

/// Writes `content`, and returns when it is on disk.
async fn put(mut file: File, content: &[u8]) -> io::Result<()> {
    file.write_all(content).await?;
    // Tokio writes in the background. `flush` reports write errors; `sync_all` does not.
    file.flush().await?;
    file.sync_all().await
}

#[cfg(test)]
mod tests;
