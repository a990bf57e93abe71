//! Reading an event back from the log.

use cqrs_es::Aggregate;
use cqrs_es::DomainEvent;
use cqrs_es::persist::SerializedEvent;
use serde::Deserialize;
use serde_json::Value;

use crate::{Patient, PatientEvent, current_versions, upcasters};

/// A stored event that this version of the program cannot read.
///
/// The error deliberately has no source: messages of `serde_json` quote the payload, which is personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoredEventError {
    /// The event type is unknown. A newer version of the program wrote the log, or the log belongs to another
    /// program.
    #[error("unknown event type {event_type}")]
    UnknownType {
        /// Stored event type.
        event_type: String,
    },
    /// The event type is known, but no upcaster converts this version to the current version.
    #[error("unknown version {event_version} of {event_type}")]
    UnknownVersion {
        /// Stored event type.
        event_type: String,
        /// Stored version.
        event_version: String,
    },
    /// The payload does not have the shape of its type and version.
    #[error("the payload does not have the shape of {event_type} version {event_version}")]
    Malformed {
        /// Stored event type.
        event_type: String,
        /// Stored version.
        event_version: String,
    },
}

impl PatientEvent {
    /// Reads an event from its three stored columns, with the same [`upcasters`] as cqrs-es.
    ///
    /// Intended for readers of the feed, which do not have cqrs-es's envelope. This function is stricter than
    /// cqrs-es, which reads only the payload. The version must be known, and the `type` in the payload must
    /// match the column.
    ///
    /// # Errors
    ///
    /// - [`StoredEventError::UnknownType`] if the event type is unknown.
    /// - [`StoredEventError::UnknownVersion`] if the version is not current and no upcaster converts it to
    ///   the current version.
    /// - [`StoredEventError::Malformed`] if the payload does not have the shape of its type and version.
    pub fn from_stored(
        event_type: &str,
        event_version: &str,
        payload: &Value,
    ) -> Result<PatientEvent, StoredEventError> {
        // Nearly all events have a current version, and need no envelope for the upcasters.
        if current_versions(event_type).contains(&event_version) {
            let stored = (event_type, event_version);
            return deserialize(stored, stored, payload);
        }
        let upcast = upcast(event_type, event_version, payload.clone());
        match current_versions(&upcast.event_type) {
            [] => Err(StoredEventError::UnknownType {
                event_type: event_type.to_owned(),
            }),
            current if current.contains(&upcast.event_version.as_str()) => {
                let expected = (upcast.event_type.as_str(), upcast.event_version.as_str());
                deserialize(expected, (event_type, event_version), &upcast.payload)
            }
            _ => Err(StoredEventError::UnknownVersion {
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

/// Returns the numbers of a version, which order versions: 1.10 is later than 1.2. `None` if the version is
/// malformed.
fn number(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Reads a payload that must have the shape of the `expected` type and version. `stored` are the type and
/// version before upcasting.
fn deserialize(
    expected: (&str, &str),
    stored: (&str, &str),
    payload: &Value,
) -> Result<PatientEvent, StoredEventError> {
    // An event with members that only a later version has is malformed.
    let fits = |event: &PatientEvent| {
        event.event_type() == expected.0 && number(&event.event_version()) <= number(expected.1)
    };
    PatientEvent::deserialize(payload)
        .ok()
        .filter(fits)
        .ok_or_else(|| StoredEventError::Malformed {
            event_type: stored.0.to_owned(),
            event_version: stored.1.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let ordered = ["0.9", "1.0", "1.2", "1.10", "2.0", "10.0"].map(number);
        assert!(ordered.is_sorted());
        assert!(ordered.iter().all(Option::is_some));
    }

    #[test]
    fn every_current_version_has_numbers() {
        for event_type in crate::EVENT_TYPES {
            for version in current_versions(event_type) {
                assert!(number(version).is_some(), "{event_type} {version}");
            }
        }
    }
}
