//! Checks that each registered patient has one email, or no email if the patient was deleted. A second email
//! is a violation unless docs/mail.md allows it: it has the same `Message-ID`, and the ledger has an attempt
//! whose outcome is unknown. Each change of an email address also has one email to the newest address and one
//! email to the old address. An erasure cancels every unsent email of the patient, and once the erasure is
//! complete, no email of the patient is sent any more.

use std::collections::HashMap;

use uuid::Uuid;

use super::Objections;
use super::history::{History, Patient};
use crate::evidence::{Arrived, Attempt, Delivery, Evidence};
use crate::record::{Answer, Request};

const REGISTERED: &str = "patient_registered";
/// The email to the new address after the email address was changed.
const AMENDED: &str = "patient_amended";
/// The email to the old address after the email address was changed.
const EMAIL_CHANGED: &str = "patient_email_changed";
/// The outcomes of attempts after which the email may have arrived.
const UNSURE: [&str; 2] = ["lost", "unknown"];
const DOMAIN: &str = "miapp.com";

pub(super) fn objections(evidence: &Evidence, history: &History) -> Objections {
    let mut objections = Vec::new();
    let mut ledger = Ledger::of(evidence, &mut objections);
    let complete = complete(evidence);
    for (id, patient) in &history.patients {
        for expected in expected(*id, patient, history.head) {
            if let Some(complete) = complete.get(id) {
                objections.extend(ledger.sent_after(&expected, *complete));
            }
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

/// Returns the patients whose erasure was answered as complete, with the time of the first such answer in
/// microseconds since 1970.
fn complete(evidence: &Evidence) -> HashMap<Uuid, i64> {
    let mut complete = HashMap::new();
    for observation in &evidence.observations {
        if let (Request::Erase { id }, Answer::Erased { complete: true, .. }) =
            (&observation.request, &observation.answer)
        {
            let ended = i64::try_from(observation.ended.as_micros()).unwrap_or(i64::MAX);
            let at = evidence.began_at.saturating_add(ended);
            let first = complete.entry(*id).or_insert(at);
            *first = at.min(*first);
        }
    }
    complete
}

/// An email that an event causes.
struct Expected<'h> {
    id: Uuid,
    position: u64,
    template: &'static str,
    /// The addresses to which the email may be sent.
    recipients: Vec<&'h str>,
    may_be_cancelled: bool,
    /// Whether the ledger may lack the email: the mailer may process an event of a patient who was erased
    /// meanwhile.
    may_be_missing: bool,
}

/// Returns the emails that the events of a patient cause.
fn expected(id: Uuid, patient: &Patient, head: u64) -> Vec<Expected<'_>> {
    let email = |index: usize| patient.versions[index].details.email.as_str();
    let (is_deleted, is_erased) = (patient.deleted <= head, patient.erased <= head);
    let emails_from = |first: usize| (first..patient.versions.len()).map(email).collect::<Vec<_>>();
    let mut expected = vec![Expected {
        id,
        position: patient.registered,
        template: REGISTERED,
        recipients: emails_from(0),
        may_be_cancelled: is_deleted,
        may_be_missing: is_erased,
    }];
    for index in 1..patient.versions.len() {
        if email(index) == email(index - 1) {
            continue;
        }
        let both = [
            (AMENDED, emails_from(index), is_deleted),
            // A deletion does not cancel this email. Otherwise, the person who changed the address could
            // delete the patient to suppress the warning.
            (EMAIL_CHANGED, vec![email(index - 1)], is_erased),
        ];
        expected.extend(both.map(|(template, recipients, may_be_cancelled)| Expected {
            id,
            position: patient.versions[index].position,
            template,
            recipients,
            may_be_cancelled,
            may_be_missing: is_erased,
        }));
    }
    expected
}

impl Expected<'_> {
    fn message_id(&self) -> String {
        format!("<{}.{}.{}@{DOMAIN}>", self.position, self.template, self.id)
    }
}

/// The ledger and the sink, without the emails that have been checked.
struct Ledger<'e> {
    /// The emails in the sink, by `Message-ID`.
    arrived: HashMap<&'e str, Vec<&'e Arrived>>,
    /// The attempts, by position and template.
    attempts: HashMap<(u64, &'e str), Vec<&'e Attempt>>,
    deliveries: HashMap<(u64, &'e str), &'e Delivery>,
}

impl<'e> Ledger<'e> {
    fn of(evidence: &'e Evidence, objections: &mut Objections) -> Self {
        let mut arrived: HashMap<_, Vec<_>> = HashMap::new();
        for mail in &evidence.mails {
            arrived.entry(mail.message_id.as_str()).or_default().push(mail);
        }
        let mut attempts: HashMap<_, Vec<_>> = HashMap::new();
        for attempt in &evidence.attempts {
            let of_email = (attempt.position, attempt.template.as_str());
            attempts.entry(of_email).or_default().push(attempt);
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
            attempts,
            deliveries,
        }
    }

    /// Checks that no attempt to send an email began after `complete`. Also checks that the email did not
    /// arrive first after that time, unless the outcome of an earlier attempt is unknown.
    fn sent_after(&self, expected: &Expected<'_>, complete: i64) -> Objections {
        let message_id = expected.message_id();
        let arrived = self.arrived.get(message_id.as_str()).into_iter().flatten();
        let first = arrived.map(|mail| mail.at).min();
        let attempts = self.attempts.get(&(expected.position, expected.template));
        let attempts = || attempts.into_iter().flatten();
        let is_unsure = attempts().any(|attempt| UNSURE.contains(&attempt.outcome.as_str()));
        let late = attempts().any(|attempt| attempt.started_at > complete)
            || (first.is_some_and(|first| first > complete) && !is_unsure);
        let what = || {
            format!(
                "{message_id} was sent after the erasure was complete at {complete}, first arrived at {first:?}"
            )
        };
        late.then(what).into_iter().collect()
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
        let message_id = expected.message_id();
        let arrived = self.arrived.remove(message_id.as_str()).unwrap_or_default();
        if !arrived
            .iter()
            .all(|mail| expected.recipients.contains(&mail.recipient.as_str()))
        {
            objections.push(format!("{message_id} went to somebody else"));
        }
        let attempts = self.attempts.remove(&(position, template)).unwrap_or_default();
        let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt.outcome.as_str()).collect();
        let how_many = |which: &[&str]| outcomes.iter().filter(|outcome| which.contains(*outcome)).count();
        let (sent, unsure) = (how_many(&["sent"]), how_many(&UNSURE));
        let copies = arrived.len();
        if copies > sent + unsure || sent > 1 {
            objections.push(format!(
                "{message_id} arrived {copies} times, with the attempts {outcomes:?}"
            ));
        }
        let delivery = self.deliveries.remove(&(position, template));
        let fits = match delivery.map(|delivery| delivery.state.as_str()) {
            Some("sent") => copies >= 1 && sent == 1,
            Some("cancelled") => expected.may_be_cancelled && sent == 0,
            None => expected.may_be_missing && copies == 0 && outcomes.is_empty(),
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
