//! Opening the database: waiting for the server and for its schema.

use std::fmt::Display;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use eventstore::{Clock, Database, DatabaseOptions, SystemClock};
use serde_json::json;
use tokio::time::Instant;

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
    let mut waiting = DatabaseWait::new(settings);
    loop {
        match Database::connect(&settings.database_url, options).await {
            Ok(database) => {
                waiting.is_over();
                return Ok(database);
            }
            Err(error) if error.is_connection() => waiting.pause(&error).await,
            Err(error) if error.is_unknown_database() && missing == Missing::WaitFor => {
                waiting.pause(&"it does not exist: run `patients migrate`").await;
            }
            Err(error) => return Err(error).with_context(|| cannot_be_opened(settings)),
        }
    }
}

/// A wait for the database, with increasing pauses. The reason is logged before each pause.
struct DatabaseWait {
    database: String,
    pause: Duration,
    has_waited: bool,
}

impl DatabaseWait {
    fn new(settings: &Settings) -> Self {
        Self {
            database: place(&settings.database_url),
            pause: FIRST_PAUSE,
            has_waited: false,
        }
    }

    async fn pause(&mut self, why: &(dyn Display + Sync)) {
        tracing::warn!(database = self.database, error = %why, "waiting for the database of DATABASE_URL");
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.has_waited = true;
    }

    fn is_over(&self) {
        if self.has_waited {
            tracing::info!(
                database = self.database,
                "the database of DATABASE_URL is available"
            );
        }
    }
}

/// Opens an existing database with an up-to-date schema for a command that reads personal data, and its log
/// with the keyring. Retries for [`Settings::wait`].
pub(crate) async fn open_with_keyring(settings: &Settings, connections: u32) -> anyhow::Result<Database> {
    let database = open_existing(settings, connections).await?;
    if let Err(error) = sealing::open(settings, &database).await {
        database.close().await;
        return Err(error);
    }
    Ok(database)
}

/// Opens an existing database with an up-to-date schema for a command. Retries for [`Settings::wait`].
pub(crate) async fn open_existing(settings: &Settings, connections: u32) -> anyhow::Result<Database> {
    let place = place(&settings.database_url);
    let missing = || anyhow!("{place} does not exist: `patients migrate` creates it");
    if let Some(file) = sqlite_file(&settings.database_url) {
        match std::fs::metadata(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(error).with_context(|| cannot_be_opened(settings)),
            Ok(found) if found.is_dir() => bail!("{}: it is a folder", cannot_be_opened(settings)),
            Ok(_) => {}
        }
    }
    let database = match try_to_open(settings, connections, false).await {
        Err(error) if error.is_unknown_database() => return Err(missing()),
        opened => opened.with_context(|| cannot_be_opened(settings))?,
    };
    if let Err(error) = migrations::check(&database).await {
        database.close().await;
        return Err(advised(error)).with_context(|| format!("{place} cannot be used"));
    }
    Ok(database)
}

/// Opens the database. Retries for [`Settings::wait`] while the server cannot be reached.
async fn try_to_open(settings: &Settings, connections: u32, create: bool) -> eventstore::Result<Database> {
    let options = DatabaseOptions {
        connections,
        create,
        ..DatabaseOptions::default()
    };
    let until = (!settings.wait.is_zero()).then(|| Instant::now() + settings.wait);
    let (mut pause, mut last) = (FIRST_PAUSE, None);
    loop {
        let attempt = Database::connect(&settings.database_url, options);
        let attempted = match until {
            None => attempt.await,
            Some(until) => match tokio::time::timeout_at(until, attempt).await {
                Ok(attempted) => attempted,
                Err(_) => return Err(last.unwrap_or(eventstore::Error::Timeout(settings.wait))),
            },
        };
        let left = until.map_or(Duration::ZERO, |until| until.duration_since(Instant::now()));
        match attempted {
            Err(error) if error.is_connection() && !left.is_zero() => {
                if last.is_none() {
                    let (database, wait) = (place(&settings.database_url), settings.wait);
                    tracing::info!(database, "waiting for the database for at most {wait:?}");
                }
                last = Some(error);
                tokio::time::sleep(pause.min(left)).await;
                pause = (pause * 2).min(LONGEST_PAUSE_OF_A_COMMAND);
            }
            attempted => return attempted,
        }
    }
}

fn cannot_be_opened(settings: &Settings) -> String {
    format!(
        "DATABASE_URL cannot be opened ({})",
        place(&settings.database_url)
    )
}

/// Returns the file of an SQLite database.
pub(crate) fn sqlite_file(database_url: &str) -> Option<&str> {
    let path = database_url.strip_prefix("sqlite:")?;
    path.strip_prefix("//").unwrap_or(path).split('?').next()
}

/// Runs `patients migrate`: creates the database if the server does not have it, and migrates its schema.
pub(crate) async fn migrate(settings: &Settings, json: bool) -> anyhow::Result<()> {
    let (database, created) = open_or_create(settings).await?;
    let clock = SystemClock::shared();
    let migrated = migrations::migrate(&database, Arc::clone(&clock), &owner("migrate")).await;
    let sealed = match migrated {
        Ok(()) => sealing::seal_new_log(settings, &database, &clock).await,
        Err(error) => Err(error.into()),
    };
    database.close().await;
    let place = place(&settings.database_url);
    sealed.with_context(|| format!("{place} cannot be migrated"))?;
    tracing::info!("the schema is up to date");
    if json {
        return output::print_json(&json!({ "database": place, "created": created }));
    }
    Ok(())
}

/// Opens the database, or creates it. The second value is true if the database was created.
async fn open_or_create(settings: &Settings) -> anyhow::Result<(Database, bool)> {
    let is_new = sqlite_file(&settings.database_url).is_some_and(|file| !Path::new(file).exists());
    match try_to_open(settings, 2, true).await {
        Err(error) if error.is_unknown_database() => {
            let place = place(&settings.database_url);
            Database::create(&settings.database_url)
                .await
                .with_context(|| format!("{place} cannot be created"))?;
            tracing::info!("created the database of DATABASE_URL");
            let database = try_to_open(settings, 2, true).await;
            Ok((database.with_context(|| cannot_be_opened(settings))?, true))
        }
        opened => Ok((opened.with_context(|| cannot_be_opened(settings))?, is_new)),
    }
}

/// Migrates the schema. Retries if the connection to the database is lost.
pub(crate) async fn bring_up_to_date(
    settings: &Settings,
    database: &Database,
    clock: &Arc<dyn Clock>,
    owner: &str,
) -> anyhow::Result<()> {
    let mut waiting = DatabaseWait::new(settings);
    loop {
        match migrations::migrate(database, Arc::clone(clock), owner).await {
            Err(error) if error.is_connection() => waiting.pause(&error).await,
            ended => return Ok(ended?),
        }
    }
}

/// Waits until another process has migrated the schema.
pub(crate) async fn wait_for_schema(settings: &Settings, database: &Database) -> anyhow::Result<()> {
    let mut waiting = DatabaseWait::new(settings);
    loop {
        match migrations::check(database).await {
            Ok(()) => {
                waiting.is_over();
                return Ok(());
            }
            Err(error) if error.is_connection() || matches!(error, migrations::Error::Behind { .. }) => {
                waiting.pause(&advised(error)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the error of a check of the schema, with the command that fixes it.
fn advised(error: migrations::Error) -> anyhow::Error {
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
