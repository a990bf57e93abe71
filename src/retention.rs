//! `patients retention status` and `patients erase --due`: patients whose retention period has ended.

use std::time::Duration;

use anyhow::{Context, bail};
use api::commands::CommandError;
use api::erasure::rewrite_files;
use api::hold::{self, HoldLookup};
use api::retention::{DeletedPatient, RetentionPeriod, deleted_patients};
use chrono::NaiveDate;
use clap::Subcommand;
use domain::{ErasureReason, ErasureScope};
use eventstore::{Database, Dialect, EventLog, Position, SystemClock, Timestamp};
use serde::Serialize;
use serde_json::json;

use crate::commands::{StartedCommands, cause};
use crate::database;
use crate::erase::PATIENCE;
use crate::exit_code::LeftInClear;
use crate::output::{print, print_json};
use crate::settings::Settings;

/// Time since the last event after which [`erase_due`] requires the date on a database without a clock.
const UNCONFIRMED: Duration = Duration::from_hours(24 * 31);
/// Number of deletions read at a time.
const PAGE: u32 = 500;
/// Database connections of a command.
const CONNECTIONS: u32 = 4;

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum RetentionCommand {
    /// Show how many deleted patients are kept, and how many can be erased
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs a command.
pub(crate) async fn run(settings: &Settings, command: RetentionCommand) -> anyhow::Result<()> {
    let RetentionCommand::Status { json } = command;
    let database = database::open_with_keyring(settings, CONNECTIONS).await?;
    let outcome = status(settings, &database, json).await;
    database.close().await;
    outcome
}

/// Deleted patients, read page by page up to the head of the log.
struct DeletedPatients {
    log: EventLog,
    period: Option<RetentionPeriod>,
    now: Timestamp,
    after: Position,
    head: Position,
}

impl DeletedPatients {
    async fn start(settings: &Settings, database: &Database) -> anyhow::Result<Self> {
        let log = EventLog::new(database.clone());
        Ok(Self {
            period: settings.retention().period,
            now: SystemClock::shared().now(),
            after: Position::BEGINNING,
            head: log.head().await?.position,
            log,
        })
    }

    /// Returns the next deleted patients that are not erased, or `None` at the end.
    async fn next(&mut self) -> anyhow::Result<Option<Vec<DeletedPatient>>> {
        if self.after >= self.head {
            return Ok(None);
        }
        let (patients, reaches) = deleted_patients(&self.log, self.after, self.head, PAGE, self.now).await?;
        self.after = reaches;
        Ok(Some(patients))
    }

    /// Returns the end of a patient's retention period.
    fn end(&self, patient: &DeletedPatient) -> Timestamp {
        let period = self.period.map(|period| period.after(patient.deleted_at));
        period.unwrap_or(patient.deleted_at)
    }
}

async fn status(settings: &Settings, database: &Database, json: bool) -> anyhow::Result<()> {
    let retention = settings.retention();
    let mut deleted = DeletedPatients::start(settings, database).await?;
    let (mut kept, mut due, mut held, mut next_due) = (0_u64, 0_u64, 0_u64, None::<Timestamp>);
    while let Some(patients) = deleted.next().await? {
        for patient in patients {
            let end = deleted.end(&patient);
            if end > deleted.now {
                kept += 1;
                next_due = Some(next_due.map_or(end, |earliest| earliest.min(end)));
                continue;
            }
            match hold::find(&deleted.log, patient.id, deleted.now).await? {
                HoldLookup::Held(found) if !found.expired => held += 1,
                // Erased meanwhile.
                HoldLookup::Erased => {}
                HoldLookup::Held(_) | HoldLookup::NotHeld | HoldLookup::NotFound => due += 1,
            }
        }
    }
    if json {
        return print_json(&json!({
            "period": retention.period.map(|period| period.to_string()),
            "override_for_requests": retention.override_for_requests,
            "kept": kept, "due": due, "held": held, "next_due": next_due,
        }));
    }
    let period = retention.period.map_or_else(
        || "off: deleted patients can be erased at any time".to_owned(),
        |period| {
            let requests = if retention.override_for_requests {
                "can be erased earlier"
            } else {
                "cannot be erased earlier"
            };
            format!("{period} after the deletion; patients who request it {requests}")
        },
    );
    let next = next_due.map_or_else(String::new, |next| format!(", the first until {next}"));
    print(&format!(
        "period     {period}\nkept       {kept} deleted patients{next}\ndue        {due}\nheld       {held}, although due"
    ))
}

/// Result of erasing all patients who are due.
#[derive(Debug, Default, Serialize)]
struct ErasedDue {
    /// Number of patients who were erased.
    erased: u64,
    /// Number of these patients who still have unencrypted events.
    partial: u64,
    /// Number of patients who are due but have a hold.
    held: u64,
    /// Number of patients who could not be erased.
    failed: u64,
}

/// Erases the deleted patients whose retention period has ended. Patients with a hold are skipped. If a
/// patient cannot be erased, the others are still erased. `today` is the date that the clock must show.
pub(crate) async fn erase_due(
    settings: &Settings,
    database: &Database,
    today: Option<NaiveDate>,
    json: bool,
) -> anyhow::Result<()> {
    let retention = settings.retention();
    if retention.period.is_none() {
        bail!("RETENTION is off, so no retention period ends");
    }
    let mut deleted = DeletedPatients::start(settings, database).await?;
    check_date(&deleted.log, today, deleted.now).await?;
    let commands = StartedCommands::new(settings, &deleted.log).with_retention(retention);
    let outcome = erase_all(&mut deleted, &commands).await;
    commands.shutdown().await;
    let done = outcome?;
    rewrite_files(&deleted.log, PATIENCE).await;
    let ErasedDue {
        erased,
        partial,
        held,
        failed,
    } = done;
    if json {
        print_json(&done)?;
    } else {
        print(&format!(
            "{erased} patients were erased, {partial} of them only in part; {held} patients are due, but have a hold"
        ))?;
    }
    if failed > 0 {
        bail!("{failed} patients could not be erased");
    }
    if partial > 0 {
        return Err(LeftInClear::Patients(partial).into());
    }
    Ok(())
}

/// Checks the date that the clock shows, because an erasure that happens too early cannot be undone. On MySQL
/// and MariaDB, each append also compares the clock with the clock of the database. SQLite has no clock, so
/// only the log and `today` can show that the clock is wrong.
async fn check_date(log: &EventLog, today: Option<NaiveDate>, now: Timestamp) -> anyhow::Result<()> {
    let date = now.to_datetime().map(|now| now.date_naive());
    let date = date.context("the clock shows no valid date")?;
    if let Some(today) = today {
        if today != date {
            bail!("the clock shows {date}, not {today}; nothing was erased");
        }
        return Ok(());
    }
    let head = log.head().await?;
    let idle = now.since(head.recorded_at);
    let has_events = head.position > Position::BEGINNING;
    if log.database().dialect() == Dialect::Sqlite && has_events && idle > UNCONFIRMED {
        let days = idle.as_secs() / 86_400;
        bail!(
            "the clock shows {date}, {days} days after the last event; if the date is right, add --today {date}"
        );
    }
    Ok(())
}

async fn erase_all(deleted: &mut DeletedPatients, commands: &StartedCommands) -> anyhow::Result<ErasedDue> {
    let mut done = ErasedDue::default();
    while let Some(patients) = deleted.next().await? {
        for patient in patients {
            if deleted.end(&patient) > deleted.now {
                continue;
            }
            match commands
                .erase(patient.id, ErasureReason::Retention, &cause())
                .await
            {
                Ok(erasure) => {
                    done.erased += 1;
                    done.partial += u64::from(erasure.scope == ErasureScope::Partial);
                }
                Err(CommandError::Held { .. }) => done.held += 1,
                Err(
                    error @ (CommandError::Unreadable | CommandError::Contended | CommandError::LogDamaged),
                ) => {
                    tracing::error!(patient.id = %patient.id, %error, "a patient was not erased");
                    done.failed += 1;
                }
                Err(error) => {
                    let context = format!(
                        "after {} erasures, patient {} was not erased",
                        done.erased, patient.id
                    );
                    return Err(error).context(context);
                }
            }
        }
    }
    Ok(done)
}
