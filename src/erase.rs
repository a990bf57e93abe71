//! `patients erase`: erases patients, and completes earlier erasures.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use api::commands::{AGGREGATE_TYPE, CommandError};
use api::erasure::{self, ErasureStatus};
use chrono::NaiveDate;
use clap::{Args, ValueEnum};
use domain::{ErasureReason, PATIENT_ERASED};
use eventstore::sealing::{KeyStore, StoredKey};
use eventstore::{Database, EventFilter, EventLog, Position};
use projector::eraser::{self, files};
use serde_json::json;
use uuid::Uuid;

use crate::audit::{self, ProofFormat};
use crate::commands::{StartedCommands, cause};
use crate::database;
use crate::exit_code::LeftInClear;
use crate::keys_database::Opener;
use crate::output::{print, print_json};
use crate::replica;
use crate::retention;
use crate::settings::Settings;

/// Database connections of the command.
const CONNECTIONS: u32 = 4;
/// How long the command waits for reads that still need earlier versions of pages.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// Number of events read at a time.
const PAGE: u32 = 500;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct EraseArguments {
    /// Id of the patient
    #[arg(required_unless_present_any = ["replay", "due", "certificate"], requires = "reason")]
    id: Option<Uuid>,
    /// Reason for the erasure
    #[arg(long, value_enum)]
    reason: Option<Reason>,
    /// Write a certificate of the erasure of this patient: a file that `patients audit check` checks
    #[arg(long, value_name = "ID", conflicts_with_all = ["id", "reason", "replay", "json"])]
    certificate: Option<Uuid>,
    /// `json`, or `tlog-proof` (C2SP) to prove the erasure in the newest signed checkpoint
    #[arg(long, value_enum, requires = "certificate")]
    format: Option<ProofFormat>,
    /// Output file of the certificate; - for standard output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "replay"])]
    output: Option<PathBuf>,
    /// After a restore: destroy the keys of erased patients again, and record erasures that the log has lost
    #[arg(long, conflicts_with_all = ["id", "reason"])]
    replay: bool,
    /// Erase all patients whose retention period (RETENTION) has ended, except patients with a hold
    #[arg(long, conflicts_with_all = ["id", "reason", "replay", "certificate", "output"])]
    due: bool,
    /// Today's date in UTC, YYYY-MM-DD: with --due, erase only if the clock shows this date
    #[arg(long, value_name = "DATE", requires = "due")]
    today: Option<NaiveDate>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
// Without texts of their own, the values fit on one line of the help.
enum Reason {
    Request,
    Retention,
    Error,
}

impl From<Reason> for ErasureReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Request => Self::Request,
            Reason::Retention => Self::Retention,
            Reason::Error => Self::Error,
        }
    }
}

/// Runs the command.
pub(crate) async fn run(settings: &Settings, arguments: EraseArguments) -> anyhow::Result<()> {
    let database = database::open_with_keyring(settings, CONNECTIONS).await?;
    if let Err(error) = replica::open(settings, &database, Opener::Command).await {
        database.close().await;
        return Err(error);
    }
    let outcome = match (arguments.id, arguments.reason, arguments.certificate) {
        (_, _, Some(id)) => {
            let origin = settings.publication.log_origin();
            let format = arguments.format.unwrap_or(ProofFormat::Json);
            audit::certify(&database, origin, id, format, arguments.output).await
        }
        (Some(id), Some(reason), None) => erase(settings, &database, id, reason.into(), arguments.json).await,
        _ if arguments.due => {
            retention::erase_due(settings, &database, arguments.today, arguments.json).await
        }
        _ => replay(settings, &database, arguments.json).await,
    };
    database.close().await;
    outcome
}

async fn erase(
    settings: &Settings,
    database: &Database,
    id: Uuid,
    reason: ErasureReason,
    json: bool,
) -> anyhow::Result<()> {
    let log = EventLog::new(database.clone());
    let commands = StartedCommands::new(settings, &log).with_retention(settings.retention());
    let erased = commands.erase(id, reason, &cause()).await;
    commands.shutdown().await;
    let erased = erased?;
    erasure::rewrite_files(&log, PATIENCE).await;
    let status = erased.status(&log).await.context("the patient was erased")?;
    if json {
        print_json(&status)?;
    } else {
        print(&shown(&status))?;
    }
    if !status.positions_in_clear.is_empty() {
        return Err(LeftInClear::Events(status.positions_in_clear.len()).into());
    }
    Ok(())
}

