//! Opening the database: waiting for the server and for its schema.

use std::fmt::Display;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use eventstore::schema::SchemaError;
use eventstore::sealing::SealingError;
use eventstore::{Clock, Database, DatabaseOptions, SystemClock};
use serde_json::json;
use tokio::time::Instant;

use crate::import::hint;
use crate::keys_database::{self, Opener};
use crate::output;
use crate::sealing;
use crate::settings::Settings;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Maximum pause before a command tries again. Shorter than a role's maximum, because a user is waiting.
const LONGEST_PAUSE_OF_A_COMMAND: Duration = Duration::from_secs(1);

/// Reaction to a database or an SQLite file that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Creates an SQLite file and its folder. On a server, a missing database is an error.
    Create,
    /// Waits for another process to create it.
    WaitFor,
    /// Is an error.
    Reject,
}

/// A database, as a setting names it.
#[derive(Clone, Copy)]
pub(crate) struct Target<'s> {
    /// Name of the setting.
    pub(crate) setting: &'static str,
    pub(crate) url: &'s str,
    /// Maximum time that a command tries to reach the database.
    wait: Duration,
}

impl<'s> Target<'s> {
    /// Returns the database of the log.
    pub(crate) fn log(settings: &'s Settings) -> Self {
        Self {
            setting: "DATABASE_URL",
            url: &settings.database_url,
            wait: settings.wait,
        }
    }

    /// Returns the database of the keys, if it is set.
    pub(crate) fn keys(settings: &'s Settings) -> Option<Self> {
        Some(Self {
            setting: "KEYS_DATABASE_URL",
            url: settings.keys_database_url()?,
            wait: settings.wait,
        })
    }

    /// Returns the database for reads that may be out of date, if it is set.
    pub(crate) fn replica(settings: &'s Settings) -> Option<Self> {
        Some(Self {
            setting: "DATABASE_READ_URL",
            url: settings.database_read_url()?,
            wait: settings.wait,
        })
    }

    /// Returns the location of the database, without user and password.
    pub(crate) fn place(&self) -> String {
        place(self.url)
    }

    pub(crate) fn cannot_be_opened(&self) -> String {
        format!("{} cannot be opened ({})", self.setting, self.place())
    }
}

/// Opens the database for a role. Waits for as long as the server does not respond.
pub(crate) async fn open(
    settings: &Settings,
    connections: u32,
    missing: Missing,
) -> anyhow::Result<Database> {
    let options = DatabaseOptions {
        connections,
        create: missing == Missing::Create,
        ..DatabaseOptions::default()
    };
    open_for_role(Target::log(settings), options, missing).await
}

/// Opens a database for a role. Waits for as long as the server does not respond.
pub(crate) async fn open_for_role(
    target: Target<'_>,
    options: DatabaseOptions,
    missing: Missing,
) -> anyhow::Result<Database> {
    let mut waiting = DatabaseWait::new(target);
    loop {
        match Database::connect(target.url, options).await {
            Ok(database) => {
                waiting.is_over();
                return Ok(database);
            }
            Err(error) if error.passes() => waiting.pause(&error).await,
            Err(error) if error.is_unknown_database() && missing == Missing::WaitFor => {
                waiting.pause(&"it does not exist: run `patients migrate`").await;
            }
            Err(error) => return Err(error).with_context(|| target.cannot_be_opened()),
        }
    }
}

/// A wait for the database, with increasing pauses. The reason is logged before each pause.
pub(crate) struct DatabaseWait {
    setting: &'static str,
    database: String,
    pause: Duration,
    has_waited: bool,
}

impl DatabaseWait {
    pub(crate) fn new(target: Target<'_>) -> Self {
        Self {
            setting: target.setting,
            database: target.place(),
            pause: FIRST_PAUSE,
            has_waited: false,
        }
    }

    pub(crate) async fn pause(&mut self, why: &(dyn Display + Sync)) {
        let setting = self.setting;
        tracing::warn!(database = self.database, error = %why, "waiting for the database of {setting}");
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.has_waited = true;
    }

    pub(crate) fn is_over(&self) {
        if self.has_waited {
            let setting = self.setting;
            tracing::info!(database = self.database, "the database of {setting} is available");
        }
    }
}

