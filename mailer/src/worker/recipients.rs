//! The recipients of due deliveries, read from the log.

use std::collections::{HashMap, HashSet};

use cqrs_es::Aggregate;
use domain::{Patient, PatientEvent};
use eventstore::{EventLog, Position, RecordedEvent, Result, Session};

use crate::error::DeliveryFailure;
use crate::ledger::Delivery;
use crate::recipient::{Recipient, RecipientState};
use crate::template::{AddressedAs, Template};

/// Maximum number of events in memory at a time. Further events are read page by page.
const EVENTS_PER_PAGE: u64 = 1000;

/// The patients that receive some deliveries, and the events that caused the deliveries.
#[derive(Debug, Default)]
pub(super) struct Recipients {
    /// State of each patient after the patient's last event.
    newest: HashMap<String, RecipientState>,
    /// Each event that caused a delivery, and the state of its patient before the event.
    events: HashMap<Position, (RecordedEvent, RecipientState)>,
}

impl Recipients {
    /// Reads the events of the patients of `deliveries`.
    pub(super) async fn read(session: &mut impl Session, deliveries: &[Delivery]) -> Result<Self> {
        let ids: HashSet<_> = deliveries
            .iter()
            .map(|delivery| delivery.aggregate_id.as_str())
            .collect();
        let ids: Vec<_> = ids.into_iter().collect();
        let causes: HashSet<_> = deliveries.iter().map(|delivery| delivery.position).collect();
        let mut recipients = Self::default();
        let mut after = Position::BEGINNING;
        loop {
            let page = EventLog::events_between(
                session,
                Patient::TYPE,
                &ids,
                after,
                Position::LAST,
                EVENTS_PER_PAGE,
            )
            .await?;
            let is_last = (page.len() as u64) < EVENTS_PER_PAGE;
            for event in page {
                after = event.position;
                recipients.apply(event, &causes);
            }
            if is_last {
                return Ok(recipients);
            }
        }
    }

    fn apply(&mut self, event: RecordedEvent, causes: &HashSet<Position>) {
        let state = self.newest.entry(event.aggregate_id.clone()).or_default();
        let before = causes.contains(&event.position).then(|| state.clone());
        state.apply(&event);
        if let Some(before) = before {
            self.events.insert(event.position, (event, before));
        }
    }

    /// Returns the event that caused the delivery, or `None` if the log has no event at that position, which
    /// means that the log is damaged.
    pub(super) fn event(&self, delivery: &Delivery) -> Option<&RecordedEvent> {
        self.events.get(&delivery.position).map(|(event, _)| event)
    }

    /// Whether the delivery must be cancelled: because its patient was erased, because its patient was
    /// deleted and its template ends with the patient, because its event asks for no email, or because it
    /// would go to a previous address that is still the patient's address. Deliveries for events that ask for
    /// no email can come from an earlier version of the program.
    pub(super) fn is_cancelled(&self, delivery: &Delivery) -> bool {
        let is_unconfirmed =
            |event: &RecordedEvent| PatientEvent::is_unconfirmed(&event.event_type, &event.payload);
        if delivery.template == Template::PatientRegistered
            && self.event(delivery).is_some_and(is_unconfirmed)
        {
            return true;
        }
        if delivery.template == Template::PatientEmailChanged && self.keeps_the_address(delivery) {
            return true;
        }
        let ends_with_the_patient = delivery.template.ends_with_the_patient();
        self.newest
            .get(&delivery.aggregate_id)
            .is_some_and(|patient| patient.is_erased() || (patient.is_deleted() && ends_with_the_patient))
    }

    /// Whether the event of the delivery changed only the case of letters in the email address. The
    /// comparison is limited to ASCII letters: it must never hide a change to another mailbox from the
    /// patient.
    fn keeps_the_address(&self, delivery: &Delivery) -> bool {
        let Some((event, before)) = self.events.get(&delivery.position) else {
            return false;
        };
        let Ok(Some(PatientEvent::PatientAmended {
            email: Some(email), ..
        })) = event.content(PatientEvent::from_stored)
        else {
            return false;
        };
        before
            .recipient()
            .is_ok_and(|before| before.email.eq_ignore_ascii_case(&email))
    }

    /// Returns the recipient of the delivery.
    pub(super) fn recipient(&self, delivery: &Delivery) -> Result<Recipient, DeliveryFailure> {
        let state = match delivery.template.addressed_as() {
            AddressedAs::Newest => self.newest.get(&delivery.aggregate_id),
            AddressedAs::BeforeTheEvent => self.events.get(&delivery.position).map(|(_, before)| before),
        };
        state.ok_or(DeliveryFailure::EventMissing)?.recipient()
    }
}
