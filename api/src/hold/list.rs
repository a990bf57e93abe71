//! The holds of many patients.

use std::collections::HashMap;

use cqrs_es::Aggregate;
use domain::{PATIENT_ERASED, PATIENT_HELD, PATIENT_HOLD_RELEASED, Patient};
use eventstore::database::{in_list, padded};
use eventstore::{EventFilter, EventLog, Position, Session, Timestamp};
use projector::reads::ReadError;
use uuid::Uuid;

use super::{HoldStatus, RecordedHold};

/// Maximum number of pages of the log that one page of the list reads. Each page searches a limited number of
/// positions.
pub(crate) const PAGES: usize = 50;
/// Number of events read at a time.
pub(crate) const PAGE: u32 = 500;

/// Returns the current holds of the patients among `ids`: for each patient, the hold that was recorded last,
/// unless it was released or the patient was erased. A hold can be expired.
pub(crate) async fn current_holds(
    log: &EventLog,
    ids: &[&str],
) -> Result<HashMap<String, RecordedHold>, ReadError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT aggregate_id, event_type, position FROM events WHERE aggregate_id IN ({}) AND aggregate_type = ? \
         AND event_type IN (?, ?, ?)",
        in_list(ids.len())
    );
    let rows = {
        let mut reader = log.database().reader().await?;
        let query = reader.query(&sql).bind_all(padded(ids)).bind(Patient::TYPE);
        let query = query.bind(PATIENT_HELD).bind(PATIENT_HOLD_RELEASED);
        query.bind(PATIENT_ERASED).fetch_all().await?
    };
    // The last of these events decides.
    let mut last: HashMap<String, (Position, String)> = HashMap::new();
    for row in &rows {
        let (id, event): (String, (Position, String)) = (row.get(0)?, (row.get(2)?, row.get(1)?));
        let known = last.entry(id).or_default();
        if event.0 > known.0 {
            *known = event;
        }
    }
    let positions: Vec<Position> = last
        .values()
        .filter(|(_, event_type)| event_type == PATIENT_HELD)
        .map(|(position, _)| *position)
        .collect();
    let events = log.at(&positions).await?;
    events
        .into_iter()
        .map(|event| Ok((event.aggregate_id.clone(), RecordedHold::of(&event)?)))
        .collect()
}

/// Returns at most `limit` current holds, in the order in which they were recorded after the position
/// `after`, and the position after which the next page begins, unless this page is the last. A page can be
/// empty. `now` is the current time.
///
/// # Errors
///
/// [`ReadError`].
pub(crate) async fn holds(
    log: &EventLog,
    mut after: Position,
    limit: u32,
    now: Timestamp,
) -> Result<(Vec<HoldStatus>, Option<Position>), ReadError> {
    let filter = EventFilter {
        event_type: Some(PATIENT_HELD.to_owned()),
        aggregate: None,
    };
    let head = log.head().await?.position;
    let (limit, mut found) = (limit as usize, Vec::new());
    for _ in 0..PAGES {
        if found.len() == limit || after >= head {
            break;
        }
        let page = log.page(&filter, after, head, PAGE).await?;
        after = page.reaches;
        let ids: Vec<&str> = page
            .events
            .iter()
            .map(|event| event.aggregate_id.as_str())
            .collect();
        let current = current_holds(log, &ids).await?;
        found.extend(page.events.iter().filter_map(|event| {
            // A replaced hold is not current. The log may also have aggregates of another type.
            let hold = current.get(&event.aggregate_id)?;
            let id = Uuid::try_parse(&event.aggregate_id).ok()?;
            (hold.position == event.position).then(|| hold.status(id, now))
        }));
        if found.len() > limit {
            found.truncate(limit);
            after = found.last().map_or(after, |last| last.position);
        }
    }
    Ok((found, (after < head).then_some(after)))
}
