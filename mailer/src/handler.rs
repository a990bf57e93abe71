//! The subscription handler, which turns events into ledger rows.

use std::sync::Arc;
use std::time::Duration;

use cqrs_es::Aggregate;
use domain::{EventType, PATIENT_AMENDED, Patient, PatientEvent};
use eventstore::{Clock, Handler, RecordedEvent, Transaction};
use tokio::sync::Notify;

use crate::ledger;
use crate::template::Template;

/// Name of the subscription and of its checkpoint.
pub const SUBSCRIPTION: &str = "mailer";
/// Time for which events are collected under load before their deliveries are written. A short delay is
/// acceptable for mail, and each transaction adds a flush to disk, which slows down appends.
pub const GATHER: Duration = Duration::from_millis(100);

/// Which amendments cause emails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnAmend {
    /// Amendments that change the email address: a notice to the new address and a notice to the previous
    /// address.
    #[default]
    Email,
    /// All amendments: a notice to the patient and, if the email address changes, a notice to the previous
    /// address.
    All,
    /// No amendments.
    Off,
}

/// Which events other than registrations cause emails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notices {
    /// Which amendments cause emails.
    pub on_amend: OnAmend,
    /// Whether deletions are confirmed.
    pub on_delete: bool,
}

/// Adds deliveries to the ledger: one for each registration, except imports without a confirmation, and, if
/// enabled, one or two for an amendment and one for a deletion. When a patient is deleted, cancels the
/// patient's unsent deliveries, except notices to a previous address and the confirmation of the deletion.
/// When a patient is erased, cancels all unsent deliveries of the patient. Ignores events of other aggregates
/// and of unknown types.
#[derive(Debug)]
pub struct MailHandler {
    clock: Arc<dyn Clock>,
    wake: Arc<Notify>,
    notices: Notices,
    due: bool,
}

/// Returns the handler for the subscription [`SUBSCRIPTION`], and the `Notify` that wakes a [`crate::Worker`]
/// in the same process. `notices` selects the events that cause emails.
#[must_use]
pub fn handler(clock: Arc<dyn Clock>, notices: Notices) -> (MailHandler, Arc<Notify>) {
    let wake = Arc::new(Notify::new());
    let handler = MailHandler {
        clock,
        wake: Arc::clone(&wake),
        notices,
        due: false,
    };
    (handler, wake)
}

/// The parts of an event that determine its deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatientChange {
    /// `confirmation` is false for a patient who was imported without an email.
    Registered {
        confirmation: bool,
    },
    Amended {
        email: bool,
    },
    Deleted,
    Erased,
    Hold,
}

impl PatientChange {
    /// Returns the change that an event records, or `None` if the event belongs to another aggregate or has
    /// an unknown type.
    ///
    /// The type of an event determines the change, except for amendments, and for imports without an email.
    /// An event whose payload cannot be read therefore still causes its deliveries. Sending them fails
    /// visibly, and they can be retried with a newer version of the program. An amendment that cannot be read
    /// counts as a change of the email address, because it may be one. The amendments of an erased patient
    /// cause no deliveries, because there is no recipient.
    fn of(event: &RecordedEvent) -> Option<Self> {
        if event.aggregate_type != Patient::TYPE {
            return None;
        }
        match EventType::of(&event.event_type)? {
            EventType::PatientRegistered => Some(Self::Registered {
                confirmation: !PatientEvent::is_unconfirmed(&event.event_type, &event.payload),
            }),
            EventType::PatientAmended => match event.content(PatientEvent::from_stored) {
                Ok(None) => None,
                Ok(Some(PatientEvent::PatientAmended { email, .. })) => Some(Self::Amended {
                    email: email.is_some(),
                }),
                Ok(Some(_)) | Err(_) => Some(Self::Amended { email: true }),
            },
            EventType::PatientDeleted => Some(Self::Deleted),
            EventType::PatientErased => Some(Self::Erased),
            EventType::PatientHeld | EventType::PatientHoldReleased => Some(Self::Hold),
        }
    }
}

impl Notices {
    /// Returns the emails that a change causes.
    fn templates(self, change: PatientChange) -> &'static [Template] {
        match change {
            PatientChange::Registered { confirmation: true } => &[Template::PatientRegistered],
            PatientChange::Amended { email } => match (self.on_amend, email) {
                (OnAmend::Email | OnAmend::All, true) => {
                    &[Template::PatientAmended, Template::PatientEmailChanged]
                }
                (OnAmend::All, false) => &[Template::PatientAmended],
                (OnAmend::Email, false) | (OnAmend::Off, _) => &[],
            },
            PatientChange::Deleted if self.on_delete => &[Template::PatientDeleted],
            PatientChange::Registered { confirmation: false }
            | PatientChange::Deleted
            | PatientChange::Erased
            | PatientChange::Hold => &[],
        }
    }
}

impl Handler for MailHandler {
    type Error = eventstore::Error;

    fn needs_opened(event_type: &str) -> bool {
        event_type == PATIENT_AMENDED
    }

