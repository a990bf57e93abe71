//! Tests that the JSON of events does not change, and that every shape that was ever stored can be read.

use std::collections::HashMap;

use cqrs_es::persist::SerializedEvent;
use cqrs_es::{Aggregate, DomainEvent, EventEnvelope};
use domain::{
    ErasureReason, ErasureScope, EventType, HoldReason, ImportedFrom, PATIENT_AMENDED, PATIENT_DELETED,
    PATIENT_ERASED, PATIENT_HELD, PATIENT_HOLD_RELEASED, PATIENT_REGISTERED, PERSONAL_FIELDS, Patient,
    PatientEvent, SEALED_VERSIONS, StoredEventError, is_personal, upcasters,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn registered() -> PatientEvent {
    PatientEvent::PatientRegistered {
        name: "John Doe".to_owned(),
        email: "john@example.com".to_owned(),
        phone: "+1234567890".to_owned(),
        document_url: "https://example.com/photo.jpg".to_owned(),
        imported_from: None,
        confirmation: true,
    }
}

fn imported() -> PatientEvent {
    let mut event = registered();
    if let PatientEvent::PatientRegistered {
        imported_from,
        confirmation,
        ..
    } = &mut event
    {
        *imported_from = Some(ImportedFrom {
            source: "patients".to_owned(),
            id: "17".to_owned(),
        });
        *confirmation = false;
    }
    event
}

fn imported_1_1() -> Value {
    let mut payload = registered_1_0();
    payload["imported_from"] = json!({"source": "patients", "id": "17"});
    payload["confirmation"] = json!(false);
    payload
}

fn registered_1_0() -> Value {
    json!({
        "type": "PatientRegistered",
        "name": "John Doe",
        "email": "john@example.com",
        "phone": "+1234567890",
        "document_url": "https://example.com/photo.jpg",
    })
}

fn registered_0_9() -> Value {
    json!({
        "type": "PatientRegistered",
        "name": "John Doe",
        "email": "john@example.com",
        "phone": "+1234567890",
        "document": "https://example.com/photo.jpg",
    })
}

/// Reads an event like cqrs-es: applies the upcasters in order, then reads only the payload.
fn read_by_cqrs_es(event_type: &str, event_version: &str, payload: Value) -> Option<EventEnvelope<Patient>> {
    let stored = SerializedEvent::new(
        "0199aabb-0000-7000-8000-000000000001".to_owned(),
        1,
        Patient::TYPE.to_owned(),
        event_type.to_owned(),
        event_version.to_owned(),
        payload,
        json!({ "request_id": "r-1" }),
    );
    let upcast = upcasters().iter().fold(stored, |event, upcaster| {
        if upcaster.can_upcast(&event.event_type, &event.event_version) {
            upcaster.upcast(event)
        } else {
            event
        }
    });
    EventEnvelope::try_from(upcast).ok()
}

/// Returns an event of a type, with all its fields.
fn event_of(event_type: EventType) -> PatientEvent {
    let text = || Some("text".to_owned());
    match event_type {
        EventType::PatientRegistered => imported(),
        EventType::PatientAmended => PatientEvent::PatientAmended {
            name: text(),
            email: text(),
            phone: text(),
            document_url: text(),
        },
        EventType::PatientDeleted => PatientEvent::PatientDeleted {},
        EventType::PatientErased => PatientEvent::PatientErased {
            reason: ErasureReason::Request,
            scope: ErasureScope::Full,
        },
        EventType::PatientHeld => PatientEvent::PatientHeld {
            until: chrono::NaiveDate::MAX,
            reason: HoldReason::LegalClaim,
        },
        EventType::PatientHoldReleased => PatientEvent::PatientHoldReleased {},
    }
}

#[test]
fn exactly_the_events_with_personal_fields_are_personal() {
    for event_type in EventType::ALL.iter().copied() {
        let json = serde_json::to_value(event_of(event_type)).unwrap();
        assert_eq!(json["type"], event_type.name());
        let has_personal_fields = PERSONAL_FIELDS.iter().any(|field| json.get(field).is_some());
        assert_eq!(event_type.is_personal(), has_personal_fields, "{json}");
        assert_eq!(is_personal(event_type.name()), has_personal_fields, "{json}");
    }
}

#[test]
fn the_json_of_a_registration_is_fixed() {
    let event = registered();
    assert_eq!(
        serde_json::to_string(&event).unwrap(),
        concat!(
            r#"{"type":"PatientRegistered","name":"John Doe","email":"john@example.com","#,
            r#""phone":"+1234567890","document_url":"https://example.com/photo.jpg"}"#,
        )
    );
    assert_eq!(
        (event.event_type().as_str(), event.event_version().as_str()),
        ("PatientRegistered", "1.0")
    );
}

#[test]
fn the_json_of_an_imported_registration_is_fixed_and_has_a_version_of_its_own() {
    let event = imported();
    assert_eq!(
        serde_json::to_string(&event).unwrap(),
        concat!(
            r#"{"type":"PatientRegistered","name":"John Doe","email":"john@example.com","#,
            r#""phone":"+1234567890","document_url":"https://example.com/photo.jpg","#,
            r#""imported_from":{"source":"patients","id":"17"},"confirmation":false}"#,
        )
    );
    assert_eq!(event.event_version(), "1.1");
    let read = |version, payload| PatientEvent::from_stored(PATIENT_REGISTERED, version, &payload);
    assert_eq!(read("1.1", imported_1_1()), Ok(event));
    assert_eq!(read("1.1", registered_1_0()), Ok(registered()));
    assert!(matches!(
        read("1.0", imported_1_1()),
        Err(StoredEventError::Malformed { .. })
    ));
    for (member, value) in [
        ("imported_from", Value::Null),
        ("imported_from", json!({"source": "patients"})),
        ("confirmation", json!("no")),
    ] {
        let mut payload = imported_1_1();
        payload[member] = value;
        let read = read("1.1", payload);
        assert!(
            matches!(read, Err(StoredEventError::Malformed { .. })),
            "{member}: {read:?}"
        );
    }
}

#[test]
fn only_an_imported_registration_can_ask_for_no_email() {
    let unconfirmed = |event_type, payload| PatientEvent::is_unconfirmed(event_type, &payload);
    assert!(unconfirmed(PATIENT_REGISTERED, imported_1_1()));
    // The payload of a sealed event has the member, too.
    let sealed = json!({"type": "PatientRegistered", "sealed": {}, "confirmation": false});
    assert!(unconfirmed(PATIENT_REGISTERED, sealed));
    for payload in [
        registered_1_0(),
        json!({"confirmation": true}),
        json!({"confirmation": 0}),
        json!({"confirmation": null}),
        json!(false),
    ] {
        assert!(!unconfirmed(PATIENT_REGISTERED, payload));
    }
    assert!(!unconfirmed(PATIENT_DELETED, json!({"confirmation": false})));
}

fn amended() -> PatientEvent {
    PatientEvent::PatientAmended {
        name: Some("Jon Doe".to_owned()),
        email: None,
        phone: Some("123".to_owned()),
        document_url: None,
    }
}

#[test]
fn the_json_of_an_amendment_has_only_the_changed_fields() {
    let event = amended();
    assert_eq!(
        serde_json::to_string(&event).unwrap(),
        r#"{"type":"PatientAmended","name":"Jon Doe","phone":"123"}"#
    );
    assert_eq!(
        (event.event_type().as_str(), event.event_version().as_str()),
        ("PatientAmended", "1.0")
    );
    // An unchanged field is absent, so null has no meaning.
    let null = json!({ "type": "PatientAmended", "name": null });
    assert!(matches!(
        PatientEvent::from_stored("PatientAmended", "1.0", &null),
        Err(StoredEventError::Malformed { .. })
    ));
}

#[test]
fn the_json_of_a_deletion_is_fixed() {
    let event = PatientEvent::PatientDeleted {};
    assert_eq!(
        serde_json::to_string(&event).unwrap(),
        r#"{"type":"PatientDeleted"}"#
    );
    assert_eq!(
        (event.event_type().as_str(), event.event_version().as_str()),
        ("PatientDeleted", "1.0")
    );
}

#[test]
fn the_aggregate_type_is_fixed() {
    assert_eq!(Patient::TYPE, "patient");
}

#[test]
fn an_event_is_read_as_it_was_written() {
    for event in [
        registered(),
        imported(),
        amended(),
        PatientEvent::PatientDeleted {},
    ] {
        let (event_type, event_version) = (event.event_type(), event.event_version());
        let payload = serde_json::to_value(&event).unwrap();
        assert_eq!(
            PatientEvent::from_stored(&event_type, &event_version, &payload),
            Ok(event.clone())
        );
        assert_eq!(
            read_by_cqrs_es(&event_type, &event_version, payload)
                .unwrap()
                .payload,
            event
        );
    }
}

#[test]
fn a_registration_from_before_the_first_release_is_converted() {
    assert_eq!(
        PatientEvent::from_stored("PatientRegistered", "0.9", &registered_0_9()),
        Ok(registered())
    );
}

#[test]
fn cqrs_es_also_converts_an_old_registration() {
    let envelope = read_by_cqrs_es("PatientRegistered", "0.9", registered_0_9()).unwrap();
    assert_eq!(envelope.payload, registered());
    assert_eq!(envelope.sequence, 1);
    assert_eq!(
        envelope.metadata,
        HashMap::from([("request_id".to_owned(), "r-1".to_owned())])
    );
}

#[test]
fn an_old_registration_with_both_spellings_is_rejected() {
    let mut payload = registered_0_9();
    payload["document_url"] = json!("https://example.com/another.jpg");
    assert_eq!(
        PatientEvent::from_stored("PatientRegistered", "0.9", &payload),
        Err(StoredEventError::Malformed {
            event_type: "PatientRegistered".to_owned(),
            event_version: "0.9".to_owned(),
        })
    );
    assert!(read_by_cqrs_es("PatientRegistered", "0.9", payload).is_none());
}

#[test]
fn an_old_payload_with_any_other_shape_is_an_error() {
    let payloads = [
        Value::Null,
        json!(true),
        json!(9),
        json!("document"),
        json!([]),
        json!([["document", "https://example.com"]]),
        json!({}),
        json!({ "document": null }),
        json!({ "type": "PatientRegistered", "document": { "document": [] } }),
        json!({ "type": "PatientDeleted" }),
    ];
    for payload in payloads {
        let read = PatientEvent::from_stored("PatientRegistered", "0.9", &payload);
        assert!(
            matches!(read, Err(StoredEventError::Malformed { .. })),
            "{payload}: {read:?}"
        );
    }
}

#[test]
fn an_unknown_type_is_an_error_that_names_it() {
    let error =
        PatientEvent::from_stored("PatientRenamed", "1.0", &json!({ "type": "PatientRenamed" })).unwrap_err();
    assert_eq!(
        error,
        StoredEventError::UnknownType {
            event_type: "PatientRenamed".to_owned()
        }
    );
    assert_eq!(error.to_string(), "unknown event type PatientRenamed");
}

#[test]
fn an_unknown_version_is_an_error_that_names_it() {
    for event_version in ["2.0", "2.1", "1.2", "1.0.0", "0.8", "", "latest"] {
        assert_eq!(
            PatientEvent::from_stored(PATIENT_REGISTERED, event_version, &registered_1_0()),
            Err(StoredEventError::UnknownVersion {
                event_type: PATIENT_REGISTERED.to_owned(),
                event_version: event_version.to_owned(),
            })
        );
    }
    let deleted = PatientEvent::from_stored(PATIENT_DELETED, "0.9", &json!({ "type": "PatientDeleted" }));
    assert!(matches!(deleted, Err(StoredEventError::UnknownVersion { .. })));
}

#[test]
fn the_json_of_an_erasure_has_its_reason_and_scope_alone() {
    for (reason, scope, text) in [
        (
            ErasureReason::Request,
            ErasureScope::Full,
            r#"{"type":"PatientErased","reason":"request","scope":"full"}"#,
        ),
        (
            ErasureReason::Retention,
            ErasureScope::Partial,
            r#"{"type":"PatientErased","reason":"retention","scope":"partial"}"#,
        ),
        (
            ErasureReason::Error,
            ErasureScope::Full,
            r#"{"type":"PatientErased","reason":"error","scope":"full"}"#,
        ),
    ] {
        let event = PatientEvent::PatientErased { reason, scope };
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
        let payload = serde_json::from_str(text).unwrap();
        assert_eq!(
            PatientEvent::from_stored(PATIENT_ERASED, "1.0", &payload),
            Ok(event)
        );
    }
    let whim = json!({ "type": "PatientErased", "reason": "whim", "scope": "full" });
    let read = PatientEvent::from_stored(PATIENT_ERASED, "1.0", &whim);
    assert!(
        matches!(read, Err(StoredEventError::Malformed { .. })),
        "{read:?}"
    );
}

#[test]
fn the_json_of_a_hold_has_its_last_day_and_reason_alone() {
    for reason in HoldReason::ALL {
        let event = PatientEvent::PatientHeld {
            until: "2031-12-31".parse().unwrap(),
            reason,
        };
        let text = format!(
            r#"{{"type":"PatientHeld","until":"2031-12-31","reason":"{}"}}"#,
            reason.name()
        );
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
        let payload = serde_json::from_str(&text).unwrap();
        assert_eq!(
            PatientEvent::from_stored(PATIENT_HELD, "1.0", &payload),
            Ok(event)
        );
    }
    let released = json!({ "type": "PatientHoldReleased" });
    assert_eq!(
        PatientEvent::from_stored(PATIENT_HOLD_RELEASED, "1.0", &released),
        Ok(PatientEvent::PatientHoldReleased {})
    );
    for until in ["2031-02-30", "tomorrow", ""] {
        let payload = json!({ "type": "PatientHeld", "until": until, "reason": "research" });
        PatientEvent::from_stored(PATIENT_HELD, "1.0", &payload).unwrap_err();
    }
}

/// Without its key, a sealed event is never mistaken for an unencrypted event.
#[test]
fn a_sealed_event_is_not_read_as_it_is_stored() {
    let sealed = json!({ "type": "PatientRegistered", "sealed": { "v": 1 } });
    for (open, stored) in SEALED_VERSIONS {
        for version in [open, stored] {
            PatientEvent::from_stored(PATIENT_REGISTERED, version, &sealed).unwrap_err();
        }
    }
}

#[test]
fn a_payload_that_contradicts_its_columns_is_rejected() {
    let mut with_more = registered_1_0();
    with_more["nickname"] = json!("Johnny");
    for (event_type, payload) in [
        (PATIENT_DELETED, registered_1_0()),
        (PATIENT_REGISTERED, json!({ "type": "PatientDeleted" })),
        (PATIENT_REGISTERED, registered_0_9()),
        (PATIENT_REGISTERED, with_more),
        (
            PATIENT_DELETED,
            json!({ "type": "PatientDeleted", "reason": "moved" }),
        ),
    ] {
        let read = PatientEvent::from_stored(event_type, "1.0", &payload);
        assert!(
            matches!(read, Err(StoredEventError::Malformed { .. })),
            "{read:?}"
        );
    }
}

#[test]
fn an_error_never_repeats_the_payload() {
    let mut payload = registered_1_0();
    payload["phone"] = json!(5_550_199);
    let error = PatientEvent::from_stored(PATIENT_REGISTERED, "1.0", &payload).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("555"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("type".to_owned()),
        Just("document".to_owned()),
        Just("document_url".to_owned()),
        any::<String>(),
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(key.clone(), inner, 0..6)
                .prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn reading_never_panics(
        event_type in prop_oneof![
            Just(PATIENT_REGISTERED.to_owned()),
            Just(PATIENT_AMENDED.to_owned()),
            Just(PATIENT_DELETED.to_owned()),
            any::<String>(),
        ],
        event_version in prop_oneof![Just("0.9".to_owned()), Just("1.0".to_owned()), any::<String>()],
        payload in any_json(),
    ) {
        let _ = PatientEvent::from_stored(&event_type, &event_version, &payload);
        let _ = read_by_cqrs_es(&event_type, &event_version, payload);
    }

    #[test]
    fn any_registration_is_read_as_it_was_written(
        name in any::<String>(),
        email in any::<String>(),
        phone in any::<String>(),
        document_url in any::<String>(),
    ) {
        let event = PatientEvent::PatientRegistered {
            name,
            email,
            phone,
            document_url,
            imported_from: None,
            confirmation: true,
        };
        let payload = serde_json::to_value(&event).unwrap();
        prop_assert_eq!(PatientEvent::from_stored(PATIENT_REGISTERED, "1.0", &payload), Ok(event));
    }
}
