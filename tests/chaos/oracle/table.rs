//! Checks that the read table equals a replay of the log, and that no two active patients share an email
//! address.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::Objections;
use super::chain::hex;
use super::history::{History, Version};
use crate::evidence::Evidence;

pub(super) fn objections(evidence: &Evidence, history: &History) -> Objections {
    let mut objections = Vec::new();
    let rows: BTreeMap<_, _> = evidence.rows.iter().map(|row| (row.id, row)).collect();
    if rows.len() != evidence.rows.len() {
        objections.push("the table has a patient twice".to_owned());
    }
    for (id, patient) in &history.patients {
        let row = rows.get(id);
        let fits = match row {
            None => patient.deleted <= history.head,
            Some(row) => {
                let last = patient.versions.last();
                patient.deleted > history.head
                    && last.is_some_and(|last| row.details == last.details && row.sequence == last.sequence)
                    && row.registered_at == patient.registered_at
            }
        };
        if !fits {
            objections.push(format!("the table has {row:?} for {patient:?}"));
        }
    }
    for id in rows.keys().filter(|id| !history.patients.contains_key(id)) {
        objections.push(format!("the table has {id}, who was never registered"));
    }
    objections
}

/// Checks that two active patients share an email address at no position, and that the claims are those of
/// the active patients.
pub(super) fn objections_to_emails(evidence: &Evidence, history: &History) -> Objections {
    let mut objections = shared_emails(history);
    let active = history
        .patients
        .iter()
        .filter(|(_, patient)| patient.deleted > history.head);
    let expected: BTreeSet<_> = active
        .filter_map(|(id, patient)| {
            let email = patient.versions.last()?.details.email.to_lowercase();
            Some((hex(&evidence.keyring.claim(&email)), *id))
        })
        .collect();
    let claims: BTreeSet<_> = evidence
        .claims
        .iter()
        .map(|claim| (claim.claim.to_lowercase(), claim.aggregate_id))
        .collect();
    for (claim, id) in expected.symmetric_difference(&claims) {
        objections.push(format!(
            "the claim {claim} of {id} is there or not against the log"
        ));
    }
    objections
}

/// Finds versions that have the email address of another active patient.
fn shared_emails(history: &History) -> Objections {
    let mut objections = Vec::new();
    for versions in history.holders.values() {
        let mut versions: Vec<_> = versions.iter().collect();
        versions.sort_unstable_by_key(|(_, version)| version.position);
        let mut last: Option<&(Uuid, Version)> = None;
        for held in versions {
            let (id, version) = held;
            if let Some((holder, earlier)) = last
                && holder != id
                && earlier.end > version.position
            {
                objections.push(format!(
                    "position {}: {id} takes the email of {holder}",
                    version.position
                ));
            }
            last = Some(held);
        }
    }
    objections
}
