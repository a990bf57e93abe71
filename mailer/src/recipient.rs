//! The recipient of an email, from the events of the patient.

use std::fmt;

use domain::{
    PATIENT_DELETED, PATIENT_ERASED, PATIENT_REGISTERED, PatientDetails, PatientEvent, StoredEventError,
    evolve,
};
use eventstore::{RecordedEvent, Timestamp};

use crate::error::DeliveryFailure;

/// State of a patient after some of the patient's events. Its size does not depend on the number of events.
///
/// `Debug` shows nothing, because its output can appear in logs.
#[derive(Clone, Default)]
pub struct RecipientState {
    details: Option<PatientDetails>,
    registered_at: Option<Timestamp>,
    deleted: bool,
    erased: bool,
    /// Reason why an event cannot be read. The details after that event are unknown.
    unreadable: Option<StoredEventError>,
}

/// The patient as addressed in an email. `Debug` shows nothing, because its output can appear in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient {
    pub(crate) name: String,
    pub(crate) email: String,
    /// Time of the registration.
    pub(crate) registered_at: Timestamp,
}

impl RecipientState {
    /// Applies the patient's next event.
    pub fn apply(&mut self, event: &RecordedEvent) {
        // The type alone is sufficient, because an id is never reused.
        self.deleted |= event.event_type == PATIENT_DELETED;
        self.erased |= event.event_type == PATIENT_ERASED || event.erased_at.is_some();
        if event.event_type == PATIENT_REGISTERED {
            self.registered_at.get_or_insert(event.recorded_at);
        }
        if self.unreadable.is_some() {
            return;
        }
        self.details = match event.content(PatientEvent::from_stored) {
            Ok(None) => None,
            Ok(Some(decoded)) => evolve(self.details.take(), decoded),
            Err(error) => {
                self.unreadable = Some(error);
                None
            }
        };
    }

    /// Whether the patient was deleted.
    pub(crate) const fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// Whether the patient was erased.
    pub(crate) const fn is_erased(&self) -> bool {
        self.erased
    }

    /// Returns the recipient of an email at this point.
    ///
    /// # Errors
    ///
    /// [`DeliveryFailure::EventUnreadable`] if an event up to this point cannot be read: the event may have
    /// changed the address. [`DeliveryFailure::EventMissing`] if the patient is not registered at this point.
    pub fn recipient(&self) -> Result<Recipient, DeliveryFailure> {
        if let Some(unreadable) = &self.unreadable {
            return Err(DeliveryFailure::EventUnreadable(unreadable.clone()));
        }
        match (&self.details, self.registered_at) {
            (Some(details), Some(registered_at)) => Ok(Recipient {
                name: details.name.clone(),
                email: details.email.clone(),
                registered_at,
            }),
            _ => Err(DeliveryFailure::EventMissing),
        }
    }
}

impl fmt::Debug for RecipientState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecipientState").finish_non_exhaustive()
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipient").finish_non_exhaustive()
    }
}
