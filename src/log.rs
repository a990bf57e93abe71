//! `patients log …`: the format of the log, and its upgrade.

use anyhow::bail;
use api::commands::{AGGREGATE_TYPE, ClaimScheme, EmailClaims};
use clap::Subcommand;
use domain::EmailUniqueness;
use eventstore::claim::table;
use eventstore::{Database, EventLog, KeysPlace, LogFormat};
use serde_json::json;

use crate::database;
use crate::erase::rewrite_all_files;
use crate::keys_database::{self, Opener};
use crate::output::{print, print_json};
use crate::progress::Progress;
use crate::sealing;
use crate::settings::Settings;

/// Database connections of a command.
const CONNECTIONS: u32 = 2;

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum LogCommand {
    /// Show the format of the log
    Format {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Seal a log that was created by an earlier version, from the next event on; can be repeated
    Upgrade {
        /// Confirms that no program of an earlier version uses this log any more
        #[arg(long, required = true)]
        no_earlier_programs: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs a command.
pub(crate) async fn run(settings: &Settings, command: LogCommand) -> anyhow::Result<()> {
    let database = database::open_existing(settings, CONNECTIONS).await?;
    let outcome = match command {
        LogCommand::Format { json } => format(&database, json).await,
        LogCommand::Upgrade { json, .. } => upgrade(settings, &database, json).await,
    };
    database.close().await;
    outcome
}

async fn format(database: &Database, json: bool) -> anyhow::Result<()> {
    let format = LogFormat::read(database).await?;
    let upgrading = ClaimScheme::Upgrading.version();
    let plain_claims = LogFormat::claims(database).await? == upgrading;
    let number = format.number();
    let text = match format {
        LogFormat::Clear => {
            format!("{number}: personal data is unencrypted; `patients log upgrade` seals new events")
        }
        LogFormat::Sealed(log, place) => {
            let keys = match place {
                KeysPlace::InLog => "",
                KeysPlace::Elsewhere => ", with its data keys in another database",
            };
            let unfinished = if plain_claims {
                "; the upgrade is unfinished: run `patients log upgrade` again"
            } else {
                ""
            };
            format!("{number}: sealed, log {log}{keys}{unfinished}")
        }
    };
    if json {
        let log = format.log_id().map(|log| log.to_string());
        return print_json(&json!({ "format": number, "log": log, "plain_claims": plain_claims }));
    }
    print(&text)
}

/// Reports that there is nothing to upgrade.
fn print_upgraded(json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&json!({ "format": 2, "patients": 0, "claims": 0, "left": 0 }));
    }
    print("the log is sealed, and all its claims were replaced before")
}

/// Seals the log, and then replaces each claim that is a plain hash by a claim hashed with the keyring's
/// secret. Each page of claims is replaced while the head of the log is locked, so claims stay unique at
/// every moment.
async fn upgrade(settings: &Settings, database: &Database, json: bool) -> anyhow::Result<()> {
    let Some(file) = sealing::keyring_file(settings) else {
        bail!("set KEYRING_FILE, and create the file with `patients keys new`");
    };
    // The keyring must be usable before the first sealed event.
    let upgrading = ClaimScheme::Upgrading.version();
    let (keyring, keys) = (
        file.load()?,
        keys_database::open_to_seal(settings, Opener::Command).await?,
    );
    let sealed = LogFormat::seal(database, &keyring, upgrading, keys.as_ref()).await;
    if let Some(keys) = keys {
        keys.close().await;
    }
    let sealed = sealed?;
    sealing::open(settings, database, Opener::Command).await?;
    let Some(sealing) = database.sealing().cloned() else {
        bail!("the log is unencrypted");
    };
    let log = EventLog::new(database.clone());
    if LogFormat::claims(database).await? != upgrading {
        return print_upgraded(json);
    }
    let rules = EmailClaims::only(sealing, ClaimScheme::Upgrading);
    let most = log.head().await?.position.get();
    let mut progress = Progress::start("patients", 0, most, json);
    let rebuilt = table::rebuild(&log, &rules, AGGREGATE_TYPE, |done| progress.at(done, most)).await;
    progress.end();
    let rebuilt = rebuilt?;
    let left = rebuilt.unreadable + rebuilt.mismatches.count;
    if left == 0 {
        let rule = ClaimScheme::Rule(EmailUniqueness::Email).version();
        LogFormat::replace_claims(database, upgrading, rule).await?;
    }
    if json {
        print_json(&json!({
            "format": sealed.number(), "patients": rebuilt.aggregates, "claims": rebuilt.inserted, "left": left,
            "conflicts": rebuilt.mismatches,
        }))?;
    } else {
        print(&format!(
            "the log is sealed; {} claims of {} patients were replaced",
            rebuilt.inserted, rebuilt.aggregates
        ))?;
        for conflict in &rebuilt.mismatches.first {
            print(&format!("{}: {}", conflict.aggregate_id, conflict.problem))?;
        }
    }
    // An SQLite file may have data of patients whom an older version of the program deleted.
    if let Err(error) = rewrite_all_files(database).await {
        tracing::warn!(%error, "the file was not rewritten, so it may have deleted data");
    }
    if left > 0 {
        bail!(
            "{left} patients have a claim that was not replaced: two patients have the same mailbox, or an event cannot be read"
        );
    }
    Ok(())
}
