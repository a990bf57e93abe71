//! Checks that every write answered with 2xx is in the log exactly once, a write without a response at most
//! once, and a rejected write not at all. The log must contain no other event.

use std::collections::{HashMap, HashSet};

use super::Objections;
use super::history::History;
use crate::evidence::{Event, Evidence};
use crate::record::{Answer, Observation, Request};

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
            Some(observation) => objections.extend(misfit(observation, event)),
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
    objections
}

/// Checks that each patient is registered at most once and deleted at most once, and that each request writes
/// at most one event.
fn twice(evidence: &Evidence) -> Objections {
    let mut objections = Vec::new();
    let (mut requests, mut events) = (HashSet::new(), HashMap::new());
    for event in &evidence.log {
        let position = event.position;
        if !requests.insert(event.request_id()) {
            objections.push(format!(
                "position {position}: its request has written an event before"
            ));
        }
        let sequence: &mut u64 = events.entry(event.aggregate_id.as_str()).or_default();
        *sequence += 1;
        let fits = match *sequence {
            1 => event.registers().is_some(),
            2 => event.deletes(),
            _ => false,
        };
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
fn misfit(observation: &Observation, event: &Event) -> Option<String> {
    let asked = match &observation.request {
        Request::Register { details, .. } => event.registers().as_ref() == Some(details),
        Request::Delete { id } => event.deletes() && event.id() == Some(*id),
        Request::Read { .. } | Request::List { .. } => false,
    };
    let answered = match &observation.answer {
        Answer::Registered { id, position, .. } => event.id() == Some(*id) && event.position == *position,
        Answer::Deleted { position } => event.position == *position,
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
                found.registered == *position && found.details == *details && answered == details
            });
            // An earlier request with the same key wrote a repeated registration.
            let by_this = key.is_some() || history.events.contains_key(id);
            (!there || !by_this).then(|| format!("{id}: answered 201 at {position}, and not there"))
        }
        (Request::Delete { .. }, Answer::Deleted { position }) => {
            let there = history
                .events
                .get(id)
                .is_some_and(|event| event.position == *position);
            (!there).then(|| format!("{id}: answered 204 at {position}, and not there"))
        }
        _ => None,
    }
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
