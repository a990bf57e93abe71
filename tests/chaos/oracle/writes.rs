//! Checks that every write answered with 2xx is in the log exactly once, a write without a response at most
//! once, and a rejected write not at all. The log must contain no other event.

mod erasures;

use std::collections::{HashMap, HashSet};

use super::Objections;
use super::history::{History, Version};
use crate::evidence::{Event, Evidence};
use crate::record::{Answer, Changes, Observation, Request};

pub(super) fn objections(evidence: &Evidence, history: &History) -> Objections {
    let mut objections = twice(evidence);
    let asked: HashMap<_, _> = evidence
        .observations
        .iter()
        .map(|observation| (observation.request_id.as_str(), observation))
        .collect();
    for event in &evidence.log {
        let request_id = event.request_id().unwrap_or_default();
        match asked.get(request_id.as_str()) {
            None => objections.push(format!("position {}: nobody asked for it", event.position)),
            Some(observation) => objections.extend(misfit(observation, event, history)),
        }
    }
    for observation in &evidence.observations {
        objections.extend(lost(observation, history));
        if let Answer::Nonsense(what) = &observation.answer {
            objections.push(format!(
                "{}: an answer without sense: {what}",
                observation.request_id
            ));
        }
        if let Answer::Problem { status: 500, slug } = &observation.answer {
            objections.push(format!("{}: 500 {slug}", observation.request_id));
        }
    }
    objections.extend(keys(evidence));
    objections.extend(erasures::objections(evidence, &asked));
    for ((id, key), positions) in &history.keyed {
        if positions.len() > 1 {
            objections.push(format!(
                "positions {positions:?}: {id} was amended twice with {key:?}"
            ));
        }
    }
    objections
}

/// Checks that each patient is first registered, then amended any number of times, deleted at most once, and
/// then erased at most once, and that each request writes at most one event. Only an erasure can write two.
fn twice(evidence: &Evidence) -> Objections {
    let mut objections = Vec::new();
    let (mut requests, mut deleted, mut erased) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut events = HashMap::new();
    let before = std::iter::once(None).chain(evidence.log.iter().map(Some));
    for (event, before) in evidence.log.iter().zip(before) {
        let position = event.position;
        let of_one_erasure =
            |before: &Event| event.erases() && before.deletes() && before.is_in_one_append_with(event);
        if !requests.insert(event.request_id()) && !before.is_some_and(of_one_erasure) {
            objections.push(format!(
                "position {position}: its request has written an event before"
            ));
        }
        let sequence: &mut u64 = events.entry(event.aggregate_id.as_str()).or_default();
        *sequence += 1;
        let id = event.aggregate_id.as_str();
        let fits = match *sequence {
            1 => event.is_registration(),
            _ if deleted.contains(id) => event.erases() && erased.insert(id),
            _ => event.is_amendment() || event.deletes(),
        };
        if event.deletes() {
            deleted.insert(id);
        }
        if event.sequence != *sequence || event.aggregate_type != "patient" || !fits {
            objections.push(format!(
                "position {position}: {} as event {sequence} of its patient, with sequence {}",
                event.event_type, event.sequence
            ));
        }
    }
    objections
}

/// Describes how an event differs from its request or from the response, if it does.
fn misfit(observation: &Observation, event: &Event, history: &History) -> Option<String> {
    let asked = match &observation.request {
        Request::Register { details, .. } => {
            event.is_registration() && (event.opened.is_none() || event.registers().as_ref() == Some(details))
        }
        Request::Amend {
            id,
            changes,
            if_match,
            ..
        } => {
            let patient = history.patients.get(id);
            let before = patient.and_then(|patient| patient.version_before(event.position));
            let expected = before.map(|before| changes.that_differ_from(&before.details));
            let in_sequence = if_match.is_none_or(|sequence| event.sequence == sequence + 1);
            event.id() == Some(*id)
                && in_sequence
                && expected.is_some_and(|expected| {
                    let is_opened = event.opened.is_some();
                    expected != Changes::default() && (!is_opened || event.amends() == Some(expected))
                })
                && event.is_amendment()
        }
        Request::Erase { id } => (event.deletes() || event.erases()) && event.id() == Some(*id),
        Request::Delete { id } => event.deletes() && event.id() == Some(*id),
        Request::Read { .. } | Request::List { .. } => false,
    };
    let answered = match &observation.answer {
        Answer::Registered { id, position, .. } => event.id() == Some(*id) && event.position == *position,
        Answer::Amended { position, .. } | Answer::Deleted { position } => event.position == *position,
        // The deletion of an active patient precedes the erasure.
        Answer::Erased { position, .. } => event.position + u64::from(event.deletes()) == *position,
        // A retried deletion found the event of its first try, which had lost the connection.
        answer => answer.is_open(),
    };
    (!asked || !answered).then(|| {
        format!(
            "position {}: {} is what came of {:?}, which was answered {:?}",
            event.position, event.event_type, observation.request, observation.answer
        )
    })
}

