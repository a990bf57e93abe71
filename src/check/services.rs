//! Checks Redis, mail and the disks.

use std::path::{Path, PathBuf};

use eventstore::Signal;
use futures::FutureExt;

use super::{Finding, Group};
use crate::database;
use crate::mail::MailParts;
use crate::output;
use crate::sealing;
use crate::settings::Settings;

/// Free space of a disk, in bytes, below which the check warns.
const LITTLE_SPACE: u64 = 1024 * 1024 * 1024;
/// Free space of a disk, in bytes, below which the check fails.
const NO_SPACE: u64 = 100 * 1024 * 1024;

/// Returns the checks of the other servers, and of the disks of the files that this configuration uses.
pub(super) fn groups(settings: &Settings) -> [Group<'_>; 3] {
    let disks = async { folders(settings).iter().map(|folder| disk(folder)).collect() };
    [
        Group::new("REDIS_URL", redis(settings).map(|finding| vec![finding])),
        Group::new("SMTP_URL", mail(settings).map(|finding| vec![finding])),
        Group::new("disk", disks),
    ]
}

async fn redis(settings: &Settings) -> Finding {
    let Some(url) = settings.redis_url() else {
        return if database::sqlite_file(&settings.database_url).is_some() {
            Finding::ok("REDIS_URL", "not set, and not needed by a single process")
        } else {
            Finding::warning(
                "REDIS_URL",
                "not set: other processes learn of an event when they poll the log",
            )
            .advise("set REDIS_URL if the roles run in several processes")
        };
    };
    let answered = match crate::redis::servers(settings, url) {
        Ok(servers) => Signal::check_redis(&servers).await.map_err(Into::into),
        Err(error) => Err(error),
    };
    match answered {
        Ok(()) => Finding::ok("REDIS_URL", "Redis answers"),
        Err(error) => {
            Finding::error("REDIS_URL", output::causes(&error)).advise("start Redis, or correct the URL")
        }
    }
}

async fn mail(settings: &Settings) -> Finding {
    let subject = "SMTP_URL";
    let parts = match MailParts::load(settings) {
        Ok(parts) => parts,
        Err(error) => {
            return Finding::error("mail", output::causes(&error))
                .advise("correct the settings of mail: docs/mail.md");
        }
    };
    if settings.mail.smtp_url().is_none() {
        return Finding::warning(subject, "not set: emails are written to files and not sent")
            .advise("set SMTP_URL");
    }
    match parts.check(settings).await {
        Ok(()) => Finding::ok(subject, "the mail server accepts this client"),
        Err(error) => Finding::error(subject, output::causes(&error))
            .advise("`patients mail test` shows each step: docs/mail.md"),
    }
}

/// Returns the folders of the files that this configuration writes or needs.
fn folders(settings: &Settings) -> Vec<PathBuf> {
    let databases = [Some(settings.database_url.as_str()), settings.keys_database_url()];
    let files = databases.into_iter().flatten().filter_map(database::sqlite_file);
    let mut folders: Vec<_> = files
        .filter_map(|file| Path::new(file).parent())
        .map(Path::to_owned)
        .collect();
    if settings.mail.smtp_url().is_none() {
        folders.push(settings.mail.mail_outbox.clone());
    }
    folders.extend(sealing::keyring_file(settings).and_then(|file| file.path().parent().map(Path::to_owned)));
    folders.sort_unstable();
    folders.dedup();
    folders
}

fn disk(folder: &Path) -> Finding {
    let subject = format!("disk {}", folder.display());
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let free = match rustix::fs::statvfs(folder) {
        Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
        Err(error) => {
            return Finding::warning(&subject, format!("cannot be checked: {error}"))
                .advise("the folder is created when a role first writes to it");
        }
    };
    let message = format!("{} MiB free", free / 1024 / 1024);
    match free {
        ..NO_SPACE => Finding::error(&subject, message).advise("free space before the disk is full"),
        NO_SPACE..LITTLE_SPACE => Finding::warning(&subject, message).advise("free space"),
        _ => Finding::ok(&subject, message),
    }
}
