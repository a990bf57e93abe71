//! `patients audit prove` and `patients audit check`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use api::erasure::Certificate;
use api::read_log::{ReadKind, ReadOutcome};
use eventstore::proof::{Consistency, Inclusion, Meets, Request, Tree};
use eventstore::{EventLog, Position, Proof, RecordedEvent, Trusted, prove};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::certificate;
use super::file::PartFile;
use super::recorder::{ReadRange, Recorder};
use super::tlog_proof::{self, ProofTrust};
use crate::exit_code::{NoAnswer, NothingTrusted};
use crate::output::{print, print_json};
use crate::progress::Progress;

/// Maximum size of a proof or certificate file, in bytes. An event and two paths are smaller.
const LONGEST: u64 = 4 * 1024 * 1024;

/// A request for a proof.
pub(super) struct Prove(Request);

impl Prove {
    pub(super) fn new(position: Option<u64>, from: Option<u64>, to: Option<u64>) -> anyhow::Result<Self> {
        let number = |number: Option<u64>| {
            let position = number.map(|number| Position::new(number).context("the position is too large"));
            position.transpose()
        };
        Ok(Self(Request {
            event: number(position)?,
            from: number(from)?,
            tree: number(to)?,
        }))
    }

    pub(super) async fn run(
        self,
        log: &EventLog,
        recorder: &Recorder,
        output: Option<PathBuf>,
    ) -> anyhow::Result<()> {
        let all = match self.0.tree {
            Some(position) => position.get(),
            None => log.head().await?.position.get(),
        };
        let mut progress = Progress::start("events", 0, all, false);
        let proof = prove(log, self.0, |position| progress.at(position.get(), all)).await;
        progress.end();
        let proof = proof?;
        record(recorder, &proof).await?;
        match write(&proof, output, || name(&proof))? {
            Some(path) => print(&format!("{} proves:\n{}", path.display(), claim(&proof))),
            None => Ok(()),
        }
    }
}

/// Records that the event in a proof is read.
pub(super) async fn record(recorder: &Recorder, proof: &Proof) -> anyhow::Result<()> {
    let Some(Inclusion { event, .. }) = &proof.inclusion else {
        return Ok(());
    };
    let position = event.position.get();
    let range = ReadRange {
        patient: event.aggregate_id.parse().ok(),
        after: Some(position.saturating_sub(1)),
        to: Some(position),
    };
    recorder.record(ReadKind::Proof, ReadOutcome::Given, range).await
}

/// Writes a proof or a certificate to a file, by default with this name, and returns the path of the file.
/// Returns `None` if the output is standard output.
pub(super) fn write(
    proof: &impl Serialize,
    output: Option<PathBuf>,
    name: impl FnOnce() -> PathBuf,
) -> anyhow::Result<Option<PathBuf>> {
    let mut text = serde_json::to_string_pretty(proof)?;
    if output.as_deref() == Some(Path::new("-")) {
        return print(&text).map(|()| None);
    }
    text.push('\n');
    let path = output.unwrap_or_else(name);
    PartFile::write(&path, text.as_bytes())?;
    Ok(Some(path))
}

/// Returns the default file name of a proof.
fn name(proof: &Proof) -> PathBuf {
    let size = proof.tree.size;
    let name = match (&proof.inclusion, &proof.consistency) {
        (Some(inclusion), _) => format!("event-{}-of-{size}", inclusion.event.position),
        (None, Some(earlier)) => format!("log-{}-to-{size}", earlier.size),
        (None, None) => format!("log-{size}"),
    };
    PathBuf::from(name + ".proof.json")
}

/// Describes what a proof claims, without personal data. A log is identified by its head, in the format of
/// `--trusted`.
pub(super) fn claim(proof: &Proof) -> String {
    let Tree { size, root } = &proof.tree;
    let mut claims = Vec::new();
    if let Some(Inclusion { event, .. }) = &proof.inclusion {
        claims.push(format!("{}\n  is in the log {size}:{root}", event_line(event)));
    }
    if let Some(earlier) = &proof.consistency {
        let Consistency {
            size: old,
            root: old_root,
            ..
        } = earlier;
        claims.push(format!("the log {size}:{root}\n  extends {old}:{old_root}"));
    }
    claims.join("\n")
}

/// Describes an event, without personal data.
pub(super) fn event_line(event: &RecordedEvent) -> String {
    format!(
        "event {} ({} of {} {}, recorded at {})",
        event.position, event.event_type, event.aggregate_type, event.aggregate_id, event.recorded_at
    )
}

/// A file that `patients audit check` checks.
enum Checked {
    Proof(Proof),
    Certificate(Certificate),
}

impl Checked {
    fn proof(&self) -> &Proof {
        match self {
            Self::Proof(proof) => proof,
            Self::Certificate(certificate) => &certificate.proof,
        }
    }

