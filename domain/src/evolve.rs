//! The reducer: how each event changes a patient.

use crate::{PatientDetails, PatientEvent};

/// Returns the patient's details after an event, or `None` if the patient is not active after it. `before`
/// contains the details before the event, or `None` if the patient was not active.
///
/// This is the only place that knows the effect of an event. The aggregate, the projections, reads by id,
/// histories and emails all use it.
///
/// ```
/// # use domain::{PatientEvent, PatientDetails, evolve};
/// # let details = PatientDetails {
/// #     name: "John Doe".into(), email: "john@example.com".into(), phone: "123".into(), document_url: "https://example.com".into(),
/// # };
/// let registered = PatientEvent::from(details.clone());
/// let active = evolve(None, registered);
/// assert_eq!(active, Some(details));
/// assert_eq!(evolve(active, PatientEvent::PatientDeleted {}), None);
/// ```
#[must_use]
pub fn evolve(before: Option<PatientDetails>, event: PatientEvent) -> Option<PatientDetails> {
    match event {
        PatientEvent::PatientRegistered {
            name,
            email,
            phone,
            document_url,
            imported_from: _,
            confirmation: _,
        } => Some(PatientDetails {
            name,
            email,
            phone,
            document_url,
        }),
        PatientEvent::PatientAmended {
            name,
            email,
            phone,
            document_url,
        } => before.map(|before| PatientDetails {
            name: name.unwrap_or(before.name),
            email: email.unwrap_or(before.email),
            phone: phone.unwrap_or(before.phone),
            document_url: document_url.unwrap_or(before.document_url),
        }),
        PatientEvent::PatientDeleted {} | PatientEvent::PatientErased { .. } => None,
        PatientEvent::PatientHeld { .. } | PatientEvent::PatientHoldReleased {} => before,
    }
}
