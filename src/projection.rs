//! `patients projection …`: commands with which operators manage the read table.

mod rebuild;
mod skip;
mod status;
mod verify;

use anyhow::Context;
use clap::Subcommand;
use eventstore::Database;

use crate::audit::NoAnswer;
use crate::database;
use crate::output::{print, print_json};
use crate::settings::Settings;

/// Database connections of a command: one reads ahead, two write, the others look up single rows.
const CONNECTIONS: u32 = 5;

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum ProjectionCommand {
    /// Show the position and owner of every subscription, and why a stopped subscription has stopped
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Rebuild the read table from the log while the current one is served; resumes after an interruption
    Rebuild {
        /// Print JSON, one object per line
        #[arg(long)]
        json: bool,
    },
    /// Cancel the unfinished rebuild, and delete its rows
    Cancel {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Compare the read table with a replay of the log; exit code 1 if they differ
    Verify {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Permanently skip the event at which the projection has stopped
    Skip {
        /// Position of the event
        position: u64,
        /// Reason for the record, without personal data
        #[arg(long)]
        reason: String,
        /// Person who decided it; the user that runs the command is also recorded
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs a command on a database whose schema is up to date.
pub(crate) async fn run(settings: &Settings, command: ProjectionCommand) -> anyhow::Result<()> {
    let database = database::open_existing(settings, CONNECTIONS).await;
    let database = match command {
        // The exit code distinguishes a difference from a failed comparison.
        ProjectionCommand::Verify { .. } => database.context(NoAnswer)?,
        _ => database?,
    };
    let outcome = match command {
        ProjectionCommand::Status { json } => status::run(&database, json).await,
        ProjectionCommand::Rebuild { json } => rebuild::run(&database, json).await,
        ProjectionCommand::Cancel { json } => rebuild::cancel(&database, json).await,
        ProjectionCommand::Verify { json } => verify::run(&database, json).await,
        ProjectionCommand::Skip {
            position,
            reason,
            by,
            json,
        } => skip::run(&database, position, reason, by, json).await,
    };
    Database::close(&database).await;
    outcome
}
