//! `patients hold` and `patients release`: protect a patient from erasure.

use anyhow::bail;
use api::hold::{self, HoldLookup};
use chrono::NaiveDate;
use clap::{Args, ValueEnum};
use domain::{Hold, HoldReason};
use eventstore::{EventLog, SystemClock};
use serde_json::json;
use uuid::Uuid;

use crate::commands::{StartedCommands, cause};
use crate::database;
use crate::output::{print, print_json};
use crate::settings::Settings;

/// Database connections of a command.
const CONNECTIONS: u32 = 4;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct HoldArguments {
    /// Id of the patient
    id: Uuid,
    /// Last day of the hold, in UTC: YYYY-MM-DD, today or later
    #[arg(long, value_name = "DATE", value_parser = until)]
    until: NaiveDate,
    /// Reason for the hold
    #[arg(long, value_enum)]
    reason: Reason,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct ReleaseArguments {
    /// Id of the patient
    id: Uuid,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Reason {
    /// A legal claim
    LegalClaim,
    /// A law requires the data to be kept
    LegalObligation,
    /// Public health
    PublicHealth,
    /// Archiving, research or statistics in the public interest
    Research,
}

impl From<Reason> for HoldReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::LegalClaim => Self::LegalClaim,
            Reason::LegalObligation => Self::LegalObligation,
            Reason::PublicHealth => Self::PublicHealth,
            Reason::Research => Self::Research,
        }
    }
}

fn until(text: &str) -> Result<NaiveDate, String> {
    hold::parse_until(text, SystemClock::shared().now())
        .ok_or_else(|| "expected a date, such as 2031-12-31, today or later".to_owned())
}

/// Runs `patients hold`.
pub(crate) async fn hold(settings: &Settings, arguments: HoldArguments) -> anyhow::Result<()> {
    let hold = Hold {
        until: arguments.until,
        reason: arguments.reason.into(),
    };
    change(settings, arguments.id, Some(hold), arguments.json).await
}

/// Runs `patients release`.
pub(crate) async fn release(settings: &Settings, arguments: ReleaseArguments) -> anyhow::Result<()> {
    change(settings, arguments.id, None, arguments.json).await
}

async fn change(settings: &Settings, id: Uuid, to: Option<Hold>, json: bool) -> anyhow::Result<()> {
    let database = database::open_with_keyring(settings, CONNECTIONS).await?;
    let log = EventLog::new(database.clone());
    let commands = StartedCommands::new(settings, &log);
    let changed = match to {
        Some(hold) => commands.hold(id, hold, &cause()).await,
        None => commands.release_hold(id, &cause()).await,
    };
    commands.shutdown().await;
    let found = match changed {
        Ok(()) => Ok(hold::find(&log, id, SystemClock::shared().now()).await?),
        Err(error) => Err(error),
    };
    database.close().await;
    match found? {
        HoldLookup::Held(status) if json => print_json(&status),
        HoldLookup::Held(status) => print(&format!(
            "held       {id} until the end of {} UTC ({})",
            status.until,
            status.reason.name()
        )),
        HoldLookup::NotHeld if json => print_json(&json!({ "id": id, "until": null })),
        HoldLookup::NotHeld => print(&format!("released   {id} has no hold")),
        HoldLookup::Erased | HoldLookup::NotFound => bail!("the hold could not be read back"),
    }
}
