//! Checks that each registered patient has one email, or no email if the patient was deleted. A second email
//! is a violation unless docs/mail.md allows it: it has the same `Message-ID`, and the ledger has an attempt
//! whose outcome is unknown.

use std::collections::HashMap;

use super::Objections;
use super::history::History;
use crate::evidence::Evidence;

const TEMPLATE: &str = "patient_registered";
const DOMAIN: &str = "miapp.com";

pub(super) fn objections(evidence: &Evidence, history: &History) -> Objections {
    let mut objections = Vec::new();
    let mut arrived: HashMap<&str, Vec<&str>> = HashMap::new();
    for mail in &evidence.mails {
        arrived.entry(&mail.message_id).or_default().push(&mail.recipient);
    }
    let mut outcomes: HashMap<u64, Vec<&str>> = HashMap::new();
    for attempt in &evidence.attempts {
        outcomes
            .entry(attempt.position)
            .or_default()
            .push(&attempt.outcome);
    }
    let mut deliveries = HashMap::new();
    for delivery in &evidence.deliveries {
        if deliveries.insert(delivery.position, delivery).is_some() || delivery.template != TEMPLATE {
            objections.push(format!("{delivery:?} is one too many"));
        }
    }
    for (id, patient) in &history.patients {
        let position = patient.registered;
        let message_id = format!("<{position}.{TEMPLATE}.{id}@{DOMAIN}>");
        let recipients = arrived.remove(message_id.as_str()).unwrap_or_default();
        if recipients
            .iter()
            .any(|recipient| *recipient != patient.details.email)
        {
            objections.push(format!("{message_id} went to somebody else"));
        }
        let outcomes = outcomes.remove(&position).unwrap_or_default();
        let how_many = |which: &[&str]| outcomes.iter().filter(|outcome| which.contains(*outcome)).count();
        let (sent, unsure) = (how_many(&["sent"]), how_many(&["lost", "unknown"]));
        let copies = recipients.len();
        if copies > sent + unsure || sent > 1 {
            objections.push(format!(
                "{message_id} arrived {copies} times, with the attempts {outcomes:?}"
            ));
        }
        let delivery = deliveries.remove(&position);
        let fits = match delivery.map(|delivery| delivery.state.as_str()) {
            Some("sent") => copies >= 1 && sent == 1,
            Some("cancelled") => patient.deleted <= history.head && sent == 0,
            _ => false,
        };
        if !fits || delivery.is_some_and(|delivery| delivery.aggregate_id != id.to_string()) {
            objections.push(format!(
                "{message_id} is {delivery:?} and arrived {copies} times, attempts {outcomes:?}"
            ));
        }
    }
    objections.extend(
        arrived
            .keys()
            .map(|message_id| format!("{message_id} belongs to nobody")),
    );
    objections.extend(
        deliveries
            .keys()
            .map(|position| format!("a mail of position {position}, which registers nobody")),
    );
    objections
}

/// Returns the number of emails that were sent again.
pub(crate) fn copies(evidence: &Evidence) -> usize {
    let different: std::collections::HashSet<_> =
        evidence.mails.iter().map(|mail| &mail.message_id).collect();
    evidence.mails.len() - different.len()
}