/// Describes a write that was answered but is missing from the log, if it is.
fn lost(observation: &Observation, history: &History) -> Option<String> {
    let id = &observation.request_id;
    match (&observation.request, &observation.answer) {
        (
            Request::Register { details, key },
            Answer::Registered {
                id: patient,
                position,
                details: answered,
            },
        ) => {
            let there = history.patients.get(patient).is_some_and(|found| {
                found
                    .version(*position)
                    .is_some_and(|first| first.sequence == 1 && first.details == *details)
                    && answered == details
            });
            // An earlier request with the same key wrote a repeated registration.
            let by_this = key.is_some() || history.events.contains_key(id);
            (!there || !by_this).then(|| format!("{id}: answered 201 at {position}, and not there"))
        }
        (
            Request::Amend { .. },
            Answer::Amended {
                position,
                details,
                sequence,
            },
        ) => {
            let there = amended_version(observation, history).is_some_and(|version| {
                version.position == *position && version.details == *details && version.sequence == *sequence
            });
            (!there).then(|| format!("{id}: answered 200 at {position}, and not there"))
        }
        (Request::Delete { .. }, Answer::Deleted { position }) => {
            let there = history
                .events
                .get(id)
                .is_some_and(|event| event.position == *position);
            (!there).then(|| format!("{id}: answered 204 at {position}, and not there"))
        }
        // The first erasure of the patient may be of another request.
        (Request::Erase { id: patient }, Answer::Erased { position, .. }) => {
            let patient = history.patients.get(patient);
            let there = patient.is_some_and(|patient| patient.erased == *position);
            (!there).then(|| format!("{id}: an erasure was answered at {position}, and is not there"))
        }
        _ => None,
    }
}

/// Returns the version that the answer 200 to an amendment must contain: the version that this request
/// created, or an earlier request with the same key. If there is none, the version in the answer, provided
/// that it was current at some moment between request and response, that the amendment changes nothing in it,
/// and that `If-Match` matched.
fn amended_version<'h>(observation: &Observation, history: &'h History) -> Option<&'h Version> {
    let (
        Request::Amend {
            id,
            changes,
            if_match,
            key,
        },
        Answer::Amended { position, .. },
    ) = (&observation.request, &observation.answer)
    else {
        return None;
    };
    let patient = history.patients.get(id)?;
    let with_key = key
        .as_ref()
        .and_then(|key| history.keyed.get(&(*id, key.clone()))?.first().copied());
    let own = history
        .events
        .get(&observation.request_id)
        .map(|event| event.position);
    if let Some(written) = own.or(with_key) {
        return patient.version(written);
    }
    let window = history.window(observation);
    let matched = if_match.is_none_or(|expected| {
        let mut versions = patient.versions.iter();
        versions.any(|version| version.sequence == expected && version.was_current(window))
    });
    patient.version(*position).filter(|version| {
        matched
            && version.was_current(window)
            && changes.that_differ_from(&version.details) == Changes::default()
    })
}

/// Checks that all responses to the same key name the same patient.
fn keys(evidence: &Evidence) -> Objections {
    let mut patients = HashMap::new();
    let mut objections = Vec::new();
    for observation in &evidence.observations {
        if let (Request::Register { key: Some(key), .. }, Answer::Registered { id, position, .. }) =
            (&observation.request, &observation.answer)
        {
            let first = *patients.entry(key).or_insert((*id, *position));
            if first != (*id, *position) {
                objections.push(format!(
                    "{}: the same key was answered twice in different ways",
                    observation.request_id
                ));
            }
        }
    }
    objections
}
