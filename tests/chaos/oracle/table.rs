//! Checks that the read table equals a replay of the log, and that no two active patients share an email
//! address.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Objections;
use super::chain::hex;
use super::history::History;
use crate::evidence::{Event, Evidence, keyring};

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
    let mut objections = shared_emails(&evidence.log);
    let active = history
        .patients
        .iter()
        .filter(|(_, patient)| patient.deleted > history.head);
    let expected: BTreeSet<_> = active
        .filter_map(|(id, patient)| {
            Some((claim(&patient.versions.last()?.details.email.to_lowercase()), *id))
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

/// Finds events that give a patient the email address of another active patient.
fn shared_emails(log: &[Event]) -> Objections {
    let mut objections = Vec::new();
    let (mut holders, mut emails) = (HashMap::new(), HashMap::new());
    for event in log {
        let id = &event.aggregate_id;
        let registered = event.registers().map(|details| details.email);
        let email = registered.or_else(|| event.amends()?.email);
        if (email.is_some() || event.deletes())
            && let Some(old) = emails.remove(id)
            && holders.get(&old) == Some(&id)
        {
            holders.remove(&old);
        }
        let Some(email) = email.map(|email| email.to_lowercase()) else {
            continue;
        };
        if let Some(holder) = holders.insert(email.clone(), id) {
            let position = event.position;
            objections.push(format!("position {position}: {id} takes the email of {holder}"));
        }
        emails.insert(id, email);
    }
    objections
}

/// Returns the claim of an email address, in hexadecimal: the hash of the address with the keyring's secret
/// for claims.
pub(super) fn claim(email: &str) -> String {
    hex(&keyring().claim_hash("patient.email", email))
}
