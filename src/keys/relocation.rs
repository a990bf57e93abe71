//! `patients keys move`: moves the data keys between the database of the log and a separate database.

use anyhow::{Context, anyhow, bail};
use clap::ValueEnum;
use eventstore::sealing::{KeyStore, Keyring, KeyringFile};
use eventstore::{Clock, Database, LogFormat, Registered, SubscriptionStatus, SystemClock};
use projector::PROJECTIONS;
use projector::eraser::ERASER;
use serde_json::json;

use super::CONNECTIONS;
use crate::database::{self, Missing, Target};
use crate::erase::rewrite_all_files;
use crate::keys_database::{self, Opener};
use crate::output::{print, print_json};
use crate::settings::Settings;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Destination {
    /// The database of the setting `KEYS_DATABASE_URL`
    KeysDatabase,
    /// The database of the log
    Log,
}

/// Runs the command.
pub(super) async fn run(
    settings: &Settings,
    file: &KeyringFile,
    to: Destination,
    json: bool,
) -> anyhow::Result<()> {
    let target = Target::keys(settings).ok_or_else(|| anyhow!("KEYS_DATABASE_URL is not set"))?;
    let keyring = file.load()?;
    let log = database::open_existing(settings, CONNECTIONS).await?;
    let moved = match keys_database::open_existing(settings, target, Opener::Command, Missing::Reject).await {
        Ok(keys) => {
            let moved = move_keys(&log, &keys, &keyring, to).await;
            keys.close().await;
            moved
        }
        Err(error) => Err(error),
    };
    log.close().await;
    let moved = moved?;
    if json {
        return print_json(&json!({ "moved": moved }));
    }
    let (place, next) = match to {
        Destination::KeysDatabase => (target.place(), "set KEYS_DATABASE_URL for every process"),
        Destination::Log => (
            database::place(&settings.database_url),
            "remove KEYS_DATABASE_URL from every process",
        ),
    };
    print(&format!("{moved} keys were moved to {place}; {next}"))
}

async fn move_keys(
    log: &Database,
    keys: &Database,
    keyring: &Keyring,
    to: Destination,
) -> anyhow::Result<u64> {
    let Some(id) = LogFormat::read(log).await?.log_id() else {
        bail!("the log is unencrypted, so it has no keys");
    };
    if !LogFormat::belongs_to(log, keyring).await? {
        bail!("the keyring belongs to another log");
    }
    check_stopped(log).await?;
    let in_log = KeyStore::new(id);
    let elsewhere = KeyStore::elsewhere(id, keys.clone(), SystemClock::shared());
    let (from, into) = match to {
        Destination::KeysDatabase => (&in_log, &elsewhere),
        Destination::Log => (&elsewhere, &in_log),
    };
    let moved = from.move_to(into, log, keyring).await;
    let moved = moved.context("the keys were not moved completely; the command can be repeated")?;
    // The files may still contain the keys that were deleted.
    for database in [log, keys] {
        rewrite_all_files(database).await?;
    }
    Ok(moved)
}

/// Fails if a projector or a mailer runs. An API process that is still running can no longer append.
async fn check_stopped(log: &Database) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let projections = PROJECTIONS.into_iter().map(Registered::name);
    for name in projections.chain([ERASER, mailer::SUBSCRIPTION]) {
        let status = SubscriptionStatus::of(log, name, now).await?;
        if let Some(owner) = status.owner {
            bail!("the process {owner} uses the log: stop all roles before the keys are moved");
        }
    }
    Ok(())
}
