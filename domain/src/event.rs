//! What happened to a patient.

use std::fmt;

use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

use crate::{Patient, PatientDetails, PatientState, Registration, StoredEventError};

/// The type name of [`PatientEvent::PatientRegistered`], as stored.
pub const PATIENT_REGISTERED: &str = "PatientRegistered";

/// The type name of [`PatientEvent::PatientDeleted`], as stored.
pub const PATIENT_DELETED: &str = "PatientDeleted";

/// The type names of all events, as stored.
pub const EVENT_TYPES: [&str; 2] = [PATIENT_REGISTERED, PATIENT_DELETED];

/// The version under which every event is written now, as stored.
pub const EVENT_VERSION: &str = "1.0";

/// A fact about one patient.
///
/// As JSON it is one flat object whose `type` is the event type:
///
/// ```
/// # use domain::PatientEvent;
/// let event = PatientEvent::PatientDeleted {};
/// assert_eq!(serde_json::to_string(&event)?, r#"{"type":"PatientDeleted"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// The fields are plain strings, not the values they were parsed from: a fact stays readable when the rules
/// for new input change. A field that no version knows is refused, since it would otherwise be lost in
/// silence.
///
/// `Debug` shows the type name alone, because it ends up in logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum PatientEvent {
    /// A patient was registered.
    PatientRegistered {
        /// The patient's name, as [`Name`](crate::Name) keeps it.
        name: String,
        /// The patient's email address, as [`Email`](crate::Email) keeps it.
        email: String,
        /// The patient's phone number, as [`Phone`](crate::Phone) keeps it.
        phone: String,
        /// Where the photo of the patient's document is, as [`DocumentUrl`](crate::DocumentUrl) keeps it.
        document_url: String,
    },
    /// The patient was deleted.
    // With braces, so that a field can be added later without changing the JSON of the events stored before.
    PatientDeleted {},
}

impl PatientEvent {
    /// What a registration tells of the patient; `None` for an event that does not tell all of it.
    #[must_use]
    pub fn into_details(self) -> Option<PatientDetails> {
        let mut patient = Patient::default();
        patient.apply(self);
        match patient.into_state() {
            PatientState::Active(details) => Some(details),
            PatientState::Unregistered | PatientState::Deleted => None,
        }
    }

    /// What is known of the patient after this event, for a reader that keeps one row a patient: its details,
    /// or nothing if it was deleted.
    ///
    /// # Errors
    ///
    /// [`StoredEventError::Partial`] if the event tells only a part of its patient.
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

/// The version under which events of a type are written now, or `None` if there is no such type.
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

/// The registration of a patient with these details.
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
