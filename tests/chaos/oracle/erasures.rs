//! Checks that nothing of an erased patient is left when everything has recovered, that the events of all
//! other patients still open, and that no data key is wrapped with a wrapping key that was removed.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::Objections;
use super::history::{History, Patient};
use crate::evidence::{Event, Evidence, SubjectKey};
use crate::record::marks;

pub(super) fn objections(evidence: &Evidence, history: &History) -> Objections {
    let mut objections = keys(evidence, history);
    for event in evidence.log.iter().filter(|event| is_personal(event)) {
        let patient = event.id().and_then(|id| history.patients.get(&id));
        let is_erased = patient.is_some_and(|patient| patient.erased <= history.head);
        if event.opened.is_some() == is_erased {
            let position = event.position;
            objections.push(if is_erased {
                format!("position {position}: the event of an erased patient opens")
            } else {
                format!("position {position}: the event of a patient who was not erased does not open")
            });
        }
    }
    let erased: BTreeMap<_, _> = history
        .patients
        .iter()
        .filter(|(_, patient)| patient.erased <= history.head)
        .collect();
    for listed in evidence
        .listed
        .iter()
        .filter(|listed| erased.contains_key(&listed.id))
    {
        objections.push(format!("{} has {}, who was erased", listed.table, listed.id));
    }
    objections.extend(progress(evidence, &erased));
    objections.extend(values(evidence, &erased));
    objections
}

fn is_personal(event: &Event) -> bool {
    event.is_registration() || event.is_amendment()
}

/// Checks that each patient has one data key, or the mark of its destruction, and nothing else has a data
/// key.
fn keys(evidence: &Evidence, history: &History) -> Objections {
    let mut objections = Vec::new();
    let erased_at: HashMap<_, _> = evidence
        .log
        .iter()
        .filter(|event| event.erases())
        .map(|event| (event.aggregate_id.as_str(), event.recorded_at))
        .collect();
    let mut owners = HashSet::new();
    for key in &evidence.keys {
        let SubjectKey {
            aggregate_type,
            aggregate_id: id,
            wrapping_key,
            wrapped,
            ..
        } = key;
        owners.insert(id.as_str());
        let patient = id.parse().ok().and_then(|id: Uuid| history.patients.get(&id));
        if aggregate_type != "patient" || patient.is_none() {
            objections.push(format!(
                "a data key of {aggregate_type} {id}, who is not in the log"
            ));
        }
        let erased_at = erased_at.get(id.as_str()).copied();
        let is_whole = wrapping_key.is_some() && wrapped.is_some();
        let is_destroyed = wrapping_key.is_none() && wrapped.is_none();
        let fits = if erased_at.is_some() {
            is_destroyed
        } else {
            is_whole
        };
        if !fits || key.erased_at != erased_at {
            objections.push(format!(
                "the data key of {id}, erased at {erased_at:?}, is {key:?}"
            ));
        }
        if let Some(wrapping_key) = wrapping_key
            && !evidence.keyring.wrapping_keys.contains_key(wrapping_key)
        {
            objections.push(format!(
                "the data key of {id} is wrapped with {wrapping_key}, which the keyring lacks"
            ));
        }
    }
    for id in history
        .patients
        .keys()
        .filter(|id| !owners.contains(id.to_string().as_str()))
    {
        objections.push(format!("{id} has no data key, and no mark of its destruction"));
    }
    objections
}

/// Checks that the API reports each erasure as complete, and no other erasure.
fn progress(evidence: &Evidence, erased: &BTreeMap<&Uuid, &Patient>) -> Objections {
    let mut objections = Vec::new();
    let reported: HashMap<_, _> = evidence
        .progress
        .iter()
        .map(|progress| (progress.id, progress))
        .collect();
    for (id, patient) in erased {
        let progress = reported.get(id);
        if !progress.is_some_and(|progress| progress.complete && progress.position == patient.erased) {
            objections.push(format!(
                "the erasure of {id} at {} is reported as {progress:?}",
                patient.erased
            ));
        }
    }
    for id in reported.keys().filter(|id| !erased.contains_key(id)) {
        objections.push(format!("an erasure of {id} is reported, and not in the log"));
    }
    objections
}

/// Checks that no column of any table has a value of an erased patient. Each value that is searched for has a
/// mark that no other patient has. The search must find the marks of active patients, who are in a read
/// table.
fn values(evidence: &Evidence, erased: &BTreeMap<&Uuid, &Patient>) -> Objections {
    let mut objections = Vec::new();
    let mut of_mark = HashMap::new();
    let requests: HashMap<_, _> = evidence
        .observations
        .iter()
        .map(|observation| (observation.request_id.as_str(), &observation.request))
        .collect();
    for event in evidence.log.iter().filter(|event| is_personal(event)) {
        let Some(id) = event.id().filter(|id| erased.contains_key(id)) else {
            continue;
        };
        let request_id = event.request_id().unwrap_or_default();
        let marks = requests.get(request_id.as_str()).map(|request| request.marks());
        of_mark.extend(marks.into_iter().flatten().map(|mark| (mark, id)));
    }
    for found in &evidence.found {
        if let Some(id) = of_mark.get(&found.mark) {
            objections.push(format!(
                "{} has {} of {id}, who was erased",
                found.place, found.mark
            ));
        }
    }
    let found: HashSet<_> = evidence.found.iter().map(|found| found.mark.as_str()).collect();
    for row in &evidence.rows {
        let details = &row.details;
        for value in [
            &details.name,
            &details.email,
            &details.phone,
            &details.document_url,
        ] {
            for mark in marks(value.as_bytes()).filter(|mark| !found.contains(mark.as_str())) {
                objections.push(format!(
                    "the search has not found {mark} of {}, who is active",
                    row.id
                ));
            }
        }
    }
    objections
}