/// Rewrites SQLite's files, even if no erasure requires it. If a read still needs earlier versions of pages,
/// this is only logged.
pub(crate) async fn rewrite_all_files(database: &Database) -> eventstore::Result<()> {
    if !files::rewrite_all(database, PATIENCE).await? {
        tracing::warn!("a reader keeps earlier versions of pages in the write-ahead log");
    }
    Ok(())
}

fn shown(status: &ErasureStatus) -> String {
    let mut lines = vec![format!(
        "erased     {} at {} ({})",
        status.id,
        status.erased_at,
        status.reason.name()
    )];
    if let Some(at) = status.key_destroyed_at {
        lines.push(format!("key        destroyed at {at}"));
    }
    if !status.pending.is_empty() {
        lines.push(format!("pending    {}", status.pending.join(", ")));
    }
    if !status.positions_in_clear.is_empty() {
        let positions: Vec<_> = status
            .positions_in_clear
            .iter()
            .map(Position::to_string)
            .collect();
        lines.push(format!(
            "readable   the events at {} were recorded before the log was sealed, and stay unencrypted in it",
            positions.join(", ")
        ));
    }
    lines.join("\n")
}

/// Makes the keys and the log agree after one of them was restored from a backup: destroys the keys of all
/// patients whose erasure the log has, and records the erasures of patients whose keys are destroyed.
async fn replay(settings: &Settings, database: &Database, json: bool) -> anyhow::Result<()> {
    let log = EventLog::new(database.clone());
    let Some(sealing) = database.sealing() else {
        bail!("the log is unencrypted, so it has no keys");
    };
    let keys = sealing.keys();
    let filter = EventFilter {
        event_type: Some(PATIENT_ERASED.to_owned()),
        aggregate: None,
    };
    let head = log.head().await?.position;
    let (mut after, mut erased, mut destroyed) = (Position::BEGINNING, 0_u64, 0_u64);
    while after < head {
        let page = log.page(&filter, after, head, PAGE).await?;
        for event in page.events.iter().filter(|event| eraser::is_erasure(event)) {
            let mut writer = database.writer().await?;
            let key = keys
                .find(&mut writer, AGGREGATE_TYPE, &[&event.aggregate_id])
                .await?;
            let had_key = !matches!(key.get(&event.aggregate_id), Some(StoredKey::Erased(_)));
            eraser::destroy_key(keys, &mut writer, &event.aggregate_id, event.recorded_at).await?;
            erased += 1;
            destroyed += u64::from(had_key);
        }
        after = page.reaches;
    }
    let recorded = record_lost(settings, &log, keys).await?;
    // Keys that came back with a backup may be in pages that an earlier erasure does not cover.
    rewrite_all_files(database).await?;
    if json {
        return print_json(&json!({ "erased": erased, "destroyed": destroyed, "recorded": recorded }));
    }
    print(&format!(
        "{erased} patients were erased; {destroyed} keys had come back and were destroyed; {recorded} erasures were \
         missing in the log and were recorded"
    ))
}

/// Records the erasures of patients whose keys are destroyed, if the log contains the patient but not the
/// erasure.
async fn record_lost(settings: &Settings, log: &EventLog, keys: &KeyStore) -> anyhow::Result<u64> {
    // The patients are erased already, so no retention period applies.
    let commands = StartedCommands::new(settings, log);
    let (mut recorded, mut after) = (0, None);
    loop {
        let (erased, next) = keys.erased_some(log.database(), after).await?;
        for subject in erased {
            let id = Uuid::try_parse(&subject.aggregate_id)?;
            if erasure::find(log, id).await?.is_none() {
                match commands.erase(id, ErasureReason::Request, &cause()).await {
                    Ok(_) => recorded += 1,
                    // The log was restored from before the registration.
                    Err(CommandError::NotFound) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    commands.shutdown().await;
    Ok(recorded)
}
