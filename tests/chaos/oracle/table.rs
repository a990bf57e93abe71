//! Checks that the read table equals a replay of the log, and that no two active patients share an email
//! address.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use super::Objections;
use super::chain::hex;
use super::history::History;
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
                patient.deleted > history.head
                    && row.details == patient.details
                    && row.sequence == 1
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
    let mut objections = Vec::new();
    let (mut holders, mut emails) = (HashMap::new(), HashMap::new());
    for event in &evidence.log {
        if let Some(details) = event.registers() {
            let email = details.email.to_lowercase();
            if let Some(holder) = holders.insert(email.clone(), &event.aggregate_id) {
                objections.push(format!(
                    "position {}: {} takes the email of {holder}",
                    event.position, event.aggregate_id
                ));
            }
            emails.insert(&event.aggregate_id, email);
        } else if event.deletes()
            && let Some(email) = emails.get(&event.aggregate_id)
        {
            holders.remove(email);
        }
    }
    let active = history
        .patients
        .iter()
        .filter(|(_, patient)| patient.deleted > history.head);
    let expected: BTreeSet<_> = active
        .map(|(id, patient)| (claim(&patient.details.email.to_lowercase()), *id))
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

/// Returns the SHA-256 of the kind, a NUL byte and the value.
pub(super) fn claim(email: &str) -> String {
    hex(&Sha256::digest([b"patient.email\0", email.as_bytes()].concat()))
}
