//! Proofs of the format tlog-proof: `patients audit prove --format tlog-proof`, and their check.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use api::read_log::{ReadKind, ReadOutcome};
use chrono::DateTime;
use clap::Args;
use eventstore::{EventLog, Hash, Position};
use serde_json::json;
use tlog::{ProvedEvent, PublishedLog, stated_hash};
use transparency::note::VerifierKey;
use transparency::policy::Policy;
use transparency::proof::TlogProof;

use super::file::PartFile;
use super::prove::event_line;
use super::recorder::{ReadRange, Recorder};
use super::trust::WitnessArguments;
use crate::exit_code::{NoAnswer, NothingTrusted};
use crate::output::{print, print_json};

/// First line of a proof.
const HEADER: &[u8] = b"c2sp.org/tlog-proof@v1\n";

/// What a proof is checked with.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct ProofTrust {
    /// Verifier key of the log, for a tlog-proof. Can be repeated if the key was replaced
    #[arg(long, value_name = "VKEY")]
    key: Vec<VerifierKey>,
    #[command(flatten)]
    witnesses: WitnessArguments,
    /// Hash of the event, for a tlog-proof without the event
    #[arg(long, value_name = "HASH")]
    hash: Option<Hash>,
}

impl ProofTrust {
    /// Whether an argument applies to a tlog-proof only.
    pub(super) fn is_given(&self) -> bool {
        !self.key.is_empty() || self.hash.is_some()
    }
}

/// Whether the content of a file is a tlog-proof.
pub(super) fn is_tlog_proof(content: &[u8]) -> bool {
    content.starts_with(HEADER)
}

/// Writes a proof of the event at a position.
pub(super) async fn prove(
    log: &EventLog,
    recorder: &Recorder,
    origin: Option<&str>,
    position: Option<u64>,
    output: Option<PathBuf>,
) -> anyhow::Result<()> {
    let position = position.context("a tlog-proof proves an event: pass its position")?;
    let position = Position::new(position).context("the position is too large")?;
    let name = |size| format!("event-{position}-of-{size}.tlog-proof");
    prove_event(log, recorder, origin, position, output, name).await
}

/// Writes a proof of an event to a file. `name` returns the default name of the file, for the size of the
/// log.
pub(super) async fn prove_event(
    log: &EventLog,
    recorder: &Recorder,
    origin: Option<&str>,
    position: Position,
    output: Option<PathBuf>,
    name: impl FnOnce(u64) -> String,
) -> anyhow::Result<()> {
    let origin = origin.context("LOG_ORIGIN is not set")?;
    let published = PublishedLog::new(log.database(), origin.to_owned());
    let proof = published.prove_event(log, position).await?;
    let proved = ProvedEvent::of(&proof)?.context("the proof has no event")?;
    let range = ReadRange {
        patient: proved.event.aggregate_id.parse().ok(),
        after: Some(position.get().saturating_sub(1)),
        to: Some(position.get()),
    };
    recorder
        .record(ReadKind::Proof, ReadOutcome::Given, range)
        .await?;
    let text = proof.to_string();
    if output.as_deref() == Some(Path::new("-")) {
        return print(&text);
    }
    let size = proof.checkpoint().checkpoint().size();
    let path = output.unwrap_or_else(|| PathBuf::from(name(size)));
    PartFile::write(&path, text.as_bytes())?;
    print(&format!(
        "{} proves:\n{}",
        path.display(),
        claim(&proof, Some(&proved), None)
    ))
}

