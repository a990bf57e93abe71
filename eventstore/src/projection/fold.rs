//! Folding of a batch of events into changes of rows, and writing the changes.

use std::collections::{BTreeMap, BTreeSet};

use super::{AggregateState, Projection, ProjectionError};
use crate::database::{Session, Transaction};
use crate::event::{Position, RecordedEvent};
use crate::log::EventLog;

/// Maximum number of aggregate ids in one statement.
const IDS: usize = 1000;
/// Maximum number of earlier events that are read with one statement, and kept in memory.
const EVENTS: u64 = 4000;

/// The aggregates whose rows are deleted, and the rows that are inserted afterwards, each in order of id.
pub(super) struct Changes<P: Projection> {
    pub(super) deleted: Vec<String>,
    pub(super) inserted: Vec<P::Row>,
}

/// Folds `events` into at most one change per aggregate. An aggregate whose first event and whose deletion
/// are both in `events` needs no change. `skips` contains positions whose events are ignored.
pub(super) async fn changes<P: Projection>(
    session: &mut impl Session,
    events: &[RecordedEvent],
    skips: &BTreeSet<Position>,
) -> Result<Changes<P>, ProjectionError> {
    let events = parsed::<P::State>(events, skips)?;
    // The states come from the log rather than from the table, so that the fold is the only source of rows.
    let mut before = states(session, &needed::<P::State>(&events), skips).await?;
    let mut deleted = BTreeSet::new();
    let mut after: BTreeMap<&str, Option<P::State>> = BTreeMap::new();
    for (recorded, event) in events {
        let id = recorded.aggregate_id.as_str();
        let state = if let Some(state) = after.remove(id) {
            state
        } else {
            // Only the first event of an aggregate finds no row.
            if recorded.sequence > 1 {
                deleted.insert(id);
            }
            before.remove(id)
        };
        after.insert(id, P::State::evolve(state, event, recorded));
    }
    Ok(Changes {
        deleted: deleted.into_iter().map(ToOwned::to_owned).collect(),
        inserted: after
            .into_iter()
            .filter_map(|(id, state)| Some(P::row(id, state?)))
            .collect(),
    })
}

/// Returns the aggregates whose earlier events are needed, because their first event among `events` is not
/// self-contained. Each has the position of that event.
fn needed<S: AggregateState>(events: &Parsed<'_, S>) -> BTreeMap<String, Position> {
    let mut seen = BTreeSet::new();
    events
        .iter()
        .filter(|(recorded, _)| seen.insert(recorded.aggregate_id.as_str()))
        .filter(|(recorded, event)| recorded.sequence > 1 && !S::is_self_contained(event))
        .map(|(recorded, _)| (recorded.aggregate_id.clone(), recorded.position))
        .collect()
}

/// Writes changes to a generation.
pub(super) async fn write<P: Projection>(
    transaction: &mut Transaction<'_>,
    generation: i64,
    changes: &Changes<P>,
) -> crate::Result<()> {
    for ids in changes.deleted.chunks(IDS) {
        P::delete(transaction, generation, ids).await?;
    }
    if changes.inserted.is_empty() {
        return Ok(());
    }
    P::insert(transaction, generation, &changes.inserted).await
}

/// Applies `events` to a generation, except the events that an operator has skipped.
pub(super) async fn apply<P: Projection>(
    transaction: &mut Transaction<'_>,
    generation: i64,
    events: &[RecordedEvent],
) -> Result<(), ProjectionError> {
    let skips = super::skip::positions(transaction, P::NAME).await?;
    let changes = changes::<P>(transaction, events, &skips).await?;
    Ok(write(transaction, generation, &changes).await?)
}

type Parsed<'e, S> = Vec<(&'e RecordedEvent, <S as AggregateState>::Event)>;

fn parsed<'e, S: AggregateState>(
    events: &'e [RecordedEvent],
    skips: &BTreeSet<Position>,
) -> Result<Parsed<'e, S>, ProjectionError> {
    events
        .iter()
        .filter(|event| event.aggregate_type == S::AGGREGATE_TYPE && !skips.contains(&event.position))
        .map(|event| match S::read(event) {
            Ok(parsed) => Ok((event, parsed)),
            Err(source) => Err(ProjectionError::Unreadable {
                position: event.position,
                source,
            }),
        })
        .collect()
}

/// Returns the state of each aggregate just before a position. Aggregates without a state are absent. The
/// events are read page by page, so memory use does not grow with the length of a history.
pub(super) async fn states<S: AggregateState>(
    session: &mut impl Session,
    ends: &BTreeMap<String, Position>,
    skips: &BTreeSet<Position>,
) -> Result<BTreeMap<String, S>, ProjectionError> {
    let mut states = BTreeMap::new();
    let ids: Vec<&str> = ends.keys().map(String::as_str).collect();
    let end = ends.values().copied().max().unwrap_or_default();
    for ids in ids.chunks(IDS) {
        let mut after = Position::BEGINNING;
        loop {
            let page = EventLog::events_between(session, S::AGGREGATE_TYPE, ids, after, end, EVENTS).await?;
            for (recorded, event) in parsed::<S>(&page, skips)? {
                let id = recorded.aggregate_id.as_str();
                if ends.get(id).is_some_and(|end| recorded.position < *end)
                    && let Some(state) = S::evolve(states.remove(id), event, recorded)
                {
                    states.insert(id.to_owned(), state);
                }
            }
            match page.last() {
                Some(last) if page.len() as u64 >= EVENTS => after = last.position,
                _ => break,
            }
        }
    }
    Ok(states)
}
