//! Conversion of a batch of events into row changes of the read table.

use std::collections::BTreeMap;

use cqrs_es::Aggregate;
use domain::{Patient, PatientDetails, PatientEvent, StoredEventError, name_key};
use eventstore::{RecordedEvent, Timestamp};

/// A row of `patient_view`, without its generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PatientRow {
    pub(crate) id: String,
    /// Search key of the patient's name.
    pub(crate) name_key: String,
    pub(crate) details: PatientDetails,
    pub(crate) sequence: u64,
    pub(crate) registered_at: Timestamp,
}

/// The rows to delete and the rows to insert, each in order of id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) deleted: Vec<String>,
    pub(crate) inserted: Vec<PatientRow>,
}

/// Folds `events` into at most one change per row. A patient who is both registered and deleted by these
/// events needs no change.
pub(crate) fn changes<'e>(
    events: impl IntoIterator<Item = &'e RecordedEvent>,
) -> Result<Changes, (&'e RecordedEvent, StoredEventError)> {
    let mut rows: BTreeMap<&str, Option<PatientRow>> = BTreeMap::new();
    let mut changes = Changes::default();
    for event in events
        .into_iter()
        .filter(|event| event.aggregate_type == Patient::TYPE)
    {
        let row = PatientEvent::from_stored(&event.event_type, &event.event_version, &event.payload)
            .and_then(PatientEvent::into_row)
            .map_err(|error| (event, error))?;
        let row = row.map(|details| PatientRow {
            id: event.aggregate_id.clone(),
            name_key: name_key(&details.name),
            details,
            sequence: event.sequence,
            registered_at: event.recorded_at,
        });
        let deletes = row.is_none();
        if rows.insert(&event.aggregate_id, row).is_none() && deletes {
            changes.deleted.push(event.aggregate_id.clone());
        }
    }
    changes.deleted.sort_unstable();
    changes.inserted = rows.into_values().flatten().collect();
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use eventstore::{Hash, Position};
    use serde_json::{Value, json};

    use super::*;

    fn event(position: u64, id: &str, event_type: &str, payload: Value) -> RecordedEvent {
        RecordedEvent {
            position: Position::new(position).unwrap(),
            aggregate_type: "patient".into(),
            aggregate_id: id.into(),
            sequence: position,
            event_type: event_type.into(),
            event_version: "1.0".into(),
            payload,
            metadata: json!({}),
            recorded_at: Timestamp::from_micros(1),
            hash: Hash::default(),
        }
    }

    fn registered(position: u64, id: &str) -> RecordedEvent {
        let payload = json!({
            "type": "PatientRegistered", "name": id, "email": "a@example.com", "phone": "123",
            "document_url": "https://example.com/a",
        });
        event(position, id, "PatientRegistered", payload)
    }

    fn deleted(position: u64, id: &str) -> RecordedEvent {
        event(position, id, "PatientDeleted", json!({"type": "PatientDeleted"}))
    }

    fn inserted(changes: &Changes) -> Vec<&str> {
        changes.inserted.iter().map(|row| row.id.as_str()).collect()
    }

    #[test]
    fn a_registration_inserts_and_a_deletion_deletes() {
        let events = [registered(1, "b"), deleted(2, "x"), registered(3, "a")];
        let changes = changes(&events).unwrap();
        assert_eq!(inserted(&changes), ["a", "b"]);
        assert_eq!(changes.deleted, ["x"]);
    }

    #[test]
    fn a_patient_registered_and_deleted_in_one_batch_needs_no_change() {
        let events = [registered(1, "a"), deleted(2, "a")];
        assert_eq!(changes(&events).unwrap(), Changes::default());
    }

    #[test]
    fn events_of_other_aggregates_are_passed_over() {
        let mut other = registered(1, "a");
        other.aggregate_type = "invoice".into();
        assert_eq!(changes(&[other]).unwrap(), Changes::default());
    }

    #[test]
    fn an_unreadable_event_of_a_patient_is_an_error_that_names_it() {
        let events = [registered(1, "a"), event(2, "b", "PatientMoved", json!({}))];
        let (event, error) = changes(&events).unwrap_err();
        assert_eq!(event.position.get(), 2);
        assert_eq!(error.to_string(), "unknown event type PatientMoved");
    }
}
