//! Checks that the order of the log agrees with the clients' observations: a write that was answered before
//! another write was sent has the lower position. Also checks that each rejected write was rejected for a
//! valid reason.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::Objections;
use super::history::{History, Patient};
use crate::evidence::Evidence;
use crate::record::{Answer, Observation, Request};

pub(super) fn objections(evidence: &Evidence, history: &History) -> Objections {
    let mut objections = out_of_order(evidence);
    let keys = keys(evidence, history);
    for observation in &evidence.observations {
        let reason = match &observation.request {
            Request::Register { details, key } => {
                // A patient registered by an earlier try is not a valid reason to reject the next try with
                // the same key.
                let own = |id: Uuid| key.is_some() && keys.get(&id).copied() == key.as_deref();
                let is_taken = is_taken(&details.email, observation, history, own);
                let window = history.window(observation);
                let is_erased = |(id, patient): (&Uuid, &Patient)| own(*id) && patient.was_erased(window);
                reason_for_registration(observation, history, is_taken, || {
                    history.patients.iter().any(is_erased)
                })
            }
            Request::Amend { id, .. } => history
                .patients
                .get(id)
                .is_some_and(|patient| reason_for_amendment(observation, history, *id, patient)),
            Request::Delete { id } => reason_for_deletion(observation, history, history.patients.get(id)),
            Request::Erase { id } => {
                // Clerks erase only patients whose id is known, and nothing protects a patient from erasure.
                let is_problem =
                    matches!(observation.answer, Answer::Problem { status, .. } if status != 503);
                history.patients.contains_key(id) && !is_problem
            }
            Request::Read { .. } | Request::List { .. } => true,
        };
        if !reason {
            objections.push(format!(
                "{}: answered {:?} without a reason",
                observation.request_id, observation.answer
            ));
        }
    }
    objections
}

/// Whether another patient had this email address at some moment between request and response.
fn is_taken(email: &str, observation: &Observation, history: &History, own: impl Fn(Uuid) -> bool) -> bool {
    let window = history.window(observation);
    let mut holders = history.holders.get(&email.to_lowercase()).into_iter().flatten();
    holders.any(|(id, version)| version.was_current(window) && !own(*id))
}

/// Returns the idempotency keys of the patients that were registered with a key.
fn keys<'e>(evidence: &'e Evidence, history: &History) -> HashMap<Uuid, &'e str> {
    let keyed = evidence.observations.iter().filter_map(|observation| {
        let Request::Register { key: Some(key), .. } = &observation.request else {
            return None;
        };
        let event = history.events.get(&observation.request_id)?;
        Some((event.id()?, key.as_str()))
    });
    keyed.collect()
}

/// Finds positions that were answered before a lower position was requested.
fn out_of_order(evidence: &Evidence) -> Objections {
    let times: HashMap<_, _> = evidence
        .observations
        .iter()
        .map(|observation| {
            let answered = observation.position().map(|_| observation.ended);
            (
                observation.request_id.as_str(),
                (observation.began, answered.unwrap_or(Duration::MAX)),
            )
        })
        .collect();
    let mut objections = Vec::new();
    let mut earliest = (Duration::MAX, 0);
    for event in evidence.log.iter().rev() {
        let request_id = event.request_id().unwrap_or_default();
        let Some((began, answered)) = times.get(request_id.as_str()) else {
            continue;
        };
        if earliest.0 < *began {
            objections.push(format!(
                "position {} was asked for after position {} had been answered",
                event.position, earliest.1
            ));
        }
        earliest = earliest.min((*answered, event.position));
    }
    objections
}

/// Whether the response to a registration was correct at some moment between request and response.
fn reason_for_registration(
    observation: &Observation,
    history: &History,
    is_taken: bool,
    is_erased: impl FnOnce() -> bool,
) -> bool {
    match &observation.answer {
        answer if answer.is_problem("email-taken") => is_taken,
        answer if answer.is_problem("patient-erased") => is_erased(),
        // A repeated registration gets the first answer until the patient is erased.
        Answer::Registered { id, .. } => {
            let patient = history.patients.get(id);
            patient.is_none_or(|patient| patient.erased > history.at_least(observation.began))
        }
        // Clerks send only valid requests and use no key twice. A repetition may arrive while the first
        // request is in progress.
        Answer::Problem { status, slug } => *status == 503 || slug == "request-in-progress",
        _ => true,
    }
}

/// Whether the response to an amendment was correct at some moment between request and response.
fn reason_for_amendment(observation: &Observation, history: &History, id: Uuid, patient: &Patient) -> bool {
    let Request::Amend {
        changes,
        if_match,
        key,
        ..
    } = &observation.request
    else {
        return false;
    };
    let window = history.window(observation);
    // After the event of an earlier try with the same key, the sequence and a deletion are no valid reasons.
    let is_repetition = key
        .as_ref()
        .is_some_and(|key| history.keyed.contains_key(&(id, key.clone())));
    match &observation.answer {
        answer if answer.is_problem("email-taken") => changes
            .email
            .as_ref()
            .is_some_and(|email| is_taken(email, observation, history, |holder| holder == id)),
        answer if answer.is_problem("precondition-failed") => {
            let mut versions = patient.versions.iter();
            let other = |expected| {
                versions.any(|version| version.sequence != expected && version.was_current(window))
            };
            !is_repetition && if_match.is_some_and(other)
        }
        answer if answer.is_problem("patient-deleted") => !is_repetition && patient.was_only_deleted(window),
        answer if answer.is_problem("patient-erased") => patient.was_erased(window),
        Answer::Amended { .. } if key.is_some() => patient.erased > window.0,
        Answer::Amended { .. } => patient.deleted > window.0,
        // Clerks amend only patients whose id is known, send only valid requests and use no key twice.
        Answer::Problem { status, .. } => *status == 503,
        _ => true,
    }
}

fn reason_for_deletion(observation: &Observation, history: &History, patient: Option<&Patient>) -> bool {
    let Some(patient) = patient else { return false };
    let window = history.window(observation);
    match &observation.answer {
        answer if answer.is_problem("patient-deleted") => patient.was_only_deleted(window),
        answer if answer.is_problem("patient-erased") => patient.was_erased(window),
        Answer::Deleted { .. } => patient.deleted > window.0,
        // Clerks delete only patients whose id is known.
        Answer::Problem { status, .. } => *status == 503,
        _ => true,
    }
}
