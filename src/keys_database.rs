//! The database of the data keys, if it is not the database of the log (`KEYS_DATABASE_URL`).
//!
//! The log records where its keys are, and the keys' database records to which log it belongs. A process
//! whose setting contradicts one of these records ends with an error before it reads an event.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use eventstore::schema::{self, SchemaError};
use eventstore::sealing::{KeyStore, LogId};
use eventstore::{Clock, Database, DatabaseOptions, KeysPlace, LogFormat, SystemClock};

use crate::database::{self, DatabaseWait, Missing, Target, advised};
use crate::settings::Settings;

/// How long a request waits for a connection. While it waits, it may hold a connection to the log.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// The kind of process that opens the databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opener {
    /// Waits for as long as the server does not respond.
    Role,
    /// Waits for [`Settings::wait`].
    Command,
}

/// Opens the keys of a sealed log, at the place that the log has recorded.
pub(crate) async fn open(
    settings: &Settings,
    log: LogId,
    place: KeysPlace,
    opener: Opener,
) -> anyhow::Result<KeyStore> {
    match (place, Target::keys(settings)) {
        (KeysPlace::InLog, None) => Ok(KeyStore::new(log)),
        (KeysPlace::InLog, Some(_)) => bail!(
            "the data keys are in the database of the log, but KEYS_DATABASE_URL is set: run \
             `patients keys move --to keys-database`, or remove the setting"
        ),
        (KeysPlace::Elsewhere, None) => bail!(
            "the data keys are in another database than the log: set KEYS_DATABASE_URL to that database"
        ),
        (KeysPlace::Elsewhere, Some(target)) => {
            let database = open_existing(settings, target, opener, Missing::Reject).await?;
            Ok(KeyStore::elsewhere(log, database, SystemClock::shared()))
        }
    }
}

/// Opens the keys' database. If the database does not exist, a role waits for it with [`Missing::WaitFor`],
/// and fails otherwise. A command always fails.
pub(crate) async fn open_existing(
    settings: &Settings,
    target: Target<'_>,
    opener: Opener,
    missing: Missing,
) -> anyhow::Result<Database> {
    let options = DatabaseOptions {
        connections: settings.database_connections,
        acquire_timeout: ACQUIRE_TIMEOUT,
        create: false,
        ..DatabaseOptions::default()
    };
    let database = match opener {
        Opener::Role => database::open_for_role(target, options, missing).await?,
        Opener::Command => {
            let tried = database::try_to_open(target, options).await;
            tried.with_context(|| target.cannot_be_opened())?
        }
    };
    if let Err(error) = check_schema(&database, target, opener, missing).await {
        database.close().await;
        return Err(error).with_context(|| format!("KEYS_DATABASE_URL cannot be used ({})", target.place()));
    }
    Ok(database)
}

/// Checks the schema. During an upgrade, a role waits until another process has migrated it.
async fn check_schema(
    database: &Database,
    target: Target<'_>,
    opener: Opener,
    missing: Missing,
) -> anyhow::Result<()> {
    let mut waiting = DatabaseWait::new(target);
    // Version 0 is a database without any schema. Unless it is being created, it is not the keys' database.
    let oldest = i64::from(missing != Missing::WaitFor);
    loop {
        match schema::check_keys(database).await {
            Ok(()) => {
                waiting.is_over();
                return Ok(());
            }
            Err(error) if opener == Opener::Role && error.passes() => {
                waiting.pause(&error).await;
            }
            Err(error @ SchemaError::Behind { found, .. }) if opener == Opener::Role && found >= oldest => {
                waiting.pause(&advised(error)).await;
            }
            Err(error) => return Err(advised(error)),
        }
    }
}

/// Migrates the schema of the keys' database, if it is configured. Creates the database, unless the log has
/// recorded that its keys are there: a missing database is then an error.
pub(crate) async fn migrate(
    settings: &Settings,
    log: &Database,
    clock: &Arc<dyn Clock>,
    owner: &str,
    opener: Opener,
) -> anyhow::Result<()> {
    let Some(target) = Target::keys(settings) else {
        return Ok(());
    };
    let has_keys = matches!(
        LogFormat::read(log).await?,
        LogFormat::Sealed(_, KeysPlace::Elsewhere)
    );
    let options = DatabaseOptions {
        connections: 2,
        create: !has_keys,
        ..DatabaseOptions::default()
    };
    let database = match opener {
        Opener::Role => database::open_for_role(target, options, Missing::Reject).await?,
        Opener::Command if has_keys => {
            let tried = database::try_to_open(target, options).await;
            tried.with_context(|| target.cannot_be_opened())?
        }
        Opener::Command => database::open_or_create(target).await?.0,
    };
    let place = format!("({})", target.place());
    let checked = schema::check_keys(&database).await;
    if has_keys && matches!(checked, Err(SchemaError::Behind { found: 0, .. })) {
        database.close().await;
        bail!("KEYS_DATABASE_URL cannot be used {place}: the database has no keys of a log");
    }
    let migrated = schema::migrate_keys(&database, Arc::clone(clock), owner).await;
    database.close().await;
    migrated.with_context(|| format!("KEYS_DATABASE_URL cannot be used {place}"))
}

/// Opens the keys' database, if it is configured, to seal the log.
pub(crate) async fn open_to_seal(settings: &Settings, opener: Opener) -> anyhow::Result<Option<Database>> {
    let Some(target) = Target::keys(settings) else {
        return Ok(None);
    };
    let database = open_existing(settings, target, opener, Missing::WaitFor).await?;
    Ok(Some(database))
}
