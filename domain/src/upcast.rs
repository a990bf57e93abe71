//! Old shapes of events, and how each becomes the next one.

use cqrs_es::persist::{EventUpcaster, SerializedEvent};

use crate::PATIENT_REGISTERED;

/// The upcasters of every old event shape, in the order in which they apply.
///
/// For `PersistedEventStore::with_upcasters`; [`PatientEvent::from_stored`](crate::PatientEvent::from_stored)
/// applies the same ones. An upcaster never panics: a payload it does not expect keeps its shape, and then
/// fails to deserialize as an error.
#[must_use]
pub fn upcasters() -> Vec<Box<dyn EventUpcaster>> {
    vec![Box::new(DocumentBecameDocumentUrl)]
}

/// `PatientRegistered` 0.9, from before the first release, called `document` what 1.0 calls `document_url`.
// Not cqrs-es's SemanticVersionEventUpcaster: it would write the version as "1.0.0", and take every version
// below for this one.
struct DocumentBecameDocumentUrl;

impl EventUpcaster for DocumentBecameDocumentUrl {
    fn can_upcast(&self, event_type: &str, event_version: &str) -> bool {
        event_type == PATIENT_REGISTERED && event_version == "0.9"
    }

    fn upcast(&self, mut event: SerializedEvent) -> SerializedEvent {
        // With both fields, renaming would overwrite one of them: left alone, the event is refused instead.
        if let Some(fields) = event.payload.as_object_mut()
            && !fields.contains_key("document_url")
            && let Some(document) = fields.remove("document")
        {
            fields.insert("document_url".to_owned(), document);
        }
        // A literal, not the present version: when that moves on, the next upcaster leads there from 1.0.
        "1.0".clone_into(&mut event.event_version);
        event
    }
}