/// Opens an existing database with an up-to-date schema for a command that reads personal data, and its log
/// with the keyring. Retries for [`Settings::wait`].
pub(crate) async fn open_with_keyring(settings: &Settings, connections: u32) -> anyhow::Result<Database> {
    let database = open_existing(settings, connections).await?;
    if let Err(error) = sealing::open(settings, &database, Opener::Command).await {
        database.close().await;
        return Err(error);
    }
    Ok(database)
}

/// Opens an existing database with an up-to-date schema for a command. Retries for [`Settings::wait`].
pub(crate) async fn open_existing(settings: &Settings, connections: u32) -> anyhow::Result<Database> {
    let target = Target::log(settings);
    let place = target.place();
    let missing = || anyhow!("{place} does not exist: `patients migrate` creates it");
    if let Some(file) = sqlite_file(&settings.database_url) {
        match std::fs::metadata(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(error).with_context(|| target.cannot_be_opened()),
            Ok(found) if found.is_dir() => bail!("{}: it is a folder", target.cannot_be_opened()),
            Ok(_) => {}
        }
    }
    let options = DatabaseOptions {
        connections,
        create: false,
        ..DatabaseOptions::default()
    };
    let database = match try_to_open(target, options).await {
        Err(error) if error.is_unknown_database() => return Err(missing()),
        opened => opened.with_context(|| target.cannot_be_opened())?,
    };
    if let Err(error) = migrations::check(&database).await {
        database.close().await;
        return Err(advised(error)).with_context(|| format!("{place} cannot be used"));
    }
    Ok(database)
}

/// Opens a database for a command. Retries for [`Settings::wait`] while no server that accepts writes can be
/// reached.
pub(crate) async fn try_to_open(
    target: Target<'_>,
    options: DatabaseOptions,
) -> eventstore::Result<Database> {
    let wait = target.wait;
    let until = (!wait.is_zero()).then(|| Instant::now() + wait);
    let (mut pause, mut last) = (FIRST_PAUSE, None);
    loop {
        let attempt = Database::connect(target.url, options);
        let attempted = match until {
            None => attempt.await,
            Some(until) => match tokio::time::timeout_at(until, attempt).await {
                Ok(attempted) => attempted,
                Err(_) => return Err(last.unwrap_or(eventstore::Error::Timeout(wait))),
            },
        };
        let left = until.map_or(Duration::ZERO, |until| until.duration_since(Instant::now()));
        match attempted {
            Err(error) if error.passes() && !left.is_zero() => {
                if last.is_none() {
                    tracing::info!(
                        database = target.place(),
                        "waiting for the database for at most {wait:?}"
                    );
                }
                last = Some(error);
                tokio::time::sleep(pause.min(left)).await;
                pause = (pause * 2).min(LONGEST_PAUSE_OF_A_COMMAND);
            }
            attempted => return attempted,
        }
    }
}

/// Returns the file of an SQLite database.
pub(crate) fn sqlite_file(database_url: &str) -> Option<&str> {
    let path = database_url.strip_prefix("sqlite:")?;
    path.strip_prefix("//").unwrap_or(path).split('?').next()
}

/// Runs `patients migrate`: creates the databases if the servers do not have them, and migrates their
/// schemas.
pub(crate) async fn migrate(settings: &Settings, json: bool) -> anyhow::Result<()> {
    let target = Target::log(settings);
    let (database, created) = open_or_create(target).await?;
    let migrated = migrate_all(settings, &database).await;
    database.close().await;
    let place = target.place();
    migrated.with_context(|| format!("{place} cannot be migrated"))?;
    tracing::info!("the schema is up to date");
    if json {
        return output::print_json(&json!({ "database": place, "created": created }));
    }
    Ok(())
}

async fn migrate_all(settings: &Settings, database: &Database) -> anyhow::Result<()> {
    let (clock, owner) = (SystemClock::shared(), owner("migrate"));
    migrations::migrate(database, Arc::clone(&clock), &owner).await?;
    keys_database::migrate(settings, database, &clock, &owner, Opener::Command).await?;
    sealing::seal_new_log(settings, database, &clock, Opener::Command).await?;
    hint::log(settings, database).await;
    Ok(())
}

