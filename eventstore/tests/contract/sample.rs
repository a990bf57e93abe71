//! Sample events and appends.

use eventstore::{Append, Claim, ClaimChange, NewEvent};
use serde_json::json;

pub(crate) const TYPE: &str = "thing";

pub(crate) fn event(id: &str, sequence: u64) -> NewEvent {
    NewEvent {
        aggregate_type: TYPE.into(),
        aggregate_id: id.into(),
        sequence,
        event_type: "ThingHappened".into(),
        event_version: "1.0".into(),
        payload: json!({"what": format!("{id} happened")}),
        metadata: json!({"request_id": "r-1", "actor": "test"}),
    }
}

/// Returns an append of one event without claims.
pub(crate) fn append(id: &str, sequence: u64) -> Append {
    Append::new(vec![event(id, sequence)], Vec::new()).unwrap()
}

/// Returns an append of one event that takes the claim on `value`.
pub(crate) fn taking(id: &str, sequence: u64, value: &str) -> Append {
    Append::new(
        vec![event(id, sequence)],
        vec![ClaimChange::Take(Claim::on("value", value))],
    )
    .unwrap()
}

/// Returns an append of one event that releases the claim on `value`.
pub(crate) fn releasing(id: &str, sequence: u64, value: &str) -> Append {
    Append::new(
        vec![event(id, sequence)],
        vec![ClaimChange::Release(Claim::on("value", value))],
    )
    .unwrap()
}
