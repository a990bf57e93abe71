//! `patients erase --certificate`, and the output of `patients audit check` about certificates.

use std::path::PathBuf;

use anyhow::bail;
use api::erasure::{self, Certificate, CertificateError};
use eventstore::{Database, EventLog, SystemClock};
use uuid::Uuid;

use super::history::plain;
use super::prove;
use super::recorder::Recorder;
use super::{ProofFormat, tlog_proof};
use crate::exit_code::LeftInClear;
use crate::output::print;
use crate::progress::Progress;

/// Writes the certificate of a patient's erasure, or the proof of the erasure in the published log with this
/// origin.
pub(crate) async fn certify(
    database: &Database,
    origin: Option<&str>,
    id: Uuid,
    format: ProofFormat,
    output: Option<PathBuf>,
) -> anyhow::Result<()> {
    let log = EventLog::new(database.clone());
    let Some(erasure) = erasure::find(&log, id).await? else {
        bail!("the patient was not erased, or no patient has this id");
    };
    let status = erasure.status(&log).await?;
    if format == ProofFormat::TlogProof {
        match Certificate::destroyed_at(&log, &status).await {
            Err(CertificateError::Partial(positions)) => bail!(LeftInClear::Events(positions.len())),
            destroyed => destroyed?,
        };
        let recorder = Recorder::start(database);
        let name = |_| format!("erasure-{id}.tlog-proof");
        let proved = tlog_proof::prove_event(&log, &recorder, origin, status.position, output, name).await;
        recorder.finish().await;
        return proved;
    }
    let all = log.head().await?.position.get();
    let mut progress = Progress::start("events", 0, all, false);
    let at = |position: eventstore::Position| progress.at(position.get(), all);
    let made = Certificate::make(&log, &SystemClock, &status, at).await;
    progress.end();
    let certificate = match made {
        Err(CertificateError::Partial(positions)) => bail!(LeftInClear::Events(positions.len())),
        made => made?,
    };
    let recorder = Recorder::start(database);
    let outcome = prove::record(&recorder, &certificate.proof).await;
    recorder.finish().await;
    outcome?;
    let name = || PathBuf::from(format!("erasure-{id}.certificate.json"));
    if let Some(path) = prove::write(&certificate, output, name)? {
        let (claim, attested) = (claim(&certificate), attested(&certificate));
        print(&format!("{} proves:\n{claim}\n{attested}", path.display()))?;
    }
    Ok(())
}

/// Describes what the proof in a certificate claims.
pub(super) fn claim(certificate: &Certificate) -> String {
    let Certificate {
        attestation, proof, ..
    } = certificate;
    let (reason, scope) = (
        plain(&attestation.reason.as_str().into()),
        plain(&attestation.scope.as_str().into()),
    );
    let claim = prove::claim(proof);
    format!("{claim}\nthe event records an erasure with the reason {reason} and the scope {scope}")
}

/// Describes what the service attests.
pub(super) fn attested(certificate: &Certificate) -> String {
    let attestation = &certificate.attestation;
    format!(
        "attested by the service, not proved:\n\
         the data key was destroyed at {}\n\
         these stores had no data of the patient at {}: {}",
        attestation.key_destroyed_at,
        attestation.attested_at,
        plain(&attestation.checked_stores.join(", ").into())
    )
}
