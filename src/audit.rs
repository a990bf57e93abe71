//! `patients audit …`: what auditors ask of the log.

mod export;
mod file;
mod format;
mod head;
mod history;
mod mark;
mod prove;
mod reads;
mod recorder;
mod verify;

use std::path::PathBuf;

use api::read_log::ReadsWanted;
use clap::Subcommand;
use domain::Until;
use eventstore::{EventLog, Timestamp, Trusted};
use uuid::Uuid;

use crate::database;
use crate::settings::Settings;
use export::Export;
use format::Format;
use prove::Prove;
use recorder::Recorder;

/// Connections of a command: one that reads ahead, and one to look things up.
const CONNECTIONS: u32 = 2;

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show the head of the log, for an auditor to keep
    Head {
        /// Compute the Merkle root as well, from every hash in the log
        #[arg(long)]
        root: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the whole hash chain anew; exit code 1 if something does not fit, 2 if that cannot be told
    Verify {
        /// A head that was kept, with its hash or its root; may be given again
        #[arg(long, value_name = "POSITION:HASH")]
        trusted: Vec<Trusted>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show every event of a patient, deleted or not
    History {
        /// The patient
        id: Uuid,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a patient as it is, or was
    State {
        /// The patient
        id: Uuid,
        /// At this moment, in RFC 3339
        #[arg(long, value_name = "TIME")]
        at: Option<Timestamp>,
        /// Just after its event with this sequence
        #[arg(long, conflicts_with = "at")]
        sequence: Option<u64>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write the events, in the order of their positions; an export into a file that was interrupted goes on
    Export {
        /// Begin after this position
        #[arg(long, value_name = "POSITION", default_value_t = 0)]
        after: u64,
        /// How each event is written
        #[arg(long, value_enum, default_value_t = Format::Ndjson)]
        format: Format,
        /// The file, which appears when it is whole; - or nothing for standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Write a small file that proves an event, or that the log goes on from an earlier one, without the log
    Prove {
        /// The event
        #[arg(required_unless_present = "from")]
        position: Option<u64>,
        /// The earlier log, by its last position: proves that nothing up to there was changed since
        #[arg(long, value_name = "POSITION")]
        from: Option<u64>,
        /// The log that is spoken of, by its last position; otherwise the log as it is now
        #[arg(long, value_name = "POSITION")]
        to: Option<u64>,
        /// The file; - for standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show who read histories, states and events, over HTTP and by these commands
    Reads {
        /// Only what comes after the entry with this id
        #[arg(long, value_name = "ID")]
        after: Option<Uuid>,
        /// At most as many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Only the reads of this patient alone
        #[arg(long, value_name = "ID")]
        patient: Option<Uuid>,
        /// Only the reads by this actor
        #[arg(long)]
        actor: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check a proof without the log; exit code 1 if it is not consistent or contradicts a trusted head, 3 if
    /// no head is trusted
    Check {
        /// The file that `prove` wrote
        file: PathBuf,
        /// A head that was kept, with its root; or an event's position and hash. May be given again
        #[arg(long, value_name = "POSITION:ROOT")]
        trusted: Vec<Trusted>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Why there is no answer, whichever it would have been.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no answer")]
pub(crate) struct NoAnswer;

/// A proof that is consistent in itself, without a trusted head to compare it with.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("nothing is proved without a trusted head: give one with --trusted")]
pub(crate) struct NothingTrusted;

/// The exit code of a command that ended with this error.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<NoAnswer>() {
        2
    } else if error.is::<NothingTrusted>() {
        3
    } else {
        1
    }
}

/// Runs a command.
pub(crate) async fn run(settings: &Settings, command: AuditCommand) -> anyhow::Result<()> {
    if let AuditCommand::Check { file, trusted, json } = command {
        return prove::check(&file, &trusted, json);
    }
    let database = database::open_existing(settings, CONNECTIONS)
        .await
        .map_err(|error| error.context(NoAnswer))?;
    let log = EventLog::new(database.clone());
    let recorder = Recorder::start(&database);
    let outcome = match command {
        AuditCommand::Head { root, json } => head::run(&log, root, json).await,
        AuditCommand::Verify { trusted, json } => verify::run(&log, trusted, json).await,
        AuditCommand::History { id, json } => history::history(&log, &recorder, id, json).await,
        AuditCommand::State {
            id,
            at,
            sequence,
            json,
        } => {
            let until = match (at, sequence) {
                (Some(moment), _) => Until::Moment(moment),
                (None, Some(sequence)) => Until::Sequence(sequence),
                (None, None) => Until::Now,
            };
            history::state(&log, &recorder, id, until, json).await
        }
        AuditCommand::Export {
            after,
            format,
            output,
        } => {
            let export = Export::new(after, format)?;
            export.run(&log, &recorder, output.as_deref()).await
        }
        AuditCommand::Prove {
            position,
            from,
            to,
            output,
        } => {
            let prove = Prove::new(position, from, to)?;
            prove.run(&log, &recorder, output).await
        }
        AuditCommand::Reads {
            after,
            limit,
            patient,
            actor,
            json,
        } => {
            let wanted = ReadsWanted {
                after,
                patient,
                actor,
            };
            reads::run(&database, wanted, limit, json).await
        }
        AuditCommand::Check { .. } => Ok(()),
    };
    recorder.finish().await;
    database.close().await;
    outcome
}
