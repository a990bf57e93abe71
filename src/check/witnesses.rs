//! Checks the witnesses of `WITNESSES`.
//!
//! The check sends a witness published checkpoints only, and the witness cosigns only a checkpoint that it
//! has cosigned before. The check verifies this cosignature and discards it.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use eventstore::{Clock as _, SystemClock, Timestamp};
use futures::future::join_all;
use reqwest::Client;
use tlog::{MAX_AHEAD, Probe, ProbeError, SendError, SignedCheckpoints, WitnessAddress};

use super::{Finding, Level};
use crate::settings::Settings;
use crate::{database, http, output};

/// Maximum duration of the check of a witness.
const LONGEST: Duration = Duration::from_secs(20);
/// Age of a checkpoint from which a witness should have cosigned it, in seconds. The signer repeats a failed
/// request at least once a minute.
const LATE: i64 = 120;

/// State of a witness, or the reason why it cannot cosign. `None` means that it did not answer in time.
type Probed = Option<Result<Probe, ProbeError>>;

/// Checks the witnesses for each published log.
pub(super) async fn check(settings: &Settings) -> Vec<Finding> {
    let publication = &settings.publication;
    let addresses = publication.witnesses();
    if addresses.is_empty() {
        return Vec::new();
    }
    let subject = "WITNESSES";
    let origins = [
        (publication.log_origin(), ""),
        (publication.reads_log_origin(), " (reads log)"),
    ];
    if origins.iter().all(|(origin, _)| origin.is_none()) {
        return vec![
            Finding::warning(subject, "not used, because LOG_ORIGIN is not set").advise("set LOG_ORIGIN"),
        ];
    }
    let client = match tlog::client(http::client()) {
        Ok(client) => client,
        Err(error) => {
            return vec![
                Finding::error(subject, output::causes(&error.into()))
                    .advise("repair the TLS certificates of this machine"),
            ];
        }
    };
    let Ok(database) = database::open_existing(settings, 1).await else {
        return vec![
            Finding::warning(subject, "not checked, because the database cannot be used")
                .advise("correct the problems of the database first"),
        ];
    };
    let mut findings = Vec::new();
    for (origin, suffix) in origins {
        let Some(origin) = origin else { continue };
        let checkpoints = SignedCheckpoints::new(database.clone(), origin.to_owned());
        findings.extend(of_log(settings, &client, &checkpoints, suffix).await);
    }
    database.close().await;
    findings
}

/// Checks the witnesses of a log. `suffix` names the log in the subjects.
async fn of_log(
    settings: &Settings,
    client: &Client,
    checkpoints: &SignedCheckpoints,
    suffix: &str,
) -> Vec<Finding> {
    if let Err(error) = checkpoints.newest().await {
        // Not every role may read the checkpoints.
        return vec![
            Finding::warning(&format!("WITNESSES{suffix}"), format!("not checked: {error}"))
                .advise("repeat the check with the settings of the process that signs checkpoints"),
        ];
    }
    let publication = &settings.publication;
    let probes = publication.witnesses().iter().map(async |address| {
        let probing = address.probe(client, checkpoints);
        (address, tokio::time::timeout(LONGEST, probing).await.ok())
    });
    let results = join_all(probes).await;
    let now = SystemClock.now();
    let judged = results.iter().map(|(address, probed)| {
        let subject = format!("witness {}{suffix}", address.key().name());
        judge(&subject, probed, now)
    });
    let mut findings: Vec<_> = judged.collect();
    let subject = format!("WITNESS_QUORUM{suffix}");
    findings.extend(quorum(&subject, publication.witness_quorum(), &results));
    findings
}

