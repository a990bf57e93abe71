//! Events of a patient.

use std::fmt;

use chrono::NaiveDate;
use cqrs_es::DomainEvent;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{EventType, HoldReason, ImportedFrom, PATIENT_REGISTERED, PatientDetails, Registration};

/// Names of the event fields that contain personal data. Only version 0.9 of `PatientRegistered` has
/// `document`, which later became `document_url`.
pub const PERSONAL_FIELDS: &[&str] = &[
    "name",
    "email",
    "phone",
    "document_url",
    "document",
    "imported_from",
];

/// The versions of events with personal data, each with the version with which such events are stored when
/// their personal data is sealed. Sealing changes only the stored form: readers get the event as it was
/// before sealing, with its original version.
pub const SEALED_VERSIONS: &[(&str, &str)] = &[("1.0", "2.0"), ("1.1", "2.1")];

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
        /// Where the patient was imported from. Since version 1.1.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "present"
        )]
        imported_from: Option<ImportedFrom>,
        /// Whether the registration is confirmed by email. Stored only if `false`, and never sealed, so the
        /// mailer can read it without the key. Since version 1.1.
        #[serde(default = "confirmed", skip_serializing_if = "is_confirmed")]
        confirmation: bool,
    },
    /// Some of the patient's details were changed. Fields that did not change are absent.
    PatientAmended {
        /// The new name.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "present"
        )]
        name: Option<String>,
        /// The new email address.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "present"
        )]
        email: Option<String>,
        /// The new phone number.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "present"
        )]
        phone: Option<String>,
        /// The new URL of the photo of the patient's document.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "present"
        )]
        document_url: Option<String>,
    },
    /// The patient was deleted.
    // The braces allow adding a field later without changing the JSON of stored events.
    PatientDeleted {},
    /// The patient was erased: the personal data in the patient's earlier events can no longer be read. An
    /// erased patient is also deleted.
    PatientErased {
        /// Reason for the erasure.
        reason: ErasureReason,
        /// Which of the patient's events are unreadable.
        scope: ErasureScope,
    },
    /// The patient must not be erased for a time. This hold replaces an earlier hold.
    PatientHeld {
        /// Last day of the hold, in UTC.
        until: NaiveDate,
        /// Reason for the hold.
        reason: HoldReason,
    },
    /// The hold was released before its last day.
    PatientHoldReleased {},
}

/// Reason for an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasureReason {
    /// The patient requested it.
    Request,
    /// The retention period has ended.
    Retention,
    /// The patient was registered in error.
    Error,
}

impl ErasureReason {
    /// Name of the reason in events and requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Retention => "retention",
            Self::Error => "error",
        }
    }
}

/// Which of a patient's events an erasure makes unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasureScope {
    /// All events.
    Full,
    /// Only the sealed events. The log also has unencrypted events of the patient, from before the log was
    /// sealed.
    Partial,
}

impl ErasureScope {
    /// Name of the scope in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial => "partial",
        }
    }
}

impl PatientEvent {
    /// Whether the patient's details after this event follow from the event alone. If not, a reader must also
    /// know the details before the event, see [`evolve`](fn@crate::evolve).
    #[must_use]
    pub const fn is_self_contained(&self) -> bool {
        match self {
            Self::PatientRegistered { .. } | Self::PatientDeleted {} | Self::PatientErased { .. } => true,
            Self::PatientAmended { .. } | Self::PatientHeld { .. } | Self::PatientHoldReleased {} => false,
        }
    }

    /// Whether a stored event is a registration that asks for no email. The member `confirmation` is never
    /// sealed, so this also works for a payload that is not opened. A registration of an unknown shape asks
    /// for an email.
    #[must_use]
    pub fn is_unconfirmed(event_type: &str, payload: &Value) -> bool {
        event_type == PATIENT_REGISTERED && payload.get("confirmation") == Some(&Value::Bool(false))
    }

    /// Type of the event.
    #[must_use]
    pub const fn kind(&self) -> EventType {
        match self {
            Self::PatientRegistered { .. } => EventType::PatientRegistered,
            Self::PatientAmended { .. } => EventType::PatientAmended,
            Self::PatientDeleted {} => EventType::PatientDeleted,
            Self::PatientErased { .. } => EventType::PatientErased,
            Self::PatientHeld { .. } => EventType::PatientHeld,
            Self::PatientHoldReleased {} => EventType::PatientHoldReleased,
        }
    }
}

/// Whether events with this stored version have their personal data sealed.
#[must_use]
pub fn is_sealed_version(event_version: &str) -> bool {
    SEALED_VERSIONS.iter().any(|(_, sealed)| *sealed == event_version)
}

/// Reads a field that is present. `null` is rejected, because an unchanged field is absent.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

const fn confirmed() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls this function")]
const fn is_confirmed(confirmation: &bool) -> bool {
    *confirmation
}

impl DomainEvent for PatientEvent {
    fn event_type(&self) -> String {
        self.kind().name().to_owned()
    }

    fn event_version(&self) -> String {
        let version = match self {
            Self::PatientRegistered {
                imported_from: None,
                confirmation: true,
                ..
            }
            | Self::PatientAmended { .. }
            | Self::PatientDeleted {}
            | Self::PatientErased { .. }
            | Self::PatientHeld { .. }
            | Self::PatientHoldReleased {} => "1.0",
            Self::PatientRegistered { .. } => "1.1",
        };
        version.to_owned()
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
            imported_from: None,
            confirmation: true,
        }
    }
}

impl fmt::Debug for PatientEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(self.kind().name()).finish_non_exhaustive()
    }
}
