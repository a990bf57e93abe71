//! The report of a run, as readable text, as a row of the table in docs/reliability.md, and as JSON.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::evidence::{Evidence, Usage};
use crate::oracle::{Anomaly, copies};
use crate::plan::Plan;
use crate::record::{Answer, Request};

/// Maximum number of violations printed for each claim.
const PRINTED: usize = 8;

/// The counts of one run.
pub(crate) struct Report {
    json: Value,
    row: String,
    anomalies: Vec<Anomaly>,
}

impl Report {
    pub(crate) fn new(
        seed: u64,
        time: Duration,
        database: &str,
        plan: &Plan,
        evidence: &Evidence,
        anomalies: &[Anomaly],
    ) -> Self {
        let mut faults: BTreeMap<String, usize> = BTreeMap::new();
        for fault in &plan.faults {
            *faults.entry(fault.name()).or_default() += 1;
        }
        let answers = answers(evidence);
        let most = |of: fn(&Usage) -> u64| evidence.after.iter().map(of).max().unwrap_or_default();
        let requests = evidence.observations.len();
        let open = evidence
            .observations
            .iter()
            .filter(|seen| seen.answer.is_open())
            .count();
        let erasures = evidence.log.iter().filter(|event| event.erases()).count();
        let recovered = evidence.recovered_after;
        let json = json!({
            "seed": seed,
            "seconds": time.as_secs(),
            "database": database,
            "faults": faults,
            "requests": requests,
            "answers": answers,
            "open": open,
            "events": evidence.log.len(),
            "erasures": erasures,
            "mails": evidence.mails.len(),
            "mails_more_than_once": copies(evidence),
            "recovered_after_seconds": recovered,
            "memory_mib": most(|usage| usage.memory >> 20),
            "descriptors": most(|usage| usage.descriptors as u64),
            "anomalies": anomalies.iter().map(|anomaly| format!("{}: {}", anomaly.claim, anomaly.what)).collect::<Vec<_>>(),
        });
        let row = format!(
            "| {seed} | {} s | {} | {requests} | {open} | {} | {erasures} | {} | {} | {} | {} |",
            time.as_secs(),
            plan.faults.len(),
            evidence.log.len(),
            evidence.mails.len(),
            copies(evidence),
            recovered.map_or("never".to_owned(), |seconds| format!("{seconds:.1} s")),
            anomalies.len(),
        );
        Self {
            json,
            row,
            anomalies: anomalies.to_vec(),
        }
    }

    pub(crate) fn is_fine(&self) -> bool {
        self.anomalies.is_empty()
    }

    pub(crate) fn print(&self) {
        let mut printed: BTreeMap<&str, usize> = BTreeMap::new();
        for Anomaly { claim, what } in &self.anomalies {
            let count = printed.entry(claim).or_default();
            *count += 1;
            if *count <= PRINTED {
                println!("ANOMALY {claim}: {what}");
            }
        }
        println!("{}", self.json);
        println!(
            "| seed | time | faults | requests | outcome unknown | events | erasures | emails | duplicates | recovered after | anomalies |"
        );
        println!("{}", self.row);
    }

    /// Appends the run as a line to the file that `CHAOS_JSON` names. After a violation, also writes the
    /// roles' logs next to that file.
    pub(crate) fn keep(&self, logs: &str) {
        let Ok(path) = std::env::var("CHAOS_JSON") else {
            return;
        };
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        writeln!(file, "{}", self.json).unwrap();
        if !self.is_fine() {
            std::fs::write(format!("{path}.{}.log", self.json["seed"]), logs).unwrap();
        }
    }
}

/// Counts the responses of each kind for each kind of request.
fn answers(evidence: &Evidence) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for observation in &evidence.observations {
        let request = match &observation.request {
            Request::Register { key: None, .. } => "register",
            Request::Register { key: Some(_), .. } => "register with a key",
            Request::Amend { key: None, .. } => "amend",
            Request::Amend { key: Some(_), .. } => "amend with a key",
            Request::Delete { .. } => "delete",
            Request::Erase { .. } => "erase",
            Request::Read { .. } => "read",
            Request::List { .. } => "list",
        };
        let answer = match &observation.answer {
            Answer::Registered { .. } => "201".to_owned(),
            Answer::Deleted { .. } => "204".to_owned(),
            Answer::Erased { complete: false, .. } => "202".to_owned(),
            Answer::Amended { .. }
            | Answer::Erased { complete: true, .. }
            | Answer::Patient { .. }
            | Answer::Page(_) => "200".to_owned(),
            Answer::Problem { status, slug } => format!("{status} {slug}"),
            Answer::Nothing => "none".to_owned(),
            Answer::Nonsense(_) => "nonsense".to_owned(),
        };
        *answers.entry(format!("{request}: {answer}")).or_default() += 1;
    }
    answers
}
