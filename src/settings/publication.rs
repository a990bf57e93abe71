//! The settings of the published log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tlog::WitnessAddress;
use transparency::policy::Policy;

use super::file;
use super::list::List;
use super::values::{Optional, checkpoint_interval, log_origin, optional, path, witnesses};

/// The published log: signed checkpoints, tiles and proofs.
#[derive(Debug, Clone, Args)]
pub(crate) struct PublicationSettings {
    /// Origin of the published log: its name in checkpoints, such as `log.hospital.example/patients`. If set,
    /// the API serves checkpoints, tiles and proofs without authentication. 1 to 200 visible ASCII
    /// characters, without `+`
    #[arg(long, env, global = true, value_parser = log_origin)]
    log_origin: Option<String>,

    /// File with the private key that signs checkpoints, as written by `patients audit key new`, readable
    /// only by its user. `serve` and `projector` sign checkpoints if it is set. The state of
    /// the signer is in the same folder
    #[arg(long, env, global = true, hide_env_values = true, value_parser = path)]
    log_key_file: Option<PathBuf>,

    /// Origin of the published log of the record of reads, such as `log.hospital.example/reads`. If set, the
    /// API serves its checkpoints, tiles and proofs without authentication. 1 to 200 visible ASCII
    /// characters, without `+`
    #[arg(long, env, global = true, value_parser = log_origin)]
    reads_log_origin: Option<String>,

    /// File with the private key that signs checkpoints of the record of reads, as written by
    /// `patients audit key --reads new`, readable only by its user. `serve` and `projector` sign
    /// checkpoints if it is set. The state of the signer is in the same folder
    #[arg(long, env, global = true, hide_env_values = true, value_parser = path)]
    reads_log_key_file: Option<PathBuf>,

    /// Interval at which a checkpoint is signed if the log has grown, 100ms to 24h
    #[arg(long, env, global = true, default_value = "1m", value_parser = checkpoint_interval)]
    pub(crate) checkpoint_interval: Duration,

    /// Witnesses that are asked to cosign each checkpoint, separated by commas or spaces:
    /// `KEY=URL`, with the verifier key of the witness and the URL below which it answers
    #[arg(long, env, global = true, value_parser = witnesses)]
    witnesses: Option<List<WitnessAddress>>,

    /// Number of witnesses that must have cosigned a checkpoint before proofs refer to it. Default: more than
    /// half of the witnesses
    #[arg(long, env, global = true, value_parser = optional::<usize>)]
    witness_quorum: Option<Optional<usize>>,
}

impl PublicationSettings {
    /// Returns the origin of the published log, if it is set.
    pub(crate) fn log_origin(&self) -> Option<&str> {
        self.log_origin.as_deref().filter(|origin| !origin.is_empty())
    }

    /// Returns the origin of the published log of the record of reads, if it is set.
    pub(crate) fn reads_log_origin(&self) -> Option<&str> {
        self.reads_log_origin
            .as_deref()
            .filter(|origin| !origin.is_empty())
    }

    /// Returns the file of the key that signs checkpoints of the record of reads, if it is set.
    pub(crate) fn reads_log_key_file(&self) -> Option<&Path> {
        file(self.reads_log_key_file.as_deref())
    }

    /// Returns the witnesses.
    pub(crate) fn witnesses(&self) -> &[WitnessAddress] {
        self.witnesses
            .as_ref()
            .map_or(&[], |List(witnesses)| witnesses.as_slice())
    }

    /// Returns the number of witnesses that must have cosigned a checkpoint.
    pub(crate) fn witness_quorum(&self) -> usize {
        let set = self.witness_quorum.as_ref().and_then(|set| set.0);
        let keys = self.witnesses().iter().map(WitnessAddress::key);
        set.unwrap_or_else(|| Policy::majority(keys))
    }

    /// Returns the file of the key that signs checkpoints, if it is set.
    pub(crate) fn log_key_file(&self) -> Option<&Path> {
        file(self.log_key_file.as_deref())
    }
}
