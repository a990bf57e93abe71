//! `patients projection …`: what operators do about the read table.

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

/// Connections of a command: one that reads ahead, two that write, and some to look.
const CONNECTIONS: u32 = 5;

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum ProjectionCommand {
    /// Show how far every subscription is, who owns it, and why it has stopped if it has
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the read table anew from the log while the present one is served; after an interruption, go on
    Rebuild {
        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Call off the rebuild that is not finished, and delete what it has filled
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
    /// Let the projection pass over the event that it has stopped at, for good
    Skip {
        /// The event
        position: u64,
        /// Why, for those who come after; without personal data
        #[arg(long)]
        reason: String,
        /// Who decided it; the user that runs the command is recorded as well
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
        // The exit code tells a table that differs from one that could not be compared.
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
