//! Opening the database: waiting for the server, and for its schema.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use eventstore::{Clock, Database, DatabaseOptions, SystemClock};

use crate::settings::Settings;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What is done about a server that has no database of that name, or an SQLite file that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The file is created with its folder; on a server it is an error.
    Create,
    /// It is an error.
    Refuse,
    /// Somebody else will make it.
    WaitFor,
}

/// Opens the database, waiting for the server if it does not answer yet.
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
    let mut waiting = Waiting::new(settings);
    loop {
        match Database::connect(&settings.database_url, options).await {
            Ok(database) => {
                waiting.is_over();
                return Ok(database);
            }
            Err(error) if error.is_connection() => waiting.pause(&error).await,
            Err(error) if error.is_unknown_database() && missing == Missing::WaitFor => {
                waiting.pause(&"it is not there: run `patients migrate`").await;
            }
            Err(error) => return Err(error).context("DATABASE_URL cannot be opened"),
        }
    }
}

/// The wait for a database: with longer and longer pauses, before each of which the log says why.
struct Waiting {
    database: String,
    pause: Duration,
    has_waited: bool,
}

impl Waiting {
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
            tracing::info!(database = self.database, "the database of DATABASE_URL is there");
        }
    }
}

/// Opens a database that is there, with its schema up to date; does not wait for it.
pub(crate) async fn open_existing(settings: &Settings, connections: u32) -> anyhow::Result<Database> {
    let options = DatabaseOptions {
        connections,
        create: false,
        ..DatabaseOptions::default()
    };
    let database = Database::connect(&settings.database_url, options)
        .await
        .context("DATABASE_URL cannot be opened")?;
    migrations::check(&database).await?;
    Ok(database)
}

/// `patients migrate`: makes the database if the server has none of that name, and brings its schema up to date.
pub(crate) async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    let database = open_or_create(settings).await?;
    migrations::migrate(&database, SystemClock::shared(), &owner("migrate")).await?;
    database.close().await;
    tracing::info!("the schema is up to date");
    Ok(())
}

async fn open_or_create(settings: &Settings) -> anyhow::Result<Database> {
    match open(settings, 2, Missing::Create).await {
        Err(error)
            if error
                .downcast_ref()
                .is_some_and(eventstore::Error::is_unknown_database) =>
        {
            Database::create(&settings.database_url)
                .await
                .context("the database cannot be made")?;
            tracing::info!("made the database of DATABASE_URL");
            open(settings, 2, Missing::Create).await
        }
        opened => opened,
    }
}

/// Brings the schema up to date, again if the database is lost meanwhile.
pub(crate) async fn bring_up_to_date(
    settings: &Settings,
    database: &Database,
    clock: &Arc<dyn Clock>,
    owner: &str,
) -> anyhow::Result<()> {
    let mut waiting = Waiting::new(settings);
    loop {
        match migrations::migrate(database, Arc::clone(clock), owner).await {
            Err(error) if error.is_connection() => waiting.pause(&error).await,
            ended => return Ok(ended?),
        }
    }
}

/// Waits until somebody has brought the schema up to date.
pub(crate) async fn wait_for_schema(settings: &Settings, database: &Database) -> anyhow::Result<()> {
    let mut waiting = Waiting::new(settings);
    loop {
        match migrations::check(database).await {
            Ok(()) => {
                waiting.is_over();
                return Ok(());
            }
            Err(error) if error.is_connection() || matches!(error, migrations::Error::Behind { .. }) => {
                waiting.pause(&error).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A name for this process among all that run the same role: host, process and a random part, so that a name is not
/// taken up again by a later process.
pub(crate) fn owner(role: &str) -> String {
    let host = hostname::get()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default();
    let host: String = host.chars().take(64).collect();
    format!("{role}@{host}:{}:{:08x}", std::process::id(), fastrand::u32(..))
}

/// Where the database is, without user and password.
pub(crate) fn place(database_url: &str) -> String {
    let Some((scheme, rest)) = database_url.split_once("://") else {
        return database_url.to_owned();
    };
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    format!("{scheme}://{}", place.split('?').next().unwrap_or(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_database_has_no_user_and_no_password() {
        assert_eq!(
            place("mysql://user:p@ss@db:3306/patients?ssl-mode=required"),
            "mysql://db:3306/patients"
        );
        assert_eq!(place("sqlite://data/patients.db"), "sqlite://data/patients.db");
    }

    #[test]
    fn owners_differ() {
        assert_ne!(owner("api"), owner("api"));
    }
}
