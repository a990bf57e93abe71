//! Reading an event back from the log.

use cqrs_es::Aggregate;
use cqrs_es::DomainEvent;
use cqrs_es::persist::SerializedEvent;
use serde::Deserialize;
use serde_json::Value;

use crate::event::current_version;
use crate::{Patient, PatientEvent, upcasters};

/// A stored event that this version of the program cannot read.
///
/// It has no source on purpose: `serde_json`'s messages quote the payload, which is personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoredEventError {
    /// No event has this type: the log was written by a newer version of the program, or is not ours.
    #[error("unknown event type {event_type}")]
    UnknownType {
        /// The type, as stored.
        event_type: String,
    },
    /// The type is known, but not this version of it, and no upcaster leads from it to the present one.
    #[error("unknown version {event_version} of {event_type}")]
    UnknownVersion {
        /// The type, as stored.
        event_type: String,
        /// The version, as stored.
        event_version: String,
    },
    /// The event tells only a part of its patient, and its reader needs all of it.
    #[error("{event_type} tells only a part of its patient")]
    Partial {
        /// The type, as stored.
        event_type: String,
    },
    /// The payload does not have the shape that its type and version promise.
    #[error("the payload does not have the shape of {event_type} version {event_version}")]
    Malformed {
        /// The type, as stored.
        event_type: String,
        /// The version, as stored.
        event_version: String,
    },
}

impl PatientEvent {
    /// Reads an event from the three columns that hold it, through the same [`upcasters`] as cqrs-es.
    ///
    /// For whoever reads the feed without cqrs-es's envelope. It is stricter than cqrs-es, which looks at the
    /// payload alone: the version must be one that is known, and the payload's own `type` must agree with the
    /// column.
    ///
    /// # Errors
    ///
    /// - [`StoredEventError::UnknownType`]: no event has this type.
    /// - [`StoredEventError::UnknownVersion`]: the version is not the present one and no upcaster leads to
    ///   it.
    /// - [`StoredEventError::Malformed`]: the payload does not have the shape of its type and version.
    pub fn from_stored(
        event_type: &str,
        event_version: &str,
        payload: &Value,
    ) -> Result<PatientEvent, StoredEventError> {
        // Nearly every event is of the present version: those skip the envelope that upcasters work on.
        if current_version(event_type) == Some(event_version) {
            return deserialize(event_type, event_type, event_version, payload);
        }
        let upcast = upcast(event_type, event_version, payload.clone());
        match current_version(&upcast.event_type) {
            None => Err(StoredEventError::UnknownType {
                event_type: event_type.to_owned(),
            }),
            Some(current) if current == upcast.event_version => {
                deserialize(&upcast.event_type, event_type, event_version, &upcast.payload)
            }
            Some(_) => Err(StoredEventError::UnknownVersion {
                event_type: event_type.to_owned(),
                event_version: event_version.to_owned(),
            }),
        }
    }
}

fn upcast(event_type: &str, event_version: &str, payload: Value) -> SerializedEvent {
    let stored = SerializedEvent::new(
        String::new(),
        0,
        Patient::TYPE.to_owned(),
        event_type.to_owned(),
        event_version.to_owned(),
        payload,
        Value::Null,
    );
    upcasters().iter().fold(stored, |event, upcaster| {
        if upcaster.can_upcast(&event.event_type, &event.event_version) {
            upcaster.upcast(event)
        } else {
            event
        }
    })
}

fn deserialize(
    expected_type: &str,
    stored_type: &str,
    stored_version: &str,
    payload: &Value,
) -> Result<PatientEvent, StoredEventError> {
    PatientEvent::deserialize(payload)
        .ok()
        .filter(|event| event.event_type() == expected_type)
        .ok_or_else(|| StoredEventError::Malformed {
            event_type: stored_type.to_owned(),
            event_version: stored_version.to_owned(),
        })
}
