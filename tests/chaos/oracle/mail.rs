//! Checks that each registered patient has one email, or no email if the patient was deleted. A second email
//! is a violation unless docs/mail.md allows it: it has the same `Message-ID`, and the ledger has an attempt
//! whose outcome is unknown. Each change of an email address also has one email to the newest address and one
//! email to the old address.

use std::collections::HashMap;

use uuid::Uuid;

use super::Objections;
use super::history::{History, Patient};
use crate::evidence::{Delivery, Evidence};

const REGISTERED: &str = "patient_registered";
/// The email to the new address after the email address was changed.
const AMENDED: &str = "patient_amended";
/// The email to the old address after the email address was changed.
const EMAIL_CHANGED: &str = "patient_email_changed";
const DOMAIN: &str = "miapp.com";

pub(super) fn objections(evidence: &Evidence, history: &History) -> Objections {
    let mut objections = Vec::new();
    let mut ledger = Ledger::of(evidence, &mut objections);
    for (id, patient) in &history.patients {
        for expected in expected(*id, patient, history.head) {
            objections.extend(ledger.settle(&expected));
        }
    }
    let left = ledger.arrived.keys();
    objections.extend(left.map(|message_id| format!("{message_id} belongs to nobody")));
    let left = ledger.deliveries.keys();
    objections.extend(left.map(|(position, template)| {
        format!("an email {template} of position {position}, which causes no such email")
    }));
    objections
}

/// An email that an event causes.
struct Expected<'h> {
    id: Uuid,
    position: u64,
    template: &'static str,
    /// The addresses to which the email may be sent.
    recipients: Vec<&'h str>,
    may_be_cancelled: bool,
}

/// Returns the emails that the events of a patient cause.
fn expected(id: Uuid, patient: &Patient, head: u64) -> Vec<Expected<'_>> {
    let email = |index: usize| patient.versions[index].details.email.as_str();
    let is_deleted = patient.deleted <= head;
    let emails_from = |first: usize| (first..patient.versions.len()).map(email).collect::<Vec<_>>();
    let mut expected = vec![Expected {
        id,
        position: patient.registered,
        template: REGISTERED,
        recipients: emails_from(0),
        may_be_cancelled: is_deleted,
    }];
    for index in 1..patient.versions.len() {
        if email(index) == email(index - 1) {
            continue;
        }
        let both = [
            (AMENDED, emails_from(index), is_deleted),
            // A deletion does not cancel this email. Otherwise, the person who changed the address could
            // delete the patient to suppress the warning.
            (EMAIL_CHANGED, vec![email(index - 1)], false),
        ];
        expected.extend(both.map(|(template, recipients, may_be_cancelled)| Expected {
            id,
            position: patient.versions[index].position,
            template,
            recipients,
            may_be_cancelled,
        }));
    }
    expected
}

/// The ledger and the sink, without the emails that have been checked.
struct Ledger<'e> {
    /// The recipients of the emails in the sink, by `Message-ID`.
    arrived: HashMap<&'e str, Vec<&'e str>>,
    /// The outcomes of the attempts, by position and template.
    outcomes: HashMap<(u64, &'e str), Vec<&'e str>>,
    deliveries: HashMap<(u64, &'e str), &'e Delivery>,
}

impl<'e> Ledger<'e> {
    fn of(evidence: &'e Evidence, objections: &mut Objections) -> Self {
        let mut arrived: HashMap<_, Vec<_>> = HashMap::new();
        for mail in &evidence.mails {
            let recipients = arrived.entry(mail.message_id.as_str()).or_default();
            recipients.push(mail.recipient.as_str());
        }
        let mut outcomes: HashMap<_, Vec<_>> = HashMap::new();
        for attempt in &evidence.attempts {
            let of_email = (attempt.position, attempt.template.as_str());
            outcomes
                .entry(of_email)
                .or_default()
                .push(attempt.outcome.as_str());
        }
        let mut deliveries = HashMap::new();
        for delivery in &evidence.deliveries {
            let of_email = (delivery.position, delivery.template.as_str());
            if deliveries.insert(of_email, delivery).is_some() {
                objections.push(format!("{delivery:?} is one too many"));
            }
        }
        Self {
            arrived,
            outcomes,
            deliveries,
        }
    }

    /// Compares an email with the ledger and the sink.
    fn settle(&mut self, expected: &Expected<'_>) -> Objections {
        let Expected {
            id,
            position,
            template,
            ..
        } = *expected;
        let mut objections = Vec::new();
        let message_id = format!("<{position}.{template}.{id}@{DOMAIN}>");
        let recipients = self.arrived.remove(message_id.as_str()).unwrap_or_default();
        if !recipients
            .iter()
            .all(|recipient| expected.recipients.contains(recipient))
        {
            objections.push(format!("{message_id} went to somebody else"));
        }
        let outcomes = self.outcomes.remove(&(position, template)).unwrap_or_default();
        let how_many = |which: &[&str]| outcomes.iter().filter(|outcome| which.contains(*outcome)).count();
        let (sent, unsure) = (how_many(&["sent"]), how_many(&["lost", "unknown"]));
        let copies = recipients.len();
        if copies > sent + unsure || sent > 1 {
            objections.push(format!(
                "{message_id} arrived {copies} times, with the attempts {outcomes:?}"
            ));
        }
        let delivery = self.deliveries.remove(&(position, template));
        let fits = match delivery.map(|delivery| delivery.state.as_str()) {
            Some("sent") => copies >= 1 && sent == 1,
            Some("cancelled") => expected.may_be_cancelled && sent == 0,
            _ => false,
        };
        if !fits || delivery.is_some_and(|delivery| delivery.aggregate_id != id.to_string()) {
            objections.push(format!(
                "{message_id} is {delivery:?} and arrived {copies} times, attempts {outcomes:?}"
            ));
        }
        objections
    }
}

/// Returns the number of emails that were sent again.
pub(crate) fn copies(evidence: &Evidence) -> usize {
    let different: std::collections::HashSet<_> =
        evidence.mails.iter().map(|mail| &mail.message_id).collect();
    evidence.mails.len() - different.len()
}
