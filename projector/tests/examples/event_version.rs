//! Example of changing an event: `PatientRegistered` 1.2 adds the country of the phone number.
//!
//! To make this change in the domain, add the field to the variant, raise the version in `current_versions`
//! to 1.2, and append this upcaster to `upcasters()`. Stored events keep their shape permanently, and readers
//! get the current shape.

use cqrs_es::persist::{EventUpcaster, SerializedEvent};
use domain::PatientEvent;
use eventstore::{Position, RecordedEvent};
use serde_json::json;

use crate::Example;

/// Adds an unknown country, because earlier versions of `PatientRegistered` did not contain the country.
struct PhoneGotCountry;

impl EventUpcaster for PhoneGotCountry {
    fn can_upcast(&self, event_type: &str, event_version: &str) -> bool {
        event_type == "PatientRegistered" && ["1.0", "1.1"].contains(&event_version)
    }

    fn upcast(&self, mut event: SerializedEvent) -> SerializedEvent {
        // A payload of another shape is left unchanged, and is rejected when the event is read.
        if let Some(fields) = event.payload.as_object_mut() {
            fields.entry("phone_country").or_insert(json!(null));
        }
        "1.2".clone_into(&mut event.event_version);
        event
    }
}

/// Applies upcasters like `PatientEvent::from_stored` and cqrs-es.
fn upcast(event: RecordedEvent, upcasters: &[Box<dyn EventUpcaster>]) -> SerializedEvent {
    let stored = SerializedEvent::new(
        event.aggregate_id,
        1,
        event.aggregate_type,
        event.event_type,
        event.event_version,
        event.payload,
        event.metadata,
    );
    upcasters.iter().fold(stored, |event, upcaster| {
        if upcaster.can_upcast(&event.event_type, &event.event_version) {
            upcaster.upcast(event)
        } else {
            event
        }
    })
}

#[tokio::test]
async fn a_stored_event_of_the_old_version_is_read_in_the_present_shape_through_all_upcasters() {
    let example = Example::new().await;
    // An event of the first version, which needs two upcasters.
    let payload = json!({
        "type": "PatientRegistered", "name": "María", "email": "m@example.com", "phone": "123-4567",
        "document": "https://example.com/m.jpg",
    });
    let first = ("PatientRegistered", "0.9");
    example.append_version("id", 1, first, payload.clone()).await;
    let mut events = example.log.feed(Position::BEGINNING, 10).await.unwrap();
    let event = events.pop().unwrap();
    assert_eq!((&*event.event_version, &event.payload), ("0.9", &payload));
    // The program reads the stored event in the shape of today.
    let read = event.content(PatientEvent::from_stored).unwrap();
    let Some(PatientEvent::PatientRegistered { document_url, .. }) = read else {
        panic!("the event is a registration");
    };
    assert_eq!(document_url, "https://example.com/m.jpg");
    // With the new upcaster, the same event gets the shape of version 1.2.
    let mut upcasters = domain::upcasters();
    upcasters.push(Box::new(PhoneGotCountry));
    let read = upcast(event, &upcasters);
    assert_eq!(read.event_version, "1.2");
    assert_eq!(read.payload["document_url"], "https://example.com/m.jpg");
    assert_eq!(read.payload["phone_country"], json!(null));
}
