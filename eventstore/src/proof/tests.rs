use serde_json::{Value, json};
use testkit::leaves;

use super::*;
use crate::clock::Timestamp;
use crate::merkle::{Frontier, Path};

/// Returns a log of `size` events.
fn events(size: u64) -> Vec<RecordedEvent> {
    let mut previous = Hash::default();
    (1..=size)
        .map(|n| {
            let mut event = RecordedEvent {
                position: Position::new(n).unwrap(),
                aggregate_type: "thing".into(),
                aggregate_id: format!("a{n}"),
                sequence: 1,
                event_type: "ThingHappened".into(),
                event_version: "1.0".into(),
                payload: json!({"what": "it happened", "n": n}),
                metadata: json!({"actor": "test"}),
                recorded_at: Timestamp::from_micros(1_700_000_000_000_000 + i64::try_from(n).unwrap()),
                hash: Hash::default(),
                erased_at: None,
            };
            event.hash = chain::Canonical::of_recorded(&event).unwrap().link(
                &previous,
                event.position,
                event.recorded_at,
            );
            previous = event.hash;
            event
        })
        .collect()
}

fn root(events: &[RecordedEvent]) -> Hash {
    let mut tree = Frontier::default();
    for event in events {
        tree.push(leaf(&event.hash));
    }
    tree.root()
}

fn trusted(size: usize) -> Trusted {
    Trusted {
        position: Position::new(size as u64).unwrap(),
        hash: root(&events(20)[..size]),
    }
}

fn gather(mut path: Path, events: &[RecordedEvent]) -> Vec<Hash> {
    for (index, event) in (0..).zip(events) {
        path.push(index, leaf(&event.hash));
    }
    path.hashes()
}

/// Returns a proof that event 7 is in a log of 20 events, which extends a log of 12.
fn proof() -> Proof {
    let events = events(20);
    Proof {
        format: Format::V1,
        tree: Tree {
            size: 20,
            root: root(&events),
        },
        inclusion: Some(Inclusion {
            event: events[6].clone(),
            previous_hash: events[5].hash,
            path: gather(Path::inclusion(6, 20), &events),
        }),
        consistency: Some(Consistency {
            size: 12,
            root: root(&events[..12]),
            path: gather(Path::consistency(12, 20), &events),
        }),
    }
}

#[test]
fn a_proof_is_read_from_its_file_as_it_was_written() {
    let text = serde_json::to_string_pretty(&proof()).unwrap();
    let read: Proof = serde_json::from_str(&text).unwrap();
    assert_eq!(read, proof());
    assert_eq!(read.check(), Ok(()));
}

#[test]
fn no_value_in_the_file_can_be_altered() {
    let file = serde_json::to_value(proof()).unwrap();
    let pointers = leaves(&file);
    assert!(pointers.len() > 20, "{pointers:?}");
    for pointer in pointers {
        let mut altered = file.clone();
        let value = altered.pointer_mut(&pointer).unwrap();
        *value = match &*value {
            Value::Number(number) => json!(number.as_u64().unwrap() + 1),
            Value::String(text) => {
                // The second-to-last character is a digit in hashes and in times.
                let mut bytes = text.clone().into_bytes();
                let at = bytes.len().saturating_sub(2);
                bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
                String::from_utf8(bytes).unwrap().into()
            }
            other => panic!("{other} at {pointer}"),
        };
        // A root alone does not fix the size of its tree, so a trusted head contains both.
        let accepted = serde_json::from_value::<Proof>(altered).is_ok_and(|proof| {
            proof.check().is_ok()
                && proof.meets(&trusted(20)) == Meets::Tree
                && proof.meets(&trusted(12)) == Meets::Earlier
        });
        assert!(!accepted, "{pointer} can be altered");
    }
}

#[test]
fn what_is_not_proved_is_not_read() {
    let text = serde_json::to_string(&proof()).unwrap();
    let twice = r#""payload":{"n":8,"n":7"#;
    for (from, to) in [
        (r#""payload":{"n":7"#, twice),
        (r#""event":{"#, r#""event":{"note":"true","#),
        (r#""format":"#, r#""note":"true","format":"#),
        ("event-log-proof-1", "event-log-proof-2"),
    ] {
        let altered = text.replace(from, to);
        assert_ne!(altered, text);
        assert!(serde_json::from_str::<Proof>(&altered).is_err(), "{to}");
    }
    let file = serde_json::to_value(proof()).unwrap();
    for (pointer, value) in [
        ("/inclusion", Value::Null),
        (
            "/tree/root",
            file["tree"]["root"].as_str().unwrap().to_uppercase().into(),
        ),
    ] {
        let mut altered = file.clone();
        *altered.pointer_mut(pointer).unwrap() = value;
        assert!(serde_json::from_value::<Proof>(altered).is_err(), "{pointer}");
    }
    let empty = Proof {
        inclusion: None,
        consistency: None,
        ..proof()
    };
    assert_eq!(empty.check(), Err(ProofError::Empty));
    // Every log extends the empty log.
    let from_nothing = Proof {
        inclusion: None,
        consistency: Some(Consistency {
            size: 0,
            root: root(&[]),
            path: Vec::new(),
        }),
        ..proof()
    };
    assert_eq!(from_nothing.check(), Err(ProofError::Consistency));
}

#[test]
fn a_trusted_head_is_met_by_its_root_or_by_the_event_alone() {
    let (events, proof) = (events(20), proof());
    let meets = |position, hash| {
        proof.meets(&Trusted {
            position: Position::new(position).unwrap(),
            hash,
        })
    };
    assert_eq!(meets(20, root(&events)), Meets::Tree);
    assert_eq!(meets(12, root(&events[..12])), Meets::Earlier);
    assert_eq!(meets(7, events[6].hash), Meets::Event);
    assert_eq!(meets(20, root(&events[..12])), Meets::Contradicts);
    assert_eq!(meets(12, root(&events)), Meets::Contradicts);
    assert_eq!(meets(7, events[7].hash), Meets::Contradicts);
    // The link at a head is not the root.
    assert_eq!(meets(20, events[19].hash), Meets::Contradicts);
    assert_eq!(meets(13, root(&events[..13])), Meets::Nothing);
}