    const fn certificate(&self) -> Option<&Certificate> {
        match self {
            Self::Proof(_) => None,
            Self::Certificate(certificate) => Some(certificate),
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        match self {
            Self::Proof(proof) => Ok(proof.check()?),
            Self::Certificate(certificate) => Ok(certificate.check()?),
        }
    }
}

/// Checks a proof or a certificate against the trusted heads. Without a trusted head nothing is proved,
/// because anyone can build a tree around an event.
pub(super) fn check(path: &Path, trusted: &[Trusted], trust: &ProofTrust, json: bool) -> anyhow::Result<()> {
    let content = content(path).context(NoAnswer)?;
    if tlog_proof::is_tlog_proof(&content) {
        if !trusted.is_empty() {
            bail!("--trusted does not apply to a tlog-proof: pass the verifier key of the log with --key");
        }
        return tlog_proof::check(path, &content, trust, json);
    }
    if trust.is_given() {
        bail!("--key and --hash apply to a tlog-proof only: pass a kept head with --trusted");
    }
    let checked = parse(path, &content).context(NoAnswer)?;
    let (proof, certificate) = (checked.proof(), checked.certificate());
    let valid = checked.check();
    let consistent = valid.is_ok();
    let outcome = valid.and_then(|()| trusted.iter().try_for_each(|trusted| meet(proof, trusted)));
    let known = Known::of(proof, trusted);
    if json {
        print_json(&json!({
            "consistent": consistent,
            "proved": outcome.is_ok() && known.tree,
            "message": outcome.as_ref().err().map(ToString::to_string),
            "trusted": outcome.is_ok() && known.head,
            "event_trusted": outcome.is_ok() && known.event,
            "tree": proof.tree,
            "from": proof.consistency.as_ref().map(|earlier| json!({"size": earlier.size, "root": earlier.root})),
            "event": proof.inclusion.as_ref().map(|inclusion| &inclusion.event),
            "attestation": certificate.map(|certificate| &certificate.attestation),
        }))?;
    } else if outcome.is_ok() {
        let claim = certificate.map_or_else(|| claim(proof), certificate::claim);
        let said = known.said(proof, &claim);
        let attested = certificate.map(certificate::attested);
        print(
            &[Some(said), attested]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("\n"),
        )?;
    }
    outcome.with_context(|| format!("{} does not prove its claim", path.display()))?;
    if trusted.is_empty() {
        bail!(NothingTrusted);
    }
    Ok(())
}

/// The parts of a consistent proof that the trusted heads confirm.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Whether the log is trusted, or the proof claims nothing beyond an earlier log that is trusted.
    tree: bool,
    /// Whether the log or the earlier log is trusted.
    head: bool,
    /// Whether the event is trusted by its own hash, which confirms nothing about the rest of the log.
    event: bool,
}

impl Known {
    fn of(proof: &Proof, trusted: &[Trusted]) -> Self {
        let is = |meets| trusted.iter().any(|trusted| proof.meets(trusted) == meets);
        let (tree, earlier) = (is(Meets::Tree), is(Meets::Earlier));
        let size = proof.consistency.as_ref().map_or(0, |earlier| earlier.size);
        let covers = |inclusion: &Inclusion| inclusion.event.position.get() <= size;
        Self {
            tree: tree || earlier && proof.inclusion.as_ref().is_none_or(covers),
            head: tree || earlier,
            event: is(Meets::Event),
        }
    }

    fn said(self, proof: &Proof, claim: &str) -> String {
        let Tree { size, root } = &proof.tree;
        let compare = format!(
            "compare the head {size}:{root}\nwith one that you kept or received from a trusted source: --trusted {size}:ROOT"
        );
        let mut said = if self.tree {
            format!("proved:\n{claim}")
        } else if self.head {
            format!("proved only if the later log, which extends the trusted head, is genuine:\n{claim}")
        } else {
            format!("consistent, but no trusted head confirms that this log is genuine:\n{claim}")
        };
        if let (true, Some(Inclusion { event, .. })) = (self.event, &proof.inclusion) {
            let known = format!("confirmed: event {} has the trusted hash", event.position);
            said = [said, known].join("\n");
        }
        if !self.tree {
            said = [said, compare].join("\n");
        }
        said
    }
}

/// The member of a file that distinguishes certificates from proofs.
#[derive(Deserialize)]
struct Named {
    format: String,
}

/// Reads a file of at most [`LONGEST`] bytes.
fn content(path: &Path) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("{} cannot be read", path.display());
    let length = std::fs::metadata(path).with_context(cannot)?.len();
    if length > LONGEST {
        bail!("{} is too large for a proof", path.display());
    }
    std::fs::read(path).with_context(cannot)
}

fn parse(path: &Path, content: &[u8]) -> anyhow::Result<Checked> {
    let text = std::str::from_utf8(content).with_context(|| format!("{} is not a proof", path.display()))?;
    let named = serde_json::from_str::<Named>(text);
    if named.is_ok_and(|named| named.format == Certificate::FORMAT) {
        let certificate = serde_json::from_str(text).map(Checked::Certificate);
        return certificate.with_context(|| format!("{} is not a certificate", path.display()));
    }
    let proof = serde_json::from_str(text).map(Checked::Proof);
    proof.with_context(|| format!("{} is not a proof", path.display()))
}

fn meet(proof: &Proof, trusted: &Trusted) -> anyhow::Result<()> {
    let position = trusted.position;
    match proof.meets(trusted) {
        Meets::Tree | Meets::Earlier | Meets::Event => Ok(()),
        Meets::Contradicts => bail!("it contradicts the trusted head at {position}"),
        Meets::Nothing => bail!(
            "it does not cover the trusted head at {position}; `patients audit prove … --from {position}` does"
        ),
    }
}
