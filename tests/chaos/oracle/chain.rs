//! Checks that positions have no gaps, that every link of the chain is correct, and that the head is the last
//! event.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

use super::Objections;
use super::history::History;
use crate::evidence::{Event, Evidence};

pub(super) fn objections(evidence: &Evidence, _: &History) -> Objections {
    let mut objections = Vec::new();
    let (mut hash, mut recorded_at) = ([0; 32], 0);
    for (expected, event) in (1..).zip(&evidence.log) {
        let position = event.position;
        if position != expected {
            objections.push(format!("position {position} where {expected} should be"));
            return objections;
        }
        hash = link(&hash, event);
        if !event.hash.eq_ignore_ascii_case(&hex(&hash)) {
            objections.push(format!(
                "position {position} has another hash than its columns and its predecessor give"
            ));
            return objections;
        }
        if event.recorded_at < recorded_at {
            objections.push(format!("position {position} was recorded before its predecessor"));
        }
        recorded_at = event.recorded_at;
    }
    let last = evidence.log.last().map_or(0, |last| last.position);
    match &evidence.head {
        Some(head) if head.position == last && head.hash.eq_ignore_ascii_case(&hex(&hash)) => {
            if head.recorded_at != recorded_at {
                objections.push("the head has another time than the last event".to_owned());
            }
        }
        head => objections.push(format!("the head is {head:?} and the last position {last}")),
    }
    objections
}

/// Returns the SHA-256 of the previous link and the canonical event (RFC 8785), as docs/audit.md defines it.
pub(super) fn link(previous: &[u8; 32], event: &Event) -> [u8; 32] {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    let text = |text: &str| Value::from(text).to_string();
    // The members are in the order of their names.
    let canonical = format!(
        r#"{{"aggregate_id":{},"aggregate_type":{},"event_type":{},"event_version":{},"metadata":{},"payload":{},"position":{},"recorded_at":{},"sequence":{}}}"#,
        text(&event.aggregate_id),
        text(&event.aggregate_type),
        text(&event.event_type),
        text(&event.event_version),
        canonical(&parse(&event.metadata)),
        canonical(&parse(&event.payload)),
        event.position,
        event.recorded_at,
        event.sequence,
    );
    let mut sha = Sha256::new();
    sha.update(previous);
    sha.update(canonical.as_bytes());
    sha.finalize().into()
}

/// Returns the canonical form (RFC 8785) of a value without numbers and with ASCII names. All events of this
/// test meet these conditions.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            let members: Vec<_> = members
                .iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
