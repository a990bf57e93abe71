//! Checks that each read by id is correct at some moment between request and response. Each page of the list
//! must show the state at a single position, at or after the requested `Min-Position`. That position must not
//! be before the position of an earlier page of the same client.

use std::collections::HashMap;
use std::ops::Bound;

use uuid::Uuid;

use super::Objections;
use super::history::History;
use crate::evidence::Evidence;
use crate::record::{Answer, Observation, Request};

pub(super) fn objections(evidence: &Evidence, history: &History) -> Objections {
    let mut objections = Vec::new();
    let mut seen: HashMap<usize, u64> = HashMap::new();
    for observation in &evidence.observations {
        match (&observation.request, &observation.answer) {
            (Request::Read { id }, answer) if !is_of_its_time(*id, observation, history) => {
                objections.push(format!("{}: {id} was read as {answer:?}", observation.request_id));
            }
            (
                Request::List {
                    after,
                    limit,
                    min_position,
                },
                Answer::Page(page),
            ) => {
                let last = seen.entry(observation.client).or_default();
                let from = min_position.map_or(0, |position| position.max(*last));
                let page = Page {
                    after: *after,
                    limit: *limit,
                    shown: page,
                };
                match page.earliest(history, from, history.at_most(observation.ended)) {
                    Some(position) => *last = (*last).max(position),
                    None => objections.push(format!(
                        "{}: a page after {after} that was never there from position {from} on",
                        observation.request_id
                    )),
                }
            }
            (Request::List { .. }, Answer::Problem { status, .. }) if *status != 503 => {
                objections.push(format!(
                    "{}: a list was answered {status}",
                    observation.request_id
                ));
            }
            _ => {}
        }
    }
    objections
}

fn is_of_its_time(id: Uuid, observation: &Observation, history: &History) -> bool {
    let (from, to) = history.window(observation);
    let Some(patient) = history.patients.get(&id) else {
        // Clients read only known ids.
        return false;
    };
    match &observation.answer {
        Answer::Patient { details } => patient
            .versions
            .iter()
            .any(|version| version.details == *details && version.was_current((from, to))),
        answer if answer.is_problem("patient-deleted") => patient.was_only_deleted((from, to)),
        answer if answer.is_problem("patient-erased") => patient.was_erased((from, to)),
        answer if answer.is_problem("patient-not-found") => patient.registered > from,
        Answer::Problem { status, .. } => *status == 503,
        Answer::Nothing => true,
        _ => false,
    }
}

struct Page<'p> {
    after: Uuid,
    limit: usize,
    shown: &'p [(Uuid, String)],
}

impl Page<'_> {
    /// Returns the first position in the range at which the list had this page.
    fn earliest(&self, history: &History, mut from: u64, to: u64) -> Option<u64> {
        let ids: Vec<_> = self.shown.iter().map(|(id, _)| *id).collect();
        if !ids.is_sorted() || ids.len() > self.limit {
            return None;
        }
        // A full page gives no information about the patients after it.
        let end = match ids.last() {
            Some(last) if ids.len() == self.limit => Bound::Included(*last),
            _ => Bound::Unbounded,
        };
        // The ranges of positions, without their ends, at which the list had another page.
        let mut others = Vec::new();
        let mut found = 0;
        for (id, patient) in history.patients.range((Bound::Excluded(self.after), end)) {
            let Ok(index) = ids.binary_search(id) else {
                others.push((patient.registered, patient.deleted));
                continue;
            };
            found += 1;
            others.push((0, patient.registered));
            others.push((patient.deleted, u64::MAX));
            let versions = patient.versions.iter();
            others.extend(
                versions
                    .filter(|version| version.details.email != self.shown[index].1)
                    .map(|version| (version.position, version.end)),
            );
        }
        if found != ids.len() {
            return None;
        }
        others.sort_unstable();
        for (begin, end) in others {
            if begin <= from && from < end {
                from = end;
            }
        }
        (from <= to).then_some(from)
    }
}
