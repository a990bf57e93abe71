//! What a batch writes: the places of its events in the log, and the statements.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::{Aggregate, Decision};
use super::prepared::{Append, Appended, Outcome, PreparedEvent};
use crate::claim::Claim;
use crate::clock::Timestamp;
use crate::database::{Script, Value};
use crate::error::Result;
use crate::event::{Hash, Position};
use crate::log::Head;
use crate::sealing::key_store;
use crate::signal::Notice;

/// Beginning of a statement that adds events, followed by rows of [`ChainedEvent::row`].
pub(super) const INSERT_EVENTS: &str = "INSERT INTO events (position, aggregate_type, aggregate_id, sequence, event_type, \
                                        event_version, payload, metadata, recorded_at, hash) VALUES";

/// An event with its place in the log.
pub(super) struct ChainedEvent<'a> {
    prepared: &'a PreparedEvent,
    position: Position,
    hash: Hash,
    recorded_at: Timestamp,
}

impl ChainedEvent<'_> {
    /// Returns the row of the event, for [`INSERT_EVENTS`].
    pub(super) fn row(&self) -> [Value<'_>; 10] {
        let event = &self.prepared.event;
        [
            self.position.into(),
            (&event.aggregate_type).into(),
            (&event.aggregate_id).into(),
            event.sequence.cast_signed().into(),
            (&event.event_type).into(),
            (&event.event_version).into(),
            (&self.prepared.payload).into(),
            (&self.prepared.metadata).into(),
            self.recorded_at.into(),
            (&self.hash.0).into(),
        ]
    }
}

/// The accepted appends of a batch, with their places in the log.
pub(super) struct Chained<'a> {
    pub(super) events: Vec<ChainedEvent<'a>>,
    /// The outcome of each append, accepted or not, if the events are committed.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) notices: Vec<Notice>,
}

impl Chained<'_> {
    /// Returns the head after the events; `None` if every append was rejected.
    pub(super) fn head(&self) -> Option<Head> {
        self.events.last().map(|last| Head {
            position: last.position,
            hash: last.hash,
            recorded_at: last.recorded_at,
        })
    }
}

/// Assigns a position and a link to each event of the accepted appends.
pub(super) fn chain<'a>(
    items: &'a [Append],
    decision: &Decision<'_>,
    head: &Head,
    recorded_at: Timestamp,
) -> Chained<'a> {
    let mut chained = Chained {
        events: Vec::with_capacity(items.len()),
        outcomes: Vec::with_capacity(items.len()),
        notices: Vec::with_capacity(items.len()),
    };
    let (mut position, mut hash) = (head.position, head.hash);
    for (item, refusal) in items.iter().zip(&decision.refusals) {
        if let Some(refusal) = refusal {
            chained.outcomes.push(Err(refusal.clone()));
            continue;
        }
        let first = position.next();
        for prepared in &item.events {
            position = position.next();
            hash = prepared.canonical.link(&hash, position, recorded_at);
            chained.events.push(ChainedEvent {
                prepared,
                position,
                hash,
                recorded_at,
            });
            chained.notices.push(Notice {
                position,
                event_type: prepared.event.event_type.clone(),
                aggregate_id: prepared.event.aggregate_id.clone(),
                sequence: prepared.event.sequence,
            });
        }
        chained.outcomes.push(Ok(Appended {
            first,
            last: position,
            recorded_at,
        }));
    }
    chained
}

pub(super) fn release(script: &mut Script, decision: &Decision<'_>) {
    // In byte order, as in the index.
    let released: BTreeSet<_> = decision.released.iter().collect();
    let mut released = released.into_iter();
    if let Some(first) = released.next() {
        script.statement("DELETE FROM claims WHERE ");
        held(script, first);
        for pair in released {
            script.sql(" OR ");
            held(script, pair);
        }
    }
    let mut by_type: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (aggregate_type, aggregate_id) in &decision.without_claims {
        by_type.entry(aggregate_type).or_default().insert(aggregate_id);
    }
    for (aggregate_type, ids) in by_type {
        script
            .statement("DELETE FROM claims WHERE aggregate_id IN ")
            .list(ids)
            .sql(" AND aggregate_type = ")
            .value(aggregate_type);
    }
}

/// Adds the condition that an aggregate holds a claim.
fn held(script: &mut Script, (claim, (aggregate_type, aggregate_id)): &(Claim, Aggregate<'_>)) {
    script
        .sql("(claim = ")
        .value(&claim.0)
        .sql(" AND aggregate_type = ")
        .value(*aggregate_type)
        .sql(" AND aggregate_id = ")
        .value(*aggregate_id)
        .sql(")");
}

pub(super) fn take(
    script: &mut Script,
    decision: &Decision<'_>,
    limit: usize,
    full: &mut Vec<Script>,
) -> Result<()> {
    // In byte order, as in the index.
    let taken: BTreeMap<&Claim, &Aggregate<'_>> = decision.taken.iter().collect();
    let rows = taken.into_iter().map(|(claim, (aggregate_type, aggregate_id))| {
        [
            (&claim.0).into(),
            (*aggregate_type).into(),
            (*aggregate_id).into(),
        ]
    });
    let insert = "INSERT INTO claims (claim, aggregate_type, aggregate_id) VALUES";
    script.insert(insert, rows, limit, full)
}

/// Adds the new data keys of the accepted appends. The statement fails if an aggregate already has a key.
pub(super) fn insert_keys<'a>(
    script: &mut Script,
    accepted: impl Iterator<Item = &'a Append>,
    now: Timestamp,
    limit: usize,
    full: &mut Vec<Script>,
) -> Result<()> {
    let rows: Vec<_> = accepted
        .filter_map(|item| {
            let (key, first) = (item.key.as_ref()?, &item.events.first()?.event);
            Some([
                (&first.aggregate_id).into(),
                (&first.aggregate_type).into(),
                (&key.id.0[..]).into(),
                key.wrapping_key.as_str().into(),
                (&key.wrapped[..]).into(),
                now.into(),
            ])
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    script.insert(key_store::INSERT, rows, limit, full)
}