    fn is_of_events(error: &eventstore::Error) -> bool {
        error.is_of_data()
    }

    async fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[RecordedEvent],
    ) -> eventstore::Result<()> {
        let changes: Vec<_> = events
            .iter()
            .filter_map(|event| PatientChange::of(event).map(|change| (event, change)))
            .collect();
        let now = self.clock.now();
        self.due = false;
        for template in Template::ALL {
            let causes: Vec<_> = changes
                .iter()
                .filter(|(_, change)| self.notices.templates(*change).contains(&template))
                .map(|(event, _)| *event)
                .collect();
            self.due |= !causes.is_empty();
            ledger::add(transaction, template, &causes, now).await?;
        }
        // Cancellation follows the additions: ids are never reused, so no event after a deletion causes mail.
        let deleted: Vec<_> = changes
            .iter()
            .filter(|(_, change)| *change == PatientChange::Deleted)
            .map(|(event, _)| event.aggregate_id.as_str())
            .collect();
        ledger::cancel_for(transaction, &deleted, Template::ends_with_the_patient, now).await?;
        let erased: Vec<_> = changes
            .iter()
            .filter(|(_, change)| *change == PatientChange::Erased)
            .map(|(event, _)| event.aggregate_id.as_str())
            .collect();
        ledger::cancel_for(transaction, &erased, |_| true, now).await?;
        Ok(())
    }

    fn committed(&mut self) {
        if std::mem::take(&mut self.due) {
            self.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{EVENT_TYPES, PATIENT_REGISTERED};
    use eventstore::{Hash, Position};
    use serde_json::{Value, json};

    use super::*;

    fn event(event_type: &str, version: &str, payload: Value) -> RecordedEvent {
        RecordedEvent {
            position: Position::BEGINNING.next(),
            aggregate_type: Patient::TYPE.to_owned(),
            aggregate_id: "0193a7c2-0000-7000-8000-000000000001".to_owned(),
            sequence: 1,
            event_type: event_type.to_owned(),
            event_version: version.to_owned(),
            payload,
            metadata: json!({}),
            recorded_at: eventstore::Timestamp::from_micros(1),
            hash: Hash::default(),
            erased_at: None,
        }
    }

    #[test]
    fn the_setting_determines_which_amendments_cause_emails() {
        use Template::{PatientAmended, PatientEmailChanged};
        let amended = |changes: Value| {
            let mut payload = json!({ "type": PATIENT_AMENDED });
            payload
                .as_object_mut()
                .unwrap()
                .extend(changes.as_object().unwrap().clone());
            PatientChange::of(&event(PATIENT_AMENDED, "1.0", payload)).unwrap()
        };
        let email = amended(json!({ "email": "b@example.com", "phone": "+1234567890" }));
        let phone = amended(json!({ "phone": "+1234567890" }));
        for (on_amend, of_email, of_phone) in [
            (OnAmend::Email, vec![PatientAmended, PatientEmailChanged], vec![]),
            (
                OnAmend::All,
                vec![PatientAmended, PatientEmailChanged],
                vec![PatientAmended],
            ),
            (OnAmend::Off, vec![], vec![]),
        ] {
            let notices = Notices {
                on_amend,
                on_delete: true,
            };
            assert_eq!(notices.templates(email), of_email, "{on_amend:?}");
            assert_eq!(notices.templates(phone), of_phone, "{on_amend:?}");
        }
        assert_eq!(Notices::default().on_amend, OnAmend::Email);
    }

    #[test]
    fn an_import_causes_an_email_only_if_it_asks_for_one_also_while_it_is_sealed() {
        let notices = Notices::default();
        let templates = |payload: Value| {
            let event = event(PATIENT_REGISTERED, "2.1", payload);
            notices.templates(PatientChange::of(&event).unwrap())
        };
        let sealed = json!({ "v": 1 });
        assert_eq!(
            templates(json!({ "type": PATIENT_REGISTERED, "sealed": sealed, "confirmation": false })),
            []
        );
        assert_eq!(
            templates(json!({ "type": PATIENT_REGISTERED, "sealed": sealed })),
            [Template::PatientRegistered]
        );
    }

    #[test]
    fn an_event_of_a_known_type_is_never_ignored_even_if_it_cannot_be_read() {
        for event_type in EVENT_TYPES {
            for (version, payload) in [("1.0", json!({})), ("7.0", json!({ "type": event_type }))] {
                assert_ne!(
                    PatientChange::of(&event(event_type, version, payload)),
                    None,
                    "{event_type}"
                );
            }
        }
        let amended = PatientChange::of(&event(PATIENT_AMENDED, "7.0", json!({})));
        assert_eq!(amended, Some(PatientChange::Amended { email: true }));
        assert_eq!(PatientChange::of(&event("PatientMoved", "1.0", json!({}))), None);
        let mut other = event(PATIENT_REGISTERED, "1.0", json!({}));
        other.aggregate_type = "clinic".to_owned();
        assert_eq!(PatientChange::of(&other), None);
    }
}
