//! Checks that every checkpoint is at the head, that no subscription has stopped, and that no dead process
//! holds a lease.

use super::Objections;
use super::history::History;
use crate::evidence::{Evidence, Lease};

/// The names of all subscriptions.
const SUBSCRIPTIONS: [&str; 4] = ["eraser", "mailer", "patient_names", "patient_view"];
/// The duration of their leases, plus a margin.
const LONGEST: f64 = 5.5;

pub(super) fn objections(evidence: &Evidence, history: &History) -> Objections {
    let mut objections = Vec::new();
    for name in SUBSCRIPTIONS {
        let checkpoint = evidence
            .checkpoints
            .iter()
            .find(|checkpoint| checkpoint.name == name);
        if checkpoint.map(|checkpoint| checkpoint.position) != Some(history.head) {
            objections.push(format!(
                "{name} is at {checkpoint:?}, and the head at {}",
                history.head
            ));
        }
        match evidence.leases.iter().find(|lease| lease.name == name) {
            Some(lease) if is_held(lease, &evidence.running) => {}
            lease => objections.push(format!(
                "the lease of {name}: {lease:?}, running: {:?}",
                evidence.running
            )),
        }
    }
    for name in &evidence.failures {
        objections.push(format!("{name} has a failure noted"));
    }
    objections
}

/// Whether a running process holds the lease, or the lease has expired.
fn is_held(lease: &Lease, running: &[u32]) -> bool {
    let pid = lease.owner.split(':').nth(1).and_then(|pid| pid.parse().ok());
    lease.left <= 0.0 || (lease.left <= LONGEST && pid.is_some_and(|pid| running.contains(&pid)))
}
