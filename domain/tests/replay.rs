//! Tests of past states of a patient.
#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

use domain::{
    PATIENT_DELETED, PATIENT_REGISTERED, Patient, PatientState, ReplayEvent, StoredEventError, Until,
};
use serde_json::{Value, json};

/// Returns the history of a patient who was registered at time 10 and deleted at time 20.
fn history() -> [ReplayEvent<i64>; 2] {
    [
        event(1, 10, PATIENT_REGISTERED, registration()),
        event(2, 20, PATIENT_DELETED, json!({ "type": PATIENT_DELETED })),
    ]
}

fn event(sequence: u64, recorded_at: i64, event_type: &str, payload: Value) -> ReplayEvent<i64> {
    ReplayEvent {
        sequence,
        recorded_at,
        event_type: event_type.to_owned(),
        event_version: "1.0".to_owned(),
        payload,
    }
}

fn registration() -> Value {
    json!({
        "type": PATIENT_REGISTERED,
        "name": "John Doe",
        "email": "john@example.com",
        "phone": "+1234567890",
        "document_url": "https://example.com/photo.jpg",
    })
}

fn replayed(until: Until<i64>) -> Patient {
    let mut patient = Patient::default();
    patient.replay(history(), &until).unwrap();
    patient
}

fn life(patient: &Patient) -> &'static str {
    match patient.state() {
        PatientState::Unregistered => "unregistered",
        PatientState::Active(_) => "active",
        PatientState::Deleted => "deleted",
        PatientState::Erased => "erased",
    }
}

#[test]
fn the_event_with_the_sequence_is_included() {
    for (sequence, expected) in [(0, "unregistered"), (1, "active"), (2, "deleted"), (9, "deleted")] {
        let patient = replayed(Until::Sequence(sequence));
        assert_eq!(life(&patient), expected, "after {sequence}");
        assert_eq!(patient.sequence(), sequence.min(2));
    }
    assert_eq!(life(&replayed(Until::Now)), "deleted");
}

#[test]
fn an_event_is_included_from_the_time_of_its_recording() {
    for (moment, expected) in [
        (9, "unregistered"),
        (10, "active"),
        (19, "active"),
        (20, "deleted"),
        (i64::MAX, "deleted"),
    ] {
        assert_eq!(life(&replayed(Until::Moment(moment))), expected, "at {moment}");
    }
}

#[test]
fn a_history_can_be_replayed_page_by_page() {
    let until = Until::Sequence(2);
    let mut patient = Patient::default();
    for page in history() {
        patient.replay([page], &until).unwrap();
    }
    assert_eq!(patient, replayed(until));
}

#[test]
fn a_past_state_is_available_although_a_later_event_is_unreadable() {
    let [registered, _] = history();
    let unknown = event(2, 20, "PatientTransferred", json!({}));
    let mut patient = Patient::default();
    patient
        .replay([registered.clone(), unknown.clone()], &Until::Moment(19))
        .unwrap();
    assert_eq!(life(&patient), "active");

    let refused = Patient::default().replay([registered, unknown], &Until::Now);
    assert!(
        matches!(refused, Err(StoredEventError::UnknownType { .. })),
        "{refused:?}"
    );
}

#[test]
fn every_listed_type_can_be_read() {
    for event_type in domain::EVENT_TYPES {
        let unreadable = Patient::default().replay([event(1, 10, event_type, Value::Null)], &Until::Now);
        assert!(
            matches!(unreadable, Err(StoredEventError::Malformed { .. })),
            "{unreadable:?}"
        );
    }
}
