//! The database for reads that may be out of date (`DATABASE_READ_URL`).

use anyhow::{Context, bail};
use eventstore::{Database, DatabaseOptions, EventLog, Position};

use crate::database::{DatabaseWait, Target, advised};
use crate::keys_database::Opener;
use crate::settings::Settings;

/// Whether a database has the same log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// The end of the replica's log is in the log.
    Same,
    /// The replica's log has another event at its end.
    Different,
    /// The replica's log has more events than the log.
    Longer,
}

/// Opens the replica, if it is configured, and uses it for the reads of `database` that may be out of date. A
/// role waits until the replica can be used.
pub(crate) async fn open(settings: &Settings, database: &Database, opener: Opener) -> anyhow::Result<()> {
    let Some(target) = Target::replica(settings) else {
        return Ok(());
    };
    let replica = connect(settings, database, target, opener).await?;
    if let Err(error) = check(database, &replica, target, opener).await {
        replica.close().await;
        return Err(error).with_context(|| format!("DATABASE_READ_URL cannot be used ({})", target.place()));
    }
    database.read_from(replica);
    Ok(())
}

/// Opens the replica, and returns the number of events that it lacks.
pub(crate) async fn lag(settings: &Settings, database: &Database) -> anyhow::Result<u64> {
    open(settings, database, Opener::Command).await?;
    let has = EventLog::new(database.for_stale_reads().clone()).head().await?;
    let all = EventLog::new(database.clone()).head().await?;
    Ok(all.position.get().saturating_sub(has.position.get()))
}

async fn connect(
    settings: &Settings,
    database: &Database,
    target: Target<'_>,
    opener: Opener,
) -> anyhow::Result<Database> {
    let options = DatabaseOptions {
        connections: settings.database_connections,
        ..DatabaseOptions::default()
    };
    let mut waiting = DatabaseWait::new(target);
    loop {
        match database.connect_replica(target.url, options).await {
            Ok(replica) => {
                waiting.is_over();
                return Ok(replica);
            }
            Err(error) if opener == Opener::Role && error.passes() => waiting.pause(&error).await,
            Err(error) => return Err(error).with_context(|| target.cannot_be_opened()),
        }
    }
}

/// Checks that the replica has the schema and the log of the database. A role waits for the schema.
async fn check(
    database: &Database,
    replica: &Database,
    target: Target<'_>,
    opener: Opener,
) -> anyhow::Result<()> {
    let mut waiting = DatabaseWait::new(target);
    loop {
        match migrations::check(replica).await {
            Ok(()) => break,
            Err(error)
                if opener == Opener::Role
                    && (error.passes() || matches!(error, migrations::Error::Behind { .. })) =>
            {
                waiting.pause(&advised(error)).await;
            }
            Err(error) => return Err(advised(error)),
        }
    }
    waiting.is_over();
    match compare(database, replica).await? {
        Comparison::Same => Ok(()),
        Comparison::Different => bail!("the database has another log than the database of DATABASE_URL"),
        Comparison::Longer => bail!("the log of the database is longer than the log of DATABASE_URL"),
    }
}

async fn compare(database: &Database, replica: &Database) -> eventstore::Result<Comparison> {
    // The replica is read first, so a replica of this log cannot be longer.
    let end = EventLog::new(replica.clone()).head().await?;
    if end.position == Position::BEGINNING {
        return Ok(Comparison::Same);
    }
    let events = EventLog::new(database.clone()).at(&[end.position]).await?;
    Ok(match events.first() {
        Some(event) if event.hash == end.hash => Comparison::Same,
        Some(_) => Comparison::Different,
        None => Comparison::Longer,
    })
}