/// Judges a witness.
fn judge(subject: &str, probed: &Probed, now: Timestamp) -> Finding {
    let probe = match probed {
        None => {
            let message = format!("has not answered within {} s", LONGEST.as_secs());
            return Finding::warning(subject, message).advise(UNREACHABLE);
        }
        Some(Err(error)) => return failed(subject, error),
        Some(Ok(probe)) => probe,
    };
    match probe {
        Probe::NoCheckpoint => Finding::warning(
            subject,
            "answers; nothing else was checked, because the log has no checkpoint",
        )
        .advise("repeat the check after the first checkpoint"),
        Probe::Nothing => Finding::warning(subject, "knows the log, but has cosigned no checkpoint").advise(
            "start the process that signs checkpoints with this WITNESSES, or read why in its log",
        ),
        Probe::NotStored { size } => Finding::warning(
            subject,
            format!(
                "has cosigned {size} events; its key was not verified, because the checkpoint of this size is \
                 not in the database"
            ),
        )
        .advise("repeat the check after the next checkpoint"),
        Probe::Cosigned { size, time, newest } => {
            let now = now.as_micros() / 1_000_000;
            let ahead = i64::try_from(*time).unwrap_or(i64::MAX).saturating_sub(now);
            let most = i64::try_from(MAX_AHEAD).unwrap_or(i64::MAX);
            if ahead > most {
                return Finding::error(subject, format!("its clock is {ahead} s ahead"))
                    .advise("correct the clocks: cosignatures from the future are rejected");
            }
            if ahead < -most {
                return Finding::warning(subject, format!("its clock is {} s behind", ahead.abs()))
                    .advise("correct the clocks: monitors report a log as silent if its cosignatures are old");
            }
            if *size == newest.size {
                let message = format!("cosigns the newest checkpoint, of {size} events");
                return Finding::ok(subject, message);
            }
            let message = format!(
                "has cosigned {size} events, and the newest checkpoint has {}",
                newest.size
            );
            if now.saturating_sub(newest.signed_at.as_micros() / 1_000_000) < LATE {
                return Finding::ok(subject, message);
            }
            Finding::warning(subject, message)
                .advise("read the log of the process that signs checkpoints: it asks the witness every minute")
        }
    }
}

const UNREACHABLE: &str = "start the witness, or correct its URL in WITNESSES";

/// Returns the finding about a witness that cannot cosign.
fn failed(subject: &str, error: &ProbeError) -> Finding {
    let (level, advice) = match error {
        // One witness that is down delays nothing.
        ProbeError::Send(SendError::Http(_)) => (Level::Warning, UNREACHABLE),
        ProbeError::Send(_) | ProbeError::Status(_) => (
            Level::Error,
            "correct its URL in WITNESSES, or read the log of the witness: docs/audit.md, Witnesses",
        ),
        ProbeError::Unknown(_) | ProbeError::Key(_) => (
            Level::Error,
            "start the witness with the verifier key of the log: `patients audit key show` or `key --reads show`",
        ),
        ProbeError::Cosignature(_) => (
            Level::Error,
            "correct the key in WITNESSES: `patients witness key show` prints it",
        ),
        ProbeError::Inconsistent(_) => (
            Level::Error,
            "compare the checkpoints of the witness and of the log: docs/audit.md, Witnesses",
        ),
        ProbeError::Ahead { .. } => (
            Level::Error,
            "check that DATABASE_URL is the newest database of the log, and that one process signs checkpoints",
        ),
        ProbeError::Tlog(_) => (Level::Error, "correct the problems of the database first"),
        _ => (Level::Warning, "repeat the check"),
    };
    Finding::new(level, subject, error.to_string()).advise(advice)
}

/// Judges whether enough witnesses can cosign.
fn quorum(subject: &str, quorum: usize, probed: &[(&WitnessAddress, Probed)]) -> Option<Finding> {
    let has_checkpoint = |probed: &Probed| !matches!(probed, Some(Ok(Probe::NoCheckpoint)));
    if !probed.iter().all(|(_, probed)| has_checkpoint(probed)) {
        return None;
    }
    let cosigns = |probed: &Probed| matches!(probed, Some(Ok(Probe::Cosigned { .. })));
    let names = |only_cosigning: bool| {
        let names = probed
            .iter()
            .filter(|(_, probed)| !only_cosigning || cosigns(probed));
        // A witness with two keys counts once.
        names
            .map(|(address, _)| address.key().name())
            .collect::<BTreeSet<_>>()
            .len()
    };
    let message = format!(
        "{} of {} witnesses cosign; the quorum is {quorum}",
        names(true),
        names(false)
    );
    Some(if names(true) >= quorum {
        Finding::ok(subject, message)
    } else {
        Finding::error(subject, message)
            .advise("correct the witnesses: until enough of them cosign, new events have no proofs")
    })
}
