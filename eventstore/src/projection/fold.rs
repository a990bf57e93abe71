//! Folding of a batch of events into changes of rows, and writing the changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Projection, ProjectionError};
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

/// Folds `events` into at most one change per aggregate. An aggregate that gets its first event and loses its
/// row among them needs no change. `skips` contains positions whose events are ignored.
pub(super) async fn changes<P: Projection>(
    session: &mut impl Session,
    events: &[RecordedEvent],
    skips: &BTreeSet<Position>,
) -> Result<Changes<P>, ProjectionError> {
    let events = parsed::<P>(events, skips)?;
    let mut states = states_before::<P>(session, &events, skips).await?;
    let mut deleted = BTreeSet::new();
    let mut after: BTreeMap<&str, Option<P::State>> = BTreeMap::new();
    for (recorded, event) in events {
        let id = recorded.aggregate_id.as_str();
        let before = if let Some(state) = after.remove(id) {
            state
        } else {
            // Only the first event of an aggregate finds no row.
            if recorded.sequence > 1 {
                deleted.insert(id);
            }
            states.remove(id)
        };
        after.insert(id, P::evolve(before, event, recorded));
    }
    Ok(Changes {
        deleted: deleted.into_iter().map(ToOwned::to_owned).collect(),
        inserted: after
            .into_iter()
            .filter_map(|(id, state)| Some(P::row(id, state?)))
            .collect(),
    })
}

/// Folds all events of some aggregates into rows, in order of aggregate id.
pub(super) fn rows<P: Projection>(
    events: &[RecordedEvent],
    skips: &BTreeSet<Position>,
) -> Result<Vec<P::Row>, ProjectionError> {
    let mut states: BTreeMap<&str, Option<P::State>> = BTreeMap::new();
    for (recorded, event) in parsed::<P>(events, skips)? {
        let before = states.remove(recorded.aggregate_id.as_str()).flatten();
        states.insert(&recorded.aggregate_id, P::evolve(before, event, recorded));
    }
    let rows = states.into_iter();
    Ok(rows.filter_map(|(id, state)| Some(P::row(id, state?))).collect())
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

type Parsed<'e, P> = Vec<(&'e RecordedEvent, <P as Projection>::Event)>;

fn parsed<'e, P: Projection>(
    events: &'e [RecordedEvent],
    skips: &BTreeSet<Position>,
) -> Result<Parsed<'e, P>, ProjectionError> {
    events
        .iter()
        .filter(|event| event.aggregate_type == P::AGGREGATE_TYPE && !skips.contains(&event.position))
        .map(|event| match P::read(event) {
            Ok(parsed) => Ok((event, parsed)),
            Err(source) => Err(ProjectionError::Unreadable {
                position: event.position,
                source,
            }),
        })
        .collect()
}

/// Returns the states, before `events`, of the aggregates whose first event among them is not self-contained.
/// The states come from the log rather than from the table, so that the fold is the only source of rows.
async fn states_before<P: Projection>(
    session: &mut impl Session,
    events: &Parsed<'_, P>,
    skips: &BTreeSet<Position>,
) -> Result<HashMap<String, P::State>, ProjectionError> {
    let mut seen = BTreeSet::new();
    let firsts = events
        .iter()
        .filter(|(recorded, _)| seen.insert(recorded.aggregate_id.as_str()))
        .filter(|(recorded, event)| recorded.sequence > 1 && !P::is_self_contained(event))
        .map(|(recorded, _)| *recorded);
    let mut states = HashMap::new();
    let (mut together, mut size) = (Vec::new(), 0);
    for first in firsts {
        // The sequence of an event is the number of events up to it.
        if size + first.sequence > EVENTS && !together.is_empty() {
            read_states::<P>(session, &together, skips, &mut states).await?;
            together.clear();
            size = 0;
        }
        size += first.sequence;
        together.push(first);
    }
    if !together.is_empty() {
        read_states::<P>(session, &together, skips, &mut states).await?;
    }
    Ok(states)
}

/// Folds the events before `firsts`, each of another aggregate, page by page.
async fn read_states<P: Projection>(
    session: &mut impl Session,
    firsts: &[&RecordedEvent],
    skips: &BTreeSet<Position>,
    states: &mut HashMap<String, P::State>,
) -> Result<(), ProjectionError> {
    let ids: Vec<&str> = firsts.iter().map(|first| first.aggregate_id.as_str()).collect();
    let Some(end) = firsts.iter().map(|first| first.position).max() else {
        return Ok(());
    };
    let ends: HashMap<&str, Position> = firsts
        .iter()
        .map(|first| (first.aggregate_id.as_str(), first.position))
        .collect();
    let mut after = Position::BEGINNING;
    loop {
        let page = EventLog::events_between(session, P::AGGREGATE_TYPE, &ids, after, end, EVENTS).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.position;
        let full = page.len() as u64 >= EVENTS;
        for (recorded, event) in parsed::<P>(&page, skips)? {
            let id = recorded.aggregate_id.as_str();
            if ends.get(id).is_some_and(|end| recorded.position < *end) {
                let before = states.remove(id);
                if let Some(state) = P::evolve(before, event, recorded) {
                    states.insert(id.to_owned(), state);
                }
            }
        }
        if !full {
            return Ok(());
        }
    }
}
