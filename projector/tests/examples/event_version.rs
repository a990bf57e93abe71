//! Changing an event: `PatientRegistered` 1.1 says in which country a phone is.
//!
//! In the domain: the field in the variant, `current_version` and `EVENT_VERSION` raised to 1.1, and this
//! upcaster at the end of `upcasters()`. Events that are stored keep their shape for ever; whoever reads one
//! gets the present shape.

use cqrs_es::persist::{EventUpcaster, SerializedEvent};
use serde_json::json;

/// `PatientRegistered` 1.0 did not say where a phone is: nobody knows.
struct PhoneGotCountry;

impl EventUpcaster for PhoneGotCountry {
    fn can_upcast(&self, event_type: &str, event_version: &str) -> bool {
        event_type == "PatientRegistered" && event_version == "1.0"
    }

    fn upcast(&self, mut event: SerializedEvent) -> SerializedEvent {
        // A payload of another shape is left as it is; it is refused when it is read.
        if let Some(fields) = event.payload.as_object_mut() {
            fields.entry("phone_country").or_insert(json!(null));
        }
        "1.1".clone_into(&mut event.event_version);
        event
    }
}

#[test]
fn an_event_of_the_old_version_is_read_in_the_present_shape_through_all_upcasters() {
    // One of the very first version, which two upcasters bring up to date.
    let payload = json!({
        "type": "PatientRegistered", "name": "María", "email": "m@example.com", "phone": "123-4567",
        "document": "https://example.com/m.jpg",
    });
    let stored = SerializedEvent::new(
        "id".into(),
        1,
        "patient".into(),
        "PatientRegistered".into(),
        "0.9".into(),
        payload,
        json!({}),
    );
    let mut upcasters = domain::upcasters();
    upcasters.push(Box::new(PhoneGotCountry));
    let read = upcasters.iter().fold(stored, |event, upcaster| {
        if upcaster.can_upcast(&event.event_type, &event.event_version) {
            upcaster.upcast(event)
        } else {
            event
        }
    });
    assert_eq!(read.event_version, "1.1");
    assert_eq!(read.payload["document_url"], "https://example.com/m.jpg");
    assert_eq!(read.payload["phone_country"], json!(null));
}
