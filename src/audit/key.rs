//! `patients audit key …`: the keys that sign checkpoints of the log and of the record of reads.

use std::path::PathBuf;

use anyhow::{Context, bail};
use api::read_log::published::ReadHeadsLog;
use clap::Subcommand;
use eventstore::{Database, EventLog, SystemClock};
use tlog::{KeyFile, KeyFileError};
use transparency::checkpoint::SignedCheckpoint;
use transparency::note::{MAX_NOTE_LEN, VerifierKey};

use crate::output::print;
use crate::settings::Settings;

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum KeyCommand {
    /// Write a new key to the key file, and print the verifier key
    New,
    /// Print the verifier key, which verifies checkpoints
    Show,
    /// Write the state file from the newest checkpoint, if the state file was lost or is too old
    Adopt {
        /// File with the newest checkpoint, from a mirror or an auditor
        file: PathBuf,
        /// Verifier key of the checkpoint, if another key has signed it
        #[arg(long)]
        verifier: Option<String>,
    },
}

/// The settings that every command needs.
fn key(settings: &Settings, reads: bool) -> anyhow::Result<(KeyFile, &str)> {
    let publication = &settings.publication;
    let (origin, path) = if reads {
        let origin = publication
            .reads_log_origin()
            .context("READS_LOG_ORIGIN is not set")?;
        let path = publication
            .reads_log_key_file()
            .context("READS_LOG_KEY_FILE is not set")?;
        (origin, path)
    } else {
        let origin = publication.log_origin().context("LOG_ORIGIN is not set")?;
        (
            origin,
            publication.log_key_file().context("LOG_KEY_FILE is not set")?,
        )
    };
    Ok((KeyFile::new(path.to_owned()), origin))
}

/// The arguments of `adopt`, which needs the log.
pub(super) struct Adoption {
    reads: bool,
    file: PathBuf,
    verifier: Option<String>,
}

/// Runs a command that needs no database. Returns the arguments of `adopt`.
pub(super) fn run(settings: &Settings, command: KeyCommand, reads: bool) -> anyhow::Result<Option<Adoption>> {
    let (file, origin) = key(settings, reads)?;
    let key = match command {
        KeyCommand::New => match file.create(origin) {
            Err(KeyFileError::Missing { path }) => {
                bail!("the folder of the key file {} does not exist", path.display())
            }
            created => created?,
        },
        KeyCommand::Show => file.load(origin)?,
        KeyCommand::Adopt { file, verifier } => {
            return Ok(Some(Adoption {
                reads,
                file,
                verifier,
            }));
        }
    };
    print(&key.verifier().to_string())?;
    Ok(None)
}

/// Runs `adopt`.
pub(super) async fn adopt(
    settings: &Settings,
    database: &Database,
    adoption: &Adoption,
) -> anyhow::Result<()> {
    let (file, origin) = key(settings, adoption.reads)?;
    let verifier: VerifierKey = match &adoption.verifier {
        Some(verifier) => verifier.parse().context("--verifier")?,
        None => file.load(origin)?.verifier().clone(),
    };
    if verifier.name() != origin {
        bail!(
            "the verifier key has the name {}, but the origin of the log is {origin}",
            verifier.name()
        );
    }
    let checkpoint = &adoption.file;
    let cannot = || format!("{} is not a checkpoint", checkpoint.display());
    let length = std::fs::metadata(checkpoint).with_context(cannot)?.len();
    if length > MAX_NOTE_LEN as u64 {
        bail!("{} is too large for a checkpoint", checkpoint.display());
    }
    let note = std::fs::read(checkpoint).with_context(cannot)?;
    let signed = SignedCheckpoint::parse(&note).with_context(cannot)?;
    let state = file.state();
    let size = if adoption.reads {
        let log = ReadHeadsLog::new(database.clone(), SystemClock::shared());
        tlog::adopt(&log, &verifier, &state, &signed).await?
    } else {
        let log = EventLog::new(database.clone());
        tlog::adopt(&log, &verifier, &state, &signed).await?
    };
    print(&format!(
        "{}: the last signed checkpoint has the size {size}",
        state.path().display()
    ))
}
