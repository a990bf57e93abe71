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
    let (from, to) = (
        history.at_least(observation.began),
        history.at_most(observation.ended),
    );
    let Some(patient) = history.patients.get(&id) else {
        // Clients read only known ids.
        return false;
    };
    match &observation.answer {
        Answer::Patient { details } => {
            *details == patient.details && patient.registered <= to && patient.deleted > from
        }
        answer if answer.is_problem("patient-deleted") => patient.deleted <= to,
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
    fn earliest(&self, history: &History, mut from: u64, mut to: u64) -> Option<u64> {
        let ids: Vec<_> = self.shown.iter().map(|(id, _)| *id).collect();
        if !ids.is_sorted() || ids.len() > self.limit {
            return None;
        }
        // A full page gives no information about the patients after it.
        let end = match ids.last() {
            Some(last) if ids.len() == self.limit => Bound::Included(*last),
            _ => Bound::Unbounded,
        };
        let mut absent = Vec::new();
        let mut found = 0;
        for (id, patient) in history.patients.range((Bound::Excluded(self.after), end)) {
            match ids.binary_search(id) {
                Ok(index) => {
                    found += 1;
                    from = from.max(patient.registered);
                    to = to.min(patient.deleted.saturating_sub(1));
                    if self.shown[index].1 != patient.details.email {
                        return None;
                    }
                }
                Err(_) => absent.push((patient.registered, patient.deleted)),
            }
        }
        if found != ids.len() {
            return None;
        }
        // The page is not from a position at which an active patient is missing from it.
        absent.sort_unstable();
        for (registered, deleted) in absent {
            if registered <= from && from < deleted {
                from = deleted;
            }
        }
        (from <= to).then_some(from)
    }
}