/// Checks a proof with the keys that the caller trusts.
pub(super) fn check(path: &Path, content: &[u8], trust: &ProofTrust, as_json: bool) -> anyhow::Result<()> {
    let proof = TlogProof::parse(content).with_context(|| format!("{} is not a proof", path.display()));
    let proof = proof.context(NoAnswer)?;
    let proved = ProvedEvent::of(&proof);
    let policy = match trust.key.as_slice() {
        [] => None,
        keys => Some(trust.witnesses.policy(keys)?),
    };
    let checked = proved
        .as_ref()
        .map_err(|error| anyhow::anyhow!(error.to_string()))
        .and_then(|proved| verify(&proof, proved.as_ref(), trust.hash, policy.as_ref()));
    let proved = proved.ok().flatten();
    let hash = proved.as_ref().map(|proved| proved.event.hash).or(trust.hash);
    let stated = stated_hash(&proof);
    let tree = proof.checkpoint().checkpoint();
    if as_json {
        let cosigned = checked.as_ref().map(Vec::as_slice).unwrap_or_default();
        print_json(&json!({
            "consistent": checked.is_ok(),
            "proved": checked.is_ok() && policy.is_some(),
            "message": checked.as_ref().err().map(ToString::to_string),
            "origin": tree.origin(),
            "tree": {"size": tree.size(), "root": Hash(tree.root().0)},
            "position": proof.index() + 1,
            "hash": hash.or(stated),
            "event": proved.as_ref().map(|proved| &proved.event),
            "cosigned": cosigned.iter().map(|(name, time)| json!({"witness": name, "at": time})).collect::<Vec<_>>(),
        }))?;
    } else if let Ok(cosigned) = &checked {
        let said = if policy.is_some() {
            "proved:"
        } else {
            "consistent, but no key confirms that this log is genuine:"
        };
        let mut lines = vec![said.to_owned(), claim(&proof, proved.as_ref(), hash.or(stated))];
        if hash.is_none() {
            lines.push("the file states the hash: compare it with the hash of your event".to_owned());
        }
        lines.extend(
            cosigned
                .iter()
                .map(|(name, time)| format!("cosigned by {name} at {time}")),
        );
        print(&lines.join("\n"))?;
    }
    checked.with_context(|| format!("{} does not prove its claim", path.display()))?;
    if policy.is_none() {
        bail!(NothingTrusted);
    }
    Ok(())
}

/// Verifies a proof. Returns the witnesses that have cosigned, with the times of their cosignatures.
fn verify(
    proof: &TlogProof,
    proved: Option<&ProvedEvent>,
    hash: Option<Hash>,
    policy: Option<&Policy>,
) -> anyhow::Result<Vec<(String, String)>> {
    let contained = proved.map(|proved| proved.event.hash).or(stated_hash(proof));
    let hash = match (contained, hash) {
        (Some(event), Some(hash)) if event != hash => bail!("the event has another hash than --hash"),
        (Some(hash), _) | (None, Some(hash)) => hash,
        (None, None) => bail!("it does not contain the event: pass the hash of the event with --hash"),
    };
    let leaf = transparency::Hash::leaf(&hash.0);
    let Some(policy) = policy else {
        let tree = proof.checkpoint().checkpoint();
        let (size, root) = (tree.size(), tree.root());
        transparency::tree::verify_inclusion(proof.path(), proof.index(), &leaf, size, &root)?;
        return Ok(Vec::new());
    };
    let verified = proof.verify(&leaf, policy)?;
    let cosigned = verified.into_iter().filter_map(|signature| {
        let seconds = i64::try_from(signature.timestamp?).ok()?;
        let time = DateTime::from_timestamp(seconds, 0)?.format("%Y-%m-%dT%H:%M:%SZ");
        Some((signature.key.name().to_owned(), time.to_string()))
    });
    Ok(cosigned.collect())
}

/// Describes what a proof claims, without personal data. `hash` is the hash of an event that the proof does
/// not contain.
fn claim(proof: &TlogProof, proved: Option<&ProvedEvent>, hash: Option<Hash>) -> String {
    let tree = proof.checkpoint().checkpoint();
    let number = proof.index() + 1;
    let event = match (proved, hash) {
        (Some(proved), _) => event_line(&proved.event),
        (None, Some(hash)) => format!("event {number}, with the hash {hash}"),
        (None, None) => format!("event {number}"),
    };
    let root = Hash(tree.root().0);
    format!(
        "{event}\n  is in the log {} {}:{root}",
        tree.origin(),
        tree.size()
    )
}