/// Opens a database, or creates it. The second value is true if the database was created.
pub(crate) async fn open_or_create(target: Target<'_>) -> anyhow::Result<(Database, bool)> {
    let is_new = sqlite_file(target.url).is_some_and(|file| !Path::new(file).exists());
    let options = DatabaseOptions {
        connections: 2,
        ..DatabaseOptions::default()
    };
    match try_to_open(target, options).await {
        Err(error) if error.is_unknown_database() => {
            Database::create(target.url)
                .await
                .with_context(|| format!("{} cannot be created", target.place()))?;
            tracing::info!("created the database of {}", target.setting);
            let database = try_to_open(target, options).await;
            Ok((database.with_context(|| target.cannot_be_opened())?, true))
        }
        opened => Ok((opened.with_context(|| target.cannot_be_opened())?, is_new)),
    }
}

/// Migrates the schema. Retries while the database cannot be reached or accepts no writes.
pub(crate) async fn bring_up_to_date(
    settings: &Settings,
    database: &Database,
    clock: &Arc<dyn Clock>,
    owner: &str,
) -> anyhow::Result<()> {
    let mut waiting = DatabaseWait::new(Target::log(settings));
    loop {
        match migrations::migrate(database, Arc::clone(clock), owner).await {
            Err(error) if error.passes() => waiting.pause(&error).await,
            ended => return Ok(ended?),
        }
    }
}

/// Runs a step of the start of a role, and repeats it while the database cannot be reached or accepts no
/// writes.
pub(crate) async fn repeat_while_unavailable<T>(
    settings: &Settings,
    step: impl AsyncFn() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut waiting = DatabaseWait::new(Target::log(settings));
    loop {
        match step().await {
            Err(error) if passes(&error) => waiting.pause(&output::causes(&error)).await,
            ended => {
                waiting.is_over();
                return ended;
            }
        }
    }
}

/// Whether the cause of an error is a database that cannot be reached, accepts no writes, or has aborted a
/// transaction because of others.
pub(crate) fn passes(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let store = match cause.downcast_ref::<SealingError>() {
            Some(SealingError::Store(error)) => Some(error),
            _ => cause.downcast_ref::<eventstore::Error>(),
        };
        let schema = cause.downcast_ref::<SchemaError>();
        store.is_some_and(eventstore::Error::passes) || schema.is_some_and(SchemaError::passes)
    })
}

/// Waits until another process has migrated the schema.
pub(crate) async fn wait_for_schema(settings: &Settings, database: &Database) -> anyhow::Result<()> {
    let mut waiting = DatabaseWait::new(Target::log(settings));
    loop {
        match migrations::check(database).await {
            Ok(()) => {
                waiting.is_over();
                return Ok(());
            }
            Err(error) if error.passes() || matches!(error, migrations::Error::Behind { .. }) => {
                waiting.pause(&advised(error)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the error of a check of the schema, with the command that fixes it.
pub(crate) fn advised(error: migrations::Error) -> anyhow::Error {
    if matches!(error, migrations::Error::Behind { .. }) {
        anyhow!("{error}: run `patients migrate`")
    } else {
        error.into()
    }
}

/// Returns a name for this process: role, host, process id and a random part, so that no later process has
/// the same name.
pub(crate) fn owner(role: &str) -> String {
    let host = hostname::get()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default();
    let host: String = host.chars().take(64).collect();
    format!("{role}@{host}:{}:{:08x}", std::process::id(), fastrand::u32(..))
}

/// Returns the location of the database, without user and password.
pub(crate) fn place(database_url: &str) -> String {
    let Some((scheme, rest)) = database_url.split_once(':') else {
        return database_url.to_owned();
    };
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let place = match scheme {
        "sqlite" => rest,
        _ => rest.rsplit_once('@').map_or(rest, |(_, place)| place),
    };
    format!("{scheme}://{}", place.split('?').next().unwrap_or(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_of_a_database_contains_no_user_and_no_password() {
        assert_eq!(
            place("mysql://user:p@ss@db:3306/patients?ssl-mode=required"),
            "mysql://db:3306/patients"
        );
        assert_eq!(place("mysql:user:p@ss@db/patients"), "mysql://db/patients");
        for file in ["sqlite://data/patients.db", "sqlite://data/a@b.db"] {
            assert_eq!(place(file), file);
        }
    }

    #[test]
    fn owner_names_are_unique() {
        assert_ne!(owner("api"), owner("api"));
    }
}
