//! `patients keys …`: makes and changes the keyring, and wraps the data keys of the patients again.

mod relocation;

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Subcommand;
use eventstore::sealing::{Keyring, KeyringFile, KeyringFileError, WrappingKeyId, WrappingKeyState};
use eventstore::{Database, Sealing, SystemClock};
use serde_json::json;

use crate::exit_code::NoAnswer;
use crate::output::{print, print_json};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::{database, sealing};
use relocation::Destination;

/// Database connections of a command.
const CONNECTIONS: u32 = 2;

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum KeysCommand {
    /// Create the keyring, or add a wrapping key to it; activate the new key once every process has the file
    New {
        /// Create the keyring, and change nothing if the file exists
        #[arg(long)]
        if_missing: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy a keyring to `KEYRING_FILE`, where only this user has access to it
    Copy {
        /// File to copy, which other users may have access to
        from: PathBuf,
    },
    /// List the wrapping keys of the keyring
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a wrapping key the active key, with which new data keys are wrapped
    Activate {
        /// Id of the wrapping key
        #[arg(value_parser = wrapping_key)]
        id: WrappingKeyId,
    },
    /// Wrap all data keys with the active wrapping key, while the service runs; exit code 1 if a key remains
    Rotate {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check that the keyring opens all data keys; exit code 1 if not, 2 if this cannot be determined
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a wrapping key that no longer wraps any data key
    Remove {
        /// Id of the wrapping key
        #[arg(value_parser = wrapping_key)]
        id: WrappingKeyId,
    },
    /// Move all data keys to the separate database, or back to the log's database. Stop all roles first
    Move {
        /// Where the data keys are afterwards
        #[arg(long, value_enum)]
        to: Destination,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

fn wrapping_key(text: &str) -> Result<WrappingKeyId, String> {
    WrappingKeyId::parse(text).ok_or_else(|| "expected 16 hexadecimal digits".to_owned())
}

/// Runs a command.
pub(crate) async fn run(settings: &Settings, command: KeysCommand) -> anyhow::Result<()> {
    let file = sealing::keyring_file(settings).ok_or_else(|| anyhow!("KEYRING_FILE is not set"))?;
    match command {
        KeysCommand::New { if_missing, json } => new(&file, if_missing, json),
        KeysCommand::Copy { from } => copy(&file, from),
        KeysCommand::List { json } => list(&file, json),
        KeysCommand::Activate { id } => {
            change(&file, |keyring| {
                let position = |id: &WrappingKeyId| keyring.wrapping_keys().position(|key| key.id == *id);
                if position(&id) < position(keyring.active_id()) {
                    bail!("{id} is older than the active key: add a key with `patients keys new`");
                }
                Ok(keyring.activate(&id)?)
            })?;
            print(&format!(
                "{id} is active; `patients keys rotate` wraps the existing keys with it"
            ))
        }
        KeysCommand::Rotate { json } => rotate(settings, json).await,
        KeysCommand::Check { json } => check(settings, json).await,
        KeysCommand::Remove { id } => remove(settings, &file, &id).await,
        KeysCommand::Move { to, json } => relocation::run(settings, &file, to, json).await,
    }
}

fn new(file: &KeyringFile, if_missing: bool, json: bool) -> anyhow::Result<()> {
    let now = SystemClock::shared().now();
    let created = match file.create(&Keyring::generate(now)?) {
        Ok(()) => true,
        Err(KeyringFileError::Exists { .. }) => false,
        Err(KeyringFileError::Missing { path }) => {
            bail!("the folder of the keyring file {} does not exist", path.display())
        }
        Err(error) => return Err(error.into()),
    };
    let (path, keyring) = (file.path().display().to_string(), file.load()?);
    let added = match (created, if_missing) {
        (false, false) => Some(change(file, |keyring| Ok(keyring.add(now)?))?),
        _ => None,
    };
    let id = added.as_ref().unwrap_or_else(|| keyring.active_id());
    if json {
        return print_json(&json!({ "file": path, "created": created, "id": id }));
    }
    print(&match (&added, created) {
        (_, true) => {
            format!("created {path}; back it up: without it, nobody can read the personal data in the log")
        }
        (Some(id), false) => format!(
            "added the wrapping key {id}; copy {path} to every process, and then run `patients keys activate {id}`"
        ),
        (None, false) => format!("{path} exists already"),
    })
}

/// Copies a keyring. A newer version of the same keyring replaces the file, but another keyring does not.
fn copy(file: &KeyringFile, from: PathBuf) -> anyhow::Result<()> {
    let keyring = KeyringFile::new(from).load_shared()?;
    let path = file.path().display();
    match file.create(&keyring) {
        Err(KeyringFileError::Exists { .. }) => {
            if !file.load_shared()?.has_same_secrets(&keyring) {
                bail!("{path} is another keyring");
            }
            file.replace(&keyring)?;
        }
        created => created?,
    }
    print(&format!("copied the keyring to {path}"))
}

fn list(file: &KeyringFile, json: bool) -> anyhow::Result<()> {
    let keyring = file.load()?;
    let keys: Vec<_> = keyring.wrapping_keys().collect();
    if json {
        return print_json(&keys);
    }
    let lines: Vec<String> = keys
        .iter()
        .map(|key| {
            let state = match key.state {
                WrappingKeyState::Active => "active",
                WrappingKeyState::Inactive => "inactive",
            };
            format!("{}  {}  {state}", key.id, key.created_at)
        })
        .collect();
    print(&lines.join("\n"))
}

/// Changes the keyring file, one process at a time.
fn change<T>(
    file: &KeyringFile,
    change: impl FnOnce(&mut Keyring) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let folder = file
        .path()
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let lock = File::open(folder.unwrap_or(Path::new(".")))?;
    lock.lock()
        .context("the folder of the keyring file cannot be locked")?;
    let mut keyring = file.load()?;
    let changed = change(&mut keyring)?;
    file.replace(&keyring)?;
    Ok(changed)
}

/// Opens the log, which must be sealed.
async fn open(settings: &Settings) -> anyhow::Result<(Database, Sealing)> {
    let database = database::open_with_keyring(settings, CONNECTIONS).await?;
    if let Some(sealing) = database.sealing().cloned() {
        return Ok((database, sealing));
    }
    database.close().await;
    bail!("the log is unencrypted, so it has no keys")
}

async fn rotate(settings: &Settings, json: bool) -> anyhow::Result<()> {
    let (database, sealing) = open(settings).await?;
    let outcome = rotate_on(&database, &sealing, json).await;
    database.close().await;
    outcome
}

async fn rotate_on(database: &Database, sealing: &Sealing, json: bool) -> anyhow::Result<()> {
    let (keys, keyring) = (sealing.keys(), sealing.keyring());
    // Keys that were added after the active key may become active later.
    let replaced: Vec<_> = keyring
        .wrapping_keys()
        .map(|key| key.id)
        .take_while(|id| id != keyring.active_id())
        .collect();
    // From now on, no process adds a key that is wrapped with a replaced wrapping key.
    if !keys.retire(database, keyring.active_id(), &replaced).await? {
        bail!(
            "the wrapping key {} is active in this keyring, but was replaced: use the current keyring, or add a key with \
             `patients keys new`",
            keyring.active_id()
        );
    }
    let old = |usage: &std::collections::BTreeMap<WrappingKeyId, u64>| -> u64 {
        let others = usage.iter().filter(|(id, _)| *id != keyring.active_id());
        others.map(|(_, keys)| keys).sum()
    };
    let most: u64 = keys.usage(database).await?.values().sum();
    let mut progress = Progress::start("keys", 0, most, json);
    let (mut changed, mut failed, mut seen, mut after) = (0_u64, 0_u64, 0_u64, None);
    loop {
        let some = keys.rewrap_some(database, &keyring, after).await?;
        changed += u64::from(some.changed);
        failed += some.failed.len() as u64;
        for (subject, error) in &some.failed {
            tracing::error!(patient.id = subject.aggregate_id, %error, "a data key was not wrapped again");
        }
        seen += some.read;
        progress.at(seen, most);
        after = some.next;
        if after.is_none() {
            break;
        }
    }
    progress.end();
    let left = old(&keys.usage(database).await?);
    let active = keyring.active_id();
    if json {
        print_json(&json!({ "active": active, "changed": changed, "failed": failed, "left": left }))?;
    } else {
        print(&format!("{changed} keys were wrapped with {active}"))?;
    }
    if left + failed > 0 {
        bail!(
            "{} keys are still wrapped with another wrapping key",
            left.max(failed)
        );
    }
    Ok(())
}

async fn check(settings: &Settings, json: bool) -> anyhow::Result<()> {
    let (database, sealing) = open(settings).await.map_err(|error| error.context(NoAnswer))?;
    let checked = check_on(&database, &sealing, json).await;
    database.close().await;
    checked
}

async fn check_on(database: &Database, sealing: &Sealing, json: bool) -> anyhow::Result<()> {
    let (keys, keyring) = (sealing.keys(), sealing.keyring());
    let usage = keys.usage(database).await.context(NoAnswer)?;
    let most: u64 = usage.values().sum();
    let mut progress = Progress::start("keys", 0, most, json);
    let (mut opened, mut failed, mut after) = (0_u64, 0_u64, None);
    loop {
        let some = keys
            .check_some(database, &keyring, after)
            .await
            .context(NoAnswer)?;
        opened += some.opened;
        failed += some.failed.len() as u64;
        for (subject, error) in &some.failed {
            tracing::error!(patient.id = subject.aggregate_id, %error, "a data key does not open");
        }
        progress.at(opened + failed, most);
        after = some.next;
        if after.is_none() {
            break;
        }
    }
    progress.end();
    if json {
        print_json(&json!({ "opened": opened, "failed": failed, "wrapping_keys": usage }))?;
    } else {
        let used = usage.iter().map(|(id, keys)| format!("{id}  {keys} keys"));
        let lines: Vec<_> = std::iter::once(format!("{opened} keys open"))
            .chain(used)
            .collect();
        print(&lines.join("\n"))?;
    }
    if failed > 0 {
        bail!("{failed} keys do not open with this keyring");
    }
    Ok(())
}

async fn remove(settings: &Settings, file: &KeyringFile, id: &WrappingKeyId) -> anyhow::Result<()> {
    if !file.load()?.wrapping_keys().any(|key| key.id == *id) {
        bail!("the keyring has no wrapping key {id}");
    }
    let (database, sealing) = open(settings).await?;
    let usage = sealing.keys().usage(&database).await;
    let retired = sealing.keys().is_retired(&database, id).await;
    database.close().await;
    if !retired? {
        bail!(
            "{id} may still be used for new keys: run `patients keys rotate` with another active key first"
        );
    }
    if let Some(keys) = usage?.get(id) {
        bail!("{id} still wraps {keys} keys: run `patients keys rotate` first");
    }
    change(file, |keyring| Ok(keyring.remove(id)?))?;
    print(&format!(
        "removed {id}; destroy every copy of the earlier file, also in backups, to make erased keys in backups of the \
         database unreadable"
    ))
}

#[cfg(test)]
mod tests;
