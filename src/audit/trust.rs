//! Which signed checkpoints an auditor trusts: `--key`, `--witness` and `--quorum`.

use anyhow::Context;
use clap::Args;
use transparency::note::VerifierKey;
use transparency::policy::Policy;

/// The keys that an auditor trusts.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct TrustArguments {
    /// Verifier key of the log; its name is the origin of the log. Can be repeated if the key was replaced
    #[arg(long, value_name = "VKEY", required = true)]
    key: Vec<VerifierKey>,
    #[command(flatten)]
    witnesses: WitnessArguments,
}

/// The witnesses that an auditor trusts.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct WitnessArguments {
    /// Verifier key of a witness; can be repeated
    #[arg(long, value_name = "VKEY")]
    witness: Vec<VerifierKey>,
    /// Number of witnesses that must have cosigned; default: more than half of them
    #[arg(long, value_name = "N")]
    quorum: Option<usize>,
}

impl TrustArguments {
    /// Returns the policy.
    pub(super) fn policy(&self) -> anyhow::Result<Policy> {
        self.witnesses.policy(&self.key)
    }
}

impl WitnessArguments {
    /// Returns the policy for the log with these keys.
    pub(super) fn policy(&self, keys: &[VerifierKey]) -> anyhow::Result<Policy> {
        let origin = keys.first().context("--key is required")?.name();
        if let Some(other) = keys.iter().find(|key| key.name() != origin) {
            anyhow::bail!("--key {other}: all keys of a log have the same name, here {origin}");
        }
        let quorum = self.quorum.unwrap_or_else(|| Policy::majority(&self.witness));
        let policy = Policy::new(origin, keys.to_vec(), self.witness.clone(), quorum);
        policy.context("these keys cannot be used together")
    }
}
