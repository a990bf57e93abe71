//! The sealing of the log: new logs are sealed, and sealed logs are opened with the keyring.
//!
//! With SQLite, the first start makes the keyring, next to the database. With a server, the keyring must
//! exist before the log, because processes on several machines need the same file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use api::PatientData;
use api::commands::ClaimScheme;
use domain::EmailUniqueness;
use eventstore::sealing::{Keyring, KeyringFile, KeyringFileError, LogId, SealingError};
use eventstore::{
    Clock, Database, Dialect, EventLog, HeadKey, KeysPlace, LogFormat, Position, Sealing, Signal,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::database::{Target, passes, repeat_while_unavailable};
use crate::keys_database::{self, Opener};
use crate::output;
use crate::reload::ReloadedFiles;
use crate::settings::Settings;

/// Name of the keyring file in the folder of an SQLite database.
const KEYRING: &str = "keyring.json";
/// Interval at which a role checks whether the log has been sealed, or whether a changed keyring can be used.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Number of checks for which the keyring of a log that was just sealed may be unusable.
const FAILURES: u32 = 4;

/// Returns the file of the keyring, if it is set or the database is an SQLite file.
pub(crate) fn keyring_file(settings: &Settings) -> Option<KeyringFile> {
    let path = settings.keyring_file().map(Path::to_owned).or_else(|| {
        let file = crate::database::sqlite_file(&settings.database_url)?;
        Some(Path::new(file).with_file_name(KEYRING))
    });
    path.map(KeyringFile::new)
}

/// Whether the file of the keyring exists.
pub(crate) fn keyring_exists(settings: &Settings) -> bool {
    keyring_file(settings).is_some_and(|file| file.path().exists())
}

/// Seals the log if it has no events. With SQLite, makes the keyring if it does not exist.
pub(crate) async fn seal_new_log(
    settings: &Settings,
    database: &Database,
    clock: &Arc<dyn Clock>,
    opener: Opener,
) -> anyhow::Result<()> {
    if LogFormat::read(database).await? != LogFormat::Clear
        || EventLog::new(database.clone()).head().await?.position > Position::BEGINNING
    {
        return Ok(());
    }
    let Some(file) = keyring_file(settings) else {
        bail!(
            "a new log is sealed and needs a keyring: set KEYRING_FILE, and create the file with `patients keys new`"
        );
    };
    let keyring = match file.load() {
        Err(KeyringFileError::Missing { .. }) if database.dialect() == Dialect::Sqlite => {
            match file.create(&Keyring::generate(clock.now())?) {
                Err(KeyringFileError::Exists { .. }) => {}
                created => created?,
            }
            tracing::info!(keyring = %file.path().display(), "created the keyring");
            file.load()?
        }
        Err(error @ KeyringFileError::Missing { .. }) => {
            return Err(error).context("a new log is sealed; `patients keys new` creates the keyring");
        }
        loaded => loaded?,
    };
    let claims = ClaimScheme::Rule(settings.email_unique().unwrap_or_default()).version();
    let keys = keys_database::open_to_seal(settings, opener).await?;
    let sealed = LogFormat::seal_if_empty(database, &keyring, claims, keys.as_ref()).await;
    if let Some(keys) = keys {
        keys.close().await;
    }
    sealed.context("the log cannot be sealed")?;
    Ok(())
}

/// A sealed log that was opened with the keyring.
pub(crate) struct OpenedLog {
    /// File of the keyring.
    pub(crate) path: PathBuf,
    database: Database,
    sealing: Sealing,
    files: ReloadedFiles<Keyring>,
}

/// Opens the log with the keyring. Returns `None` if the log is unencrypted.
pub(crate) async fn open(
    settings: &Settings,
    database: &Database,
    opener: Opener,
) -> anyhow::Result<Option<OpenedLog>> {
    match LogFormat::read(database).await? {
        LogFormat::Clear => {
            if let Some(rule) = settings
                .email_unique()
                .filter(|rule| *rule != EmailUniqueness::Email)
            {
                tracing::warn!("EMAIL_UNIQUE={rule} has no effect, because the log is unencrypted");
            }
            Ok(None)
        }
        LogFormat::Sealed(log, place) => open_with_keyring(settings, database, log, place, opener)
            .await
            .map(Some),
    }
}

/// Opens the log for a role. If `seals` is set, first seals a new log. Retries while the database cannot be
/// reached or accepts no writes.
pub(crate) async fn open_for_role(
    settings: &Settings,
    database: &Database,
    clock: &Arc<dyn Clock>,
    seals: bool,
) -> anyhow::Result<Option<OpenedLog>> {
    repeat_while_unavailable(settings, async || {
        if seals {
            seal_new_log(settings, database, clock, Opener::Role).await?;
        }
        open(settings, database, Opener::Role).await
    })
    .await
}

/// Like [`open`], but without a usable keyring, the events stay as stored.
pub(crate) async fn open_if_possible(settings: &Settings, database: &Database) {
    if keyring_exists(settings)
        && let Err(error) = open(settings, database, Opener::Command).await
    {
        tracing::warn!("continuing without the keyring: {}", output::causes(&error));
    }
}

async fn open_with_keyring(
    settings: &Settings,
    database: &Database,
    log: LogId,
    place: KeysPlace,
    opener: Opener,
) -> anyhow::Result<OpenedLog> {
    let Some(file) = keyring_file(settings) else {
        bail!("the log is sealed, so its personal data can be read only with its keyring: set KEYRING_FILE");
    };
    let path = file.path().to_owned();
    // Also checks the mode of the file.
    file.load().context("the log is sealed and needs its keyring")?;
    let (files, keyring) = ReloadedFiles::open(vec![("KEYRING_FILE", path.clone())], |contents| {
        let text = contents.first().map_or(&[][..], Vec::as_slice);
        Ok(Keyring::parse(std::str::from_utf8(text)?)?)
    })
    .await?;
    let claims = LogFormat::claims(database).await?;
    let rule = ClaimScheme::of(claims)?.rule();
    if let Some(other) = settings.email_unique().filter(|set| *set != rule) {
        tracing::warn!(
            "EMAIL_UNIQUE={other} has no effect, because this log has the rule {rule}: `patients claims unique {other}` changes it"
        );
    }
    let keys = keys_database::open(settings, log, place, opener).await?;
    let sealing = Sealing::new(keyring, keys, claims, PatientData);
    check(settings, database, &sealing, &path).await?;
    database.seal_with(sealing.clone());
    Ok(OpenedLog {
        path,
        database: database.clone(),
        sealing,
        files,
    })
}

/// Checks that the keyring and the keys belong to this log.
async fn check(
    settings: &Settings,
    database: &Database,
    sealing: &Sealing,
    keyring: &Path,
) -> anyhow::Result<()> {
    match sealing.keys().check(database, &sealing.keyring()).await {
        Err(error @ (SealingError::OtherKeys | SealingError::NoKeys)) => {
            let place = Target::keys(settings).map(|target| target.place());
            return Err(error).with_context(|| {
                format!("KEYS_DATABASE_URL cannot be used ({})", place.unwrap_or_default())
            });
        }
        checked => {
            checked.with_context(|| format!("KEYRING_FILE {} does not open this log", keyring.display()))?;
        }
    }
    if sealing.keys().has_left_keys(database).await? {
        tracing::warn!(
            "the database of the log has data keys, although KEYS_DATABASE_URL is in use: complete the move with \
             `patients keys move --to keys-database`"
        );
    }
    Ok(())
}

impl OpenedLog {
    /// Returns the key with which the processes of the log authenticate heads.
    pub(crate) fn head_key(&self) -> HeadKey {
        self.sealing.head_key()
    }

    /// Loads the keyring again whenever the file changes, until `shutdown`.
    pub(crate) async fn reload_on_change(self, shutdown: CancellationToken) {
        let Self {
            database,
            sealing,
            files,
            ..
        } = self;
        let (latest, read) = watch::channel(None);
        let apply = move |keyring: Keyring| {
            latest.send_replace(Some(keyring));
        };
        tokio::join!(
            files.reload_on_change(apply, shutdown),
            replace_keyrings(&database, &sealing, read)
        );
    }
}

/// Replaces the keyring by each keyring that was read, until the sender is gone. Tries again while the
/// database cannot be read, until a newer keyring arrives.
async fn replace_keyrings(
    database: &Database,
    sealing: &Sealing,
    mut read: watch::Receiver<Option<Keyring>>,
) {
    while read.changed().await.is_ok() {
        let Some(keyring) = read.borrow_and_update().clone() else {
            continue;
        };
        loop {
            match sealing.keys().check(database, &keyring).await {
                Ok(()) => {
                    tracing::info!(keyring.active = %keyring.active_id(), "the keyring has changed");
                    sealing.replace_keyring(keyring);
                    break;
                }
                Err(SealingError::Store(error)) => {
                    tracing::warn!(%error, "a changed keyring cannot be checked; retrying");
                }
                Err(error) => {
                    tracing::error!(%error, "KEYRING_FILE cannot be used; the previous keyring stays in use");
                    break;
                }
            }
            tokio::time::sleep(CHECK_INTERVAL).await;
            // Another keyring was read, or the process stops.
            if read.has_changed().unwrap_or(true) {
                break;
            }
        }
    }
}

/// Waits until the log is sealed, opens it, and then follows changes of the keyring, until `shutdown`. Fails
/// if the log was sealed and this process cannot open it.
pub(crate) async fn open_once_sealed(
    settings: Settings,
    database: Database,
    signal: Signal,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut failures = 0;
    loop {
        let waited = shutdown
            .run_until_cancelled(tokio::time::sleep(CHECK_INTERVAL))
            .await;
        if waited.is_none() {
            return Ok(());
        }
        // The database may be unavailable for a while, but a log that was read stays sealed.
        let Ok(LogFormat::Sealed(log, place)) = LogFormat::read(&database).await else {
            continue;
        };
        match open_with_keyring(&settings, &database, log, place, Opener::Command).await {
            Ok(opened) => {
                tracing::info!("the log was sealed");
                signal.share_heads(opened.head_key());
                opened.reload_on_change(shutdown).await;
                return Ok(());
            }
            Err(error) if passes(&error) => {}
            Err(error) if failures == FAILURES => return Err(error),
            // The file may be half written.
            Err(_) => failures += 1,
        }
    }
}
