//! `patients projection …`: commands with which operators manage the read tables.

mod rebuild;
mod skip;
mod status;
mod verify;

use anyhow::Context;
use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use eventstore::{Database, Registered};
use projector::PROJECTIONS;

use crate::exit_code::NoAnswer;
use crate::keys_database::Opener;
use crate::settings::Settings;
use crate::{database, output, replica};

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
    /// Rebuild a read table from the log while the current one is served; resumes after an interruption
    Rebuild {
        /// Projection; all projections, one after another, if absent
        #[arg(value_parser = names())]
        name: Option<String>,
        /// Print JSON, one object per line
        #[arg(long)]
        json: bool,
    },
    /// Cancel an unfinished rebuild, and delete its rows
    Cancel {
        /// Projection; every projection that is being rebuilt if absent
        #[arg(value_parser = names())]
        name: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Compare a read table with a replay of the log; exit code 1 if they differ
    Verify {
        /// Projection; all projections if absent
        #[arg(value_parser = names())]
        name: Option<String>,
        /// Print JSON, one object per line
        #[arg(long)]
        json: bool,
    },
    /// Permanently skip the event at which a projection has stopped
    Skip {
        /// Position of the event
        position: u64,
        /// Projection; if omitted, every projection that has stopped at this event
        #[arg(value_parser = names())]
        name: Option<String>,
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

/// Parses the name of a projection.
fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(PROJECTIONS.map(Registered::name))
}

/// Returns the projection with this name, or all projections without a name.
fn chosen(name: Option<&str>) -> Vec<&'static dyn Registered> {
    let chosen = |projection: &&dyn Registered| name.is_none_or(|name| name == projection.name());
    PROJECTIONS.into_iter().filter(chosen).collect()
}

/// Runs a command on a database whose schema is up to date.
pub(crate) async fn run(settings: &Settings, command: ProjectionCommand) -> anyhow::Result<()> {
    let database = match command {
        ProjectionCommand::Verify { .. } | ProjectionCommand::Rebuild { .. } => {
            database::open_with_keyring(settings, CONNECTIONS).await
        }
        _ => database::open_existing(settings, CONNECTIONS).await,
    };
    let database = match command {
        // The exit code distinguishes a difference from a failed comparison.
        ProjectionCommand::Verify { .. } => database.context(NoAnswer)?,
        _ => database?,
    };
    let outcome = match command {
        ProjectionCommand::Status { json } => status::run(&database, json).await,
        ProjectionCommand::Rebuild { name, json } => {
            if let Err(error) = replica::open(settings, &database, Opener::Command).await {
                let causes = output::causes(&error);
                tracing::warn!("the rebuild reads the database instead of the replica: {causes}");
            }
            rebuild::run(&database, &chosen(name.as_deref()), json).await
        }
        ProjectionCommand::Cancel { name, json } => {
            rebuild::cancel(&database, &chosen(name.as_deref()), json).await
        }
        ProjectionCommand::Verify { name, json } => {
            verify::run(&database, &chosen(name.as_deref()), json).await
        }
        ProjectionCommand::Skip {
            position,
            name,
            reason,
            by,
            json,
        } => skip::run(&database, position, &chosen(name.as_deref()), reason, by, json).await,
    };
    Database::close(&database).await;
    outcome
}
