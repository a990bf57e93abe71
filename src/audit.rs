//! `patients audit …`: commands with which auditors examine the log.

mod certificate;
mod export;
mod file;
mod format;
mod head;
mod history;
mod key;
mod mark;
mod mirror;
mod prove;
mod reads;
mod recorder;
mod sealed;
mod tlog_proof;
mod trust;
mod verify;
mod watch;

use std::path::PathBuf;

use api::read_log::ReadsWanted;
use api::read_log::heads::TrustedRead;
use clap::{Subcommand, ValueEnum};
use domain::Until;
use eventstore::{Database, EventLog, Timestamp, Trusted};
use uuid::Uuid;

use crate::database;
use crate::exit_code::NoAnswer;
use crate::keys_database::Opener;
use crate::replica;
use crate::sealing;
use crate::settings::Settings;
pub(crate) use certificate::certify;
use export::Export;
pub(crate) use export::is_broken_pipe;
pub(crate) use file::PartFile;
use format::ExportFormat;
pub(crate) use key::KeyCommand;
use mirror::MirrorArguments;
use prove::Prove;
use reads::ReadsCommand;
pub(crate) use recorder::{ReadRange, Recorder};
use tlog_proof::ProofTrust;
use watch::WatchArguments;

/// Database connections of a command: one reads ahead, one looks up single rows.
const CONNECTIONS: u32 = 2;

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show the head of the log, which an auditor can keep
    Head {
        /// Also compute the Merkle root, from every hash in the log
        #[arg(long)]
        root: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Recompute the hash chains of the log and of the record of reads; exit code 1 on a mismatch, 2 if the
    /// verification cannot be completed
    Verify {
        /// Trusted head, with its hash or its root; can be repeated
        #[arg(long, value_name = "POSITION:HASH")]
        trusted: Vec<Trusted>,
        /// Trusted link of the record of reads; can be repeated
        #[arg(long, value_name = "CHAIN:NUMBER:HASH", conflicts_with = "log_only")]
        trusted_reads: Vec<TrustedRead>,
        /// Trusted root of the published log of the record of reads; can be repeated
        #[arg(long, value_name = "SIZE:ROOT", conflicts_with = "log_only")]
        trusted_reads_log: Vec<Trusted>,
        /// Verify only the log and the claims, not the record of reads
        #[arg(long)]
        log_only: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show every event of a patient, deleted or not
    History {
        /// Patient id
        id: Uuid,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the current or a past state of a patient
    State {
        /// Patient id
        id: Uuid,
        /// State at this time, in RFC 3339
        #[arg(long, value_name = "TIME")]
        at: Option<Timestamp>,
        /// State after the patient's event with this sequence number
        #[arg(long, conflicts_with = "at")]
        sequence: Option<u64>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Export events in order of position; resumes an interrupted export to a file
    Export {
        /// Export the events after this position
        #[arg(long, value_name = "POSITION", default_value_t = 0)]
        after: u64,
        /// Output format
        #[arg(long, value_enum, default_value_t = ExportFormat::Ndjson)]
        format: ExportFormat,
        /// Add the decrypted personal data, as the member `opened`: an erasure does not reach this file
        #[arg(long)]
        open: bool,
        /// Output file, which appears when it is complete; - or no file for standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Count the events whose personal data is sealed, and those from before the log was sealed
    Sealed {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a small file that proves an event, or that the log extends an earlier log
    Prove {
        /// Position of the event
        #[arg(required_unless_present = "from")]
        position: Option<u64>,
        /// Last position of the earlier log: proves that no event up to this position has changed
        #[arg(long, value_name = "POSITION")]
        from: Option<u64>,
        /// Last position of the log to prove against; default: the current head
        #[arg(long, value_name = "POSITION")]
        to: Option<u64>,
        /// `json`, or `tlog-proof` (C2SP) to prove an event against the newest signed checkpoint
        #[arg(long, value_enum, default_value_t = ProofFormat::Json)]
        format: ProofFormat,
        /// Output file; - for standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show who read patients and events, over HTTP and by these commands
    #[command(args_conflicts_with_subcommands = true)]
    Reads {
        #[command(subcommand)]
        command: Option<ReadsCommand>,
        /// Only entries after the entry with this id, in the order of the list
        #[arg(long, value_name = "ID")]
        after: Option<Uuid>,
        /// List the newest entry first
        #[arg(long)]
        newest_first: bool,
        /// Maximum number of entries
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Only reads of this patient
        #[arg(long, value_name = "ID")]
        patient: Option<Uuid>,
        /// Only reads by this actor
        #[arg(long)]
        actor: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Follow a published log without access to its database; exit code 5 on a fork, 6 if the log has shrunk,
    /// 7 on an untrusted signature, 8 if it is silent, and with --once 2 if the log cannot be read
    Watch(WatchArguments),
    /// Write the checkpoint, tiles and entries of the published log as static files, each verified; writes
    /// only new files
    Mirror(MirrorArguments),
    /// Manage the key that signs the checkpoints of the published log
    Key {
        /// Manage the key of the published log of the record of reads
        #[arg(long)]
        reads: bool,
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Check a proof or a certificate of erasure without the log; exit code 1 if it is inconsistent or
    /// contradicts a trusted head, 3 if no head and no key is trusted
    Check {
        /// File written by `prove` or by `patients erase --certificate`
        file: PathBuf,
        /// Trusted head with its root, or an event's position and hash; can be repeated
        #[arg(long, value_name = "POSITION:ROOT")]
        trusted: Vec<Trusted>,
        #[command(flatten)]
        trust: ProofTrust,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Format of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
// Without texts of their own, the values fit on one line of the help.
pub(crate) enum ProofFormat {
    Json,
    TlogProof,
}

/// Runs a command.
pub(crate) async fn run(settings: &Settings, command: AuditCommand) -> anyhow::Result<()> {
    match command {
        AuditCommand::Check {
            file,
            trusted,
            trust,
            json,
        } => prove::check(&file, &trusted, &trust, json),
        AuditCommand::Key { reads, command } => match key::run(settings, command, reads)? {
            Some(adoption) => adopt(settings, &adoption).await,
            None => Ok(()),
        },
        AuditCommand::Watch(arguments) => arguments.run().await,
        AuditCommand::Mirror(arguments) => arguments.run(settings).await,
        command => run_on_log(settings, command).await,
    }
}

/// Runs a command that reads the log.
async fn run_on_log(settings: &Settings, command: AuditCommand) -> anyhow::Result<()> {
    let database = database::open_existing(settings, CONNECTIONS)
        .await
        .map_err(|error| error.context(NoAnswer))?;
    prepare(settings, &database, &command)
        .await
        .map_err(|error| error.context(NoAnswer))?;
    let log = EventLog::new(database.clone());
    let recorder = Recorder::start(&database);
    let outcome = match command {
        AuditCommand::Head { root, json } => head::run(&log, root, json).await,
        AuditCommand::Verify {
            trusted,
            trusted_reads,
            trusted_reads_log,
            log_only,
            json,
        } => {
            let origin = settings.publication.reads_log_origin();
            let record = verify::TrustedRecord::new(trusted_reads, trusted_reads_log, origin);
            verify::run(&log, trusted, (!log_only).then_some(record), json).await
        }
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
            open,
            output,
        } => {
            let export = Export::new(after, format, open)?;
            let log = EventLog::new(database.for_stale_reads().clone());
            export.run(&log, &recorder, output.as_deref()).await
        }
        AuditCommand::Sealed { json } => sealed::run(&log, json).await,
        AuditCommand::Prove {
            position,
            from,
            to,
            format: ProofFormat::TlogProof,
            output,
        } => {
            if from.or(to).is_some() {
                anyhow::bail!("--from and --to do not apply to a tlog-proof");
            }
            let origin = settings.publication.log_origin();
            tlog_proof::prove(&log, &recorder, origin, position, output).await
        }
        AuditCommand::Prove {
            position,
            from,
            to,
            format: ProofFormat::Json,
            output,
        } => {
            let prove = Prove::new(position, from, to)?;
            prove.run(&log, &recorder, output).await
        }
        AuditCommand::Reads {
            command: Some(command),
            ..
        } => reads::command(&database, command).await,
        AuditCommand::Reads {
            command: None,
            after,
            newest_first,
            limit,
            patient,
            actor,
            json,
        } => {
            let wanted = ReadsWanted {
                after,
                newest_first,
                patient,
                actor,
            };
            reads::list(&database, wanted, limit, json).await
        }
        AuditCommand::Check { .. }
        | AuditCommand::Key { .. }
        | AuditCommand::Watch(_)
        | AuditCommand::Mirror(_) => Ok(()),
    };
    recorder.finish().await;
    database.close().await;
    outcome
}

/// Opens the keyring and the replica for the commands that need them.
async fn prepare(settings: &Settings, database: &Database, command: &AuditCommand) -> anyhow::Result<()> {
    let needs_keyring = match command {
        AuditCommand::History { .. }
        | AuditCommand::State { .. }
        | AuditCommand::Export { open: true, .. } => true,
        // Verification must not omit the claims because of a keyring that is set but unusable.
        AuditCommand::Verify { .. } => sealing::keyring_exists(settings),
        _ => false,
    };
    if needs_keyring {
        sealing::open(settings, database, Opener::Command).await?;
    } else {
        // Without the keyring, the claims of patients whose events are sealed cannot be compared.
        sealing::open_if_possible(settings, database).await;
    }
    if matches!(command, AuditCommand::Export { .. }) {
        replica::open(settings, database, Opener::Command).await?;
    }
    Ok(())
}

/// Runs `patients audit key adopt`.
async fn adopt(settings: &Settings, adoption: &key::Adoption) -> anyhow::Result<()> {
    let database = database::open_existing(settings, CONNECTIONS).await?;
    let adopted = key::adopt(settings, &database, adoption).await;
    database.close().await;
    adopted
}
