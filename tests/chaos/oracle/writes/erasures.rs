//! Checks that each erasure is one append with the right content, and that all answers about the erasure of a
//! patient name the same event.

use std::collections::HashMap;

use serde_json::json;

use super::super::Objections;
use crate::evidence::{Event, Evidence};
use crate::record::{Answer, Observation, Request};

pub(super) fn objections(evidence: &Evidence, asked: &HashMap<&str, &Observation>) -> Objections {
    let is_by_erasure = |event: &Event| {
        let request_id = event.request_id().unwrap_or_default();
        let request = asked.get(request_id.as_str()).map(|seen| &seen.request);
        matches!(request, Some(Request::Erase { .. }))
    };
    let mut objections = Vec::new();
    let next = evidence.log.iter().skip(1).map(Some).chain([None]);
    for (event, next) in evidence.log.iter().zip(next) {
        let position = event.position;
        if event.deletes()
            && is_by_erasure(event)
            && !next.is_some_and(|next| next.erases() && event.is_in_one_append_with(next))
        {
            objections.push(format!(
                "position {position}: the deletion by an erasure without the erasure"
            ));
        }
        let expected = json!({ "type": "PatientErased", "reason": "request", "scope": "full" });
        if event.erases() && serde_json::from_str(&event.payload).ok() != Some(expected) {
            objections.push(format!(
                "position {position}: an erasure with the payload {}",
                event.payload
            ));
        }
    }
    let mut answered = HashMap::new();
    for observation in &evidence.observations {
        if let (Request::Erase { id }, Answer::Erased { position, .. }) =
            (&observation.request, &observation.answer)
            && *answered.entry(*id).or_insert(*position) != *position
        {
            objections.push(format!(
                "{}: two erasures of {id} were answered with different events",
                observation.request_id
            ));
        }
    }
    objections
}
