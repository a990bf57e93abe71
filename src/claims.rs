//! `patients claims …`: compares the table of email claims with the log, repairs the table, and changes the
//! rule of the claims.

mod unique;

use anyhow::{Context, bail};
use api::commands::{AGGREGATE_TYPE, EmailClaims};
use clap::Subcommand;
use domain::EmailUniqueness;
use eventstore::claim::table::{self, ClaimMismatches, ClaimsVerified, Rebuilt};
use eventstore::{Database, EventLog};
use serde_json::json;

use crate::database;
use crate::exit_code::NoAnswer;
use crate::output::{print, print_json};
use crate::progress::Progress;
use crate::settings::Settings;

/// Database connections of a command.
const CONNECTIONS: u32 = 2;

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum ClaimsCommand {
    /// Compare the claims table with the log; exit code 1 if they differ, 2 if this cannot be determined
    Verify {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show or change which active patients may share an email, while the service runs. Lists the conflicts
    /// before a change
    Unique {
        /// Patients who may share an email: none (email), with different names (email+name) or all (off)
        rule: Option<EmailUniqueness>,
        /// Change the rule despite conflicts: the older patient keeps the claim
        #[arg(long, requires = "rule")]
        keep_conflicts: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Repair the claims table from the log while the service runs; exit code 1 if a difference remains
    Rebuild {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs a command.
pub(crate) async fn run(settings: &Settings, command: ClaimsCommand) -> anyhow::Result<()> {
    let database = database::open_with_keyring(settings, CONNECTIONS)
        .await
        .map_err(|error| error.context(NoAnswer))?;
    let log = EventLog::new(database.clone());
    let outcome = match command {
        ClaimsCommand::Verify { json } => verify(&log, json).await,
        ClaimsCommand::Rebuild { json } => rebuild(&log, json).await,
        ClaimsCommand::Unique {
            rule,
            keep_conflicts,
            json,
        } => unique::run(&log, rule, keep_conflicts, json).await,
    };
    Database::close(&database).await;
    outcome
}

/// Compares the claims of all patients with the log. `json` selects JSON for the progress output.
pub(crate) async fn compare(log: &EventLog, json: bool) -> anyhow::Result<ClaimsVerified> {
    // The number of events is an upper bound on the number of patients, which is good enough for progress.
    let most = log.head().await.context(NoAnswer)?.position.get();
    let mut progress = Progress::start("patients", 0, most, json);
    let found = table::verify(
        log,
        &EmailClaims::of(log.database().sealing().cloned())?,
        AGGREGATE_TYPE,
        |compared| {
            progress.at(compared, most);
        },
    )
    .await;
    progress.end();
    found.context(NoAnswer)
}

/// Summarizes a comparison on one line, without the individual differences.
pub(crate) fn summary(found: &ClaimsVerified) -> String {
    if found.fits {
        let unreadable = match found.unreadable {
            0 => String::new(),
            unreadable => format!("; {unreadable} patients have events that cannot be read"),
        };
        format!(
            "all {} claims of {} patients{unreadable}",
            found.claims, found.aggregates
        )
    } else {
        format!(
            "{} mismatches; `patients claims verify` lists them",
            found.mismatches.count
        )
    }
}

async fn verify(log: &EventLog, json: bool) -> anyhow::Result<()> {
    let found = compare(log, json).await?;
    if json {
        print_json(&found)?;
    } else if found.fits {
        print(&format!("verified  {}", summary(&found)))?;
    } else {
        print(&named("mismatches", &found.mismatches))?;
    }
    if !found.fits {
        bail!("the claims do not match the log; `patients claims rebuild` repairs them");
    }
    Ok(())
}

async fn rebuild(log: &EventLog, json: bool) -> anyhow::Result<()> {
    let most = log.head().await.context(NoAnswer)?.position.get();
    let mut progress = Progress::start("patients", 0, most, json);
    let done = table::rebuild(
        log,
        &EmailClaims::of(log.database().sealing().cloned())?,
        AGGREGATE_TYPE,
        |done| progress.at(done, most),
    )
    .await;
    progress.end();
    let done = done.context(NoAnswer)?;
    let Rebuilt {
        aggregates,
        inserted,
        deleted,
        unreadable,
        mismatches,
    } = &done;
    if json {
        let mut answer = serde_json::to_value(&done)?;
        answer["fits"] = json!(mismatches.count == 0);
        print_json(&answer)?;
    } else {
        print(&format!(
            "{aggregates} patients: {inserted} claims inserted, {deleted} deleted"
        ))?;
        if *unreadable > 0 {
            print(&format!(
                "{unreadable} patients have events that cannot be read: their claims are unchanged"
            ))?;
        }
        if mismatches.count > 0 {
            print(&named("cannot be repaired", mismatches))?;
        }
    }
    if mismatches.count > 0 {
        bail!("{} claims cannot be repaired from the log", mismatches.count);
    }
    Ok(())
}

fn named(what: &str, mismatches: &ClaimMismatches) -> String {
    let mut lines = vec![format!("{what}: {}, the first:", mismatches.count)];
    lines.extend(
        mismatches
            .first
            .iter()
            .map(|mismatch| format!("  {} {}", mismatch.aggregate_id, mismatch.problem)),
    );
    lines.join("\n")
}
