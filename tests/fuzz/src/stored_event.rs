//! Stored events of any version.

use cqrs_es::persist::SerializedEvent;
use cqrs_es::{Aggregate, DomainEvent};
use domain::{Patient, PatientEvent, ReplayEvent, Until, upcasters};
use serde_json::Value;

/// Reads events, one per line: type, version and payload, separated by spaces. A readable event equals its
/// conversion to the current version and the event that cqrs-es reads. Replaying the history at once and
/// event by event gives the same result.
pub fn stored_event(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let mut history = Vec::new();
    for (sequence, line) in (1..).zip(text.lines()) {
        let mut parts = line.splitn(3, ' ');
        let (Some(event_type), Some(event_version), Some(payload)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let Ok(payload) = serde_json::from_str::<Value>(payload) else {
            continue;
        };
        read(event_type, event_version, &payload);
        history.push(ReplayEvent {
            sequence,
            recorded_at: sequence,
            event_type: event_type.to_owned(),
            event_version: event_version.to_owned(),
            payload,
        });
    }
    replay(&history);
}

fn read(event_type: &str, event_version: &str, payload: &Value) {
    let event = match PatientEvent::from_stored(event_type, event_version, payload) {
        Ok(event) => event,
        Err(error) => {
            // The error may quote the type and the version, which the service writes, but not the payload,
            // which is personal data.
            assert!(error.to_string().len() <= 100 + event_type.len() + event_version.len());
            return;
        }
    };
    let today = serde_json::to_value(&event).unwrap();
    let again = PatientEvent::from_stored(&event.event_type(), &event.event_version(), &today);
    assert_eq!(again.as_ref(), Ok(&event));
    assert_eq!(
        by_cqrs_es(event_type, event_version, payload.clone()).as_ref(),
        Some(&event)
    );
    assert_eq!(format!("{event:?}"), format!("{} {{ .. }}", event.event_type()));
    assert_eq!(
        domain::evolve(None, event.clone()).is_some(),
        event_type == "PatientRegistered"
    );
}

/// Reads the event as cqrs-es's repository does.
fn by_cqrs_es(event_type: &str, event_version: &str, payload: Value) -> Option<PatientEvent> {
    let mut stored = SerializedEvent::new(
        "id".to_owned(),
        1,
        Patient::TYPE.to_owned(),
        event_type.to_owned(),
        event_version.to_owned(),
        payload,
        Value::Null,
    );
    for upcaster in upcasters() {
        if upcaster.can_upcast(&stored.event_type, &stored.event_version) {
            stored = upcaster.upcast(stored);
        }
    }
    serde_json::from_value(stored.payload).ok()
}

fn replay(history: &[ReplayEvent<u64>]) {
    for until in [Until::Now, Until::Sequence(2), Until::Moment(3)] {
        let mut whole = Patient::default();
        let done = whole.replay(history.to_vec(), &until);
        let mut paged = Patient::default();
        let by_page = history
            .iter()
            .try_for_each(|event| paged.replay([event.clone()], &until));
        assert_eq!(done, by_page);
        assert_eq!(whole, paged);
    }
}
