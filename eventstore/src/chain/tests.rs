use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::event::NewEvent;

fn event() -> NewEvent {
    NewEvent {
        aggregate_type: "order".into(),
        aggregate_id: "0190".into(),
        sequence: 1,
        event_type: "OrderPlaced".into(),
        event_version: "1.0".into(),
        payload: json!({"name": "Zoë \"Z\"", "email": "z@example.com"}),
        metadata: json!({"request_id": "r", "actor": "a"}),
    }
}

fn canonical(event: &NewEvent) -> Canonical {
    let texts = Texts {
        aggregate_id: &event.aggregate_id,
        aggregate_type: &event.aggregate_type,
        event_type: &event.event_type,
        event_version: &event.event_version,
        metadata: &event.metadata.to_string(),
        payload: &event.payload.to_string(),
    };
    Canonical::of(&texts, event.sequence).unwrap()
}

fn recorded(new: &NewEvent, previous: &Hash) -> RecordedEvent {
    let position = Position::new(7).unwrap();
    let recorded_at = Timestamp::from_micros(1_700_000_000_123_456);
    RecordedEvent {
        position,
        aggregate_type: new.aggregate_type.clone(),
        aggregate_id: new.aggregate_id.clone(),
        sequence: new.sequence,
        event_type: new.event_type.clone(),
        event_version: new.event_version.clone(),
        payload: new.payload.clone(),
        metadata: new.metadata.clone(),
        recorded_at,
        hash: canonical(new).link(previous, position, recorded_at),
        erased_at: None,
    }
}

#[test]
fn the_bytes_are_rfc_8785_of_every_column_but_hash() {
    let bytes = canonical(&event()).bytes(
        Position::new(7).unwrap(),
        Timestamp::from_micros(1_700_000_000_123_456),
    );
    assert_eq!(
        String::from_utf8(bytes.clone()).unwrap(),
        concat!(
            r#"{"aggregate_id":"0190","aggregate_type":"order","event_type":"OrderPlaced","#,
            r#""event_version":"1.0","metadata":{"actor":"a","request_id":"r"},"#,
            r#""payload":{"email":"z@example.com","name":"Zoë \"Z\""},"#,
            r#""position":7,"recorded_at":1700000000123456,"sequence":1}"#
        )
    );
    let whole: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(serde_json_canonicalizer::to_vec(&whole).unwrap(), bytes);
}

#[test]
fn a_change_in_any_column_breaks_the_link() {
    let previous = Hash([3; 32]);
    let good = recorded(&event(), &previous);
    assert!(follows(&previous, &good).unwrap());
    assert!(!follows(&Hash::default(), &good).unwrap());

    let changes: [fn(&mut RecordedEvent); 9] = [
        |e| e.position = e.position.next(),
        |e| e.aggregate_type.push('x'),
        |e| e.aggregate_id.push('x'),
        |e| e.sequence += 1,
        |e| e.event_type.push('x'),
        |e| e.event_version.push('x'),
        |e| e.payload["name"] = json!("Zoe"),
        |e| e.metadata["actor"] = json!("b"),
        |e| e.recorded_at = e.recorded_at + std::time::Duration::from_micros(1),
    ];
    for (column, change) in changes.into_iter().enumerate() {
        let mut altered = good.clone();
        change(&mut altered);
        assert!(
            !follows(&previous, &altered).unwrap(),
            "column {column} is not covered"
        );
    }
}

proptest! {
    #[test]
    fn the_order_of_members_does_not_matter(members in proptest::collection::btree_map(".{0,8}", ".{0,8}", 0..8)) {
        let forwards: Value = members.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        let text = members.iter().rev().map(|(k, v)| format!("{}:{}", json!(k), json!(v))).collect::<Vec<_>>().join(", ");
        let backwards: Value = serde_json::from_str(&format!("{{ {text} }}")).unwrap();
        let of = |payload| canonical(&NewEvent { payload, ..event() });
        prop_assert_eq!(of(forwards), of(backwards));
    }

    #[test]
    fn what_is_written_and_what_is_read_have_the_same_form(
        name in any::<String>(), member in any::<String>(), text in any::<String>(), number in -(1_i64 << 53) + 1..1_i64 << 53
    ) {
        let payload = json!({ member.as_str(): text, "n": [number, null, true] });
        let new = NewEvent { aggregate_id: name, payload, ..event() };
        prop_assert_eq!(Canonical::of_recorded(&recorded(&new, &Hash::default())).unwrap(), canonical(&new));
    }
}
