//! Conversion of old event shapes.

use cqrs_es::persist::{EventUpcaster, SerializedEvent};

use crate::PATIENT_REGISTERED;

/// Returns the upcasters of all old event shapes, in the order in which they apply.
///
/// The upcasters are intended for `PersistedEventStore::with_upcasters`.
/// [`PatientEvent::from_stored`](crate::PatientEvent::from_stored) applies the same upcasters. An upcaster
/// never panics: it leaves an unexpected payload unchanged, and deserialization then fails with an error.
#[must_use]
pub fn upcasters() -> Vec<Box<dyn EventUpcaster>> {
    vec![Box::new(DocumentBecameDocumentUrl)]
}

/// Renames `document` to `document_url` in `PatientRegistered` 0.9, which predates the first release.
// cqrs-es's SemanticVersionEventUpcaster is not used: it would write the version as "1.0.0", and accept every
// lower version.
struct DocumentBecameDocumentUrl;

impl EventUpcaster for DocumentBecameDocumentUrl {
    fn can_upcast(&self, event_type: &str, event_version: &str) -> bool {
        event_type == PATIENT_REGISTERED && event_version == "0.9"
    }

    fn upcast(&self, mut event: SerializedEvent) -> SerializedEvent {
        // If both fields exist, renaming would overwrite `document_url`. The payload is left unchanged, and
        // deserialization fails.
        if let Some(fields) = event.payload.as_object_mut()
            && !fields.contains_key("document_url")
            && let Some(document) = fields.remove("document")
        {
            fields.insert("document_url".to_owned(), document);
        }
        // This version is a literal, not the current version: after a version change, the next upcaster
        // converts events of version 1.0.
        "1.0".clone_into(&mut event.event_version);
        event
    }
}
