//! Events of a patient.

use std::fmt;

use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

use crate::{Patient, PatientDetails, PatientState, Registration, StoredEventError};

/// Stored type name of [`PatientEvent::PatientRegistered`].
pub const PATIENT_REGISTERED: &str = "PatientRegistered";

/// Stored type name of [`PatientEvent::PatientDeleted`].
pub const PATIENT_DELETED: &str = "PatientDeleted";

/// Stored type names of all events.
pub const EVENT_TYPES: [&str; 2] = [PATIENT_REGISTERED, PATIENT_DELETED];

/// Version with which new events are stored.
pub const EVENT_VERSION: &str = "1.0";

/// A fact about one patient.
///
/// The JSON form is one flat object whose `type` is the event type:
///
/// ```
/// # use domain::PatientEvent;
/// let event = PatientEvent::PatientDeleted {};
/// assert_eq!(serde_json::to_string(&event)?, r#"{"type":"PatientDeleted"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// The fields are plain strings rather than parsed values, so stored events stay readable when the rules for
/// new input change. Unknown fields are rejected, because they would otherwise be lost silently.
///
/// `Debug` shows only the type name, because its output can appear in logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum PatientEvent {
    /// A patient was registered.
    PatientRegistered {
        /// The patient's name, as normalized by [`Name`](crate::Name).
        name: String,
        /// The patient's email address, as normalized by [`Email`](crate::Email).
        email: String,
        /// The patient's phone number, as normalized by [`Phone`](crate::Phone).
        phone: String,
        /// URL of the photo of the patient's document, as normalized by [`DocumentUrl`](crate::DocumentUrl).
        document_url: String,
    },
    /// The patient was deleted.
    // The braces allow adding a field later without changing the JSON of stored events.
    PatientDeleted {},
}

impl PatientEvent {
    /// Returns the patient's details if the event contains all details. A registration contains all of them.
    #[must_use]
    pub fn into_details(self) -> Option<PatientDetails> {
        let mut patient = Patient::default();
        patient.apply(self);
        match patient.into_state() {
            PatientState::Active(details) => Some(details),
            PatientState::Unregistered | PatientState::Deleted => None,
        }
    }

    /// Returns the patient's details after this event, or `None` if the event deletes the patient. Intended
    /// for readers that keep one row per patient.
    ///
    /// # Errors
    ///
    /// [`StoredEventError::Partial`] if the event contains only part of the patient's details.
    pub fn into_row(self) -> Result<Option<PatientDetails>, StoredEventError> {
        let event_type = self.type_name();
        let mut patient = Patient::default();
        patient.apply(self);
        match patient.into_state() {
            PatientState::Active(details) => Ok(Some(details)),
            PatientState::Deleted => Ok(None),
            PatientState::Unregistered => Err(StoredEventError::Partial {
                event_type: event_type.to_owned(),
            }),
        }
    }

    const fn type_name(&self) -> &'static str {
        match self {
            Self::PatientRegistered { .. } => PATIENT_REGISTERED,
            Self::PatientDeleted {} => PATIENT_DELETED,
        }
    }
}

/// Returns the version of new events of a type, or `None` if the type is unknown.
pub(crate) fn current_version(event_type: &str) -> Option<&'static str> {
    match event_type {
        PATIENT_REGISTERED | PATIENT_DELETED => Some(EVENT_VERSION),
        _ => None,
    }
}

impl DomainEvent for PatientEvent {
    fn event_type(&self) -> String {
        self.type_name().to_owned()
    }

    fn event_version(&self) -> String {
        EVENT_VERSION.to_owned()
    }
}

impl From<Registration> for PatientEvent {
    fn from(registration: Registration) -> Self {
        PatientDetails::from(registration).into()
    }
}

/// Creates the registration event of a patient with these details.
impl From<PatientDetails> for PatientEvent {
    fn from(details: PatientDetails) -> Self {
        Self::PatientRegistered {
            name: details.name,
            email: details.email,
            phone: details.phone,
            document_url: details.document_url,
        }
    }
}

impl fmt::Debug for PatientEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(self.type_name()).finish_non_exhaustive()
    }
}
