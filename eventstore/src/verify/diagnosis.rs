//! Diagnosis of an event that does not follow from the event before it.
//!
//! Each row still has its original hash unless the hash was altered too. The rows around the break therefore
//! often show what was changed. If these rows match no known pattern, the event is reported as replaced.

use super::Problem;
use crate::database::{Row, Session};
use crate::error::Result;
use crate::event::{Hash, Position};
use crate::log::{EventLog, Head};
use crate::scan::{COLUMNS, StoredEvent};

/// Number of rows, from the break on, in which the original event is searched for.
const LOOK: i64 = 1000;

/// Diagnoses the event at `position`, which does not follow from `previous`.
pub(super) async fn problem(
    log: &EventLog,
    position: Position,
    previous: &Hash,
    head: Option<&Head>,
) -> Result<Problem> {
    let sql = format!("SELECT {COLUMNS} FROM events WHERE position >= ? ORDER BY position LIMIT {LOOK}");
    let mut connection = log.database().reader().await?;
    let rows = connection.query(&sql).bind(position).fetch_all().await?;
    Ok(story(&rows, position, previous, head).unwrap_or(Problem::Replaced))
}

/// Returns the problem that the rows show, or `None` if no pattern matches, or if a row needed for the
/// diagnosis cannot be read.
fn story(rows: &[Row], position: Position, previous: &Hash, head: Option<&Head>) -> Option<Problem> {
    let mut scratch = Vec::new();
    let mut follows = |event: &StoredEvent<'_>, previous: &Hash, position| {
        event
            .link(previous, position, &mut scratch)
            .is_ok_and(|link| link == event.hash)
    };
    let event = StoredEvent::of(rows.first()?).ok()?;
    let given = event.link(previous, position, &mut Vec::new()).ok()?;
    let later: Vec<StoredEvent<'_>> = rows[1..]
        .iter()
        .map_while(|row| StoredEvent::of(row).ok())
        .collect();

    let next = position.next();
    let mut fits_what_comes = |hash: &Hash| match later.first().filter(|later| later.position == next) {
        Some(later) => follows(later, hash, next),
        None => head.is_some_and(|head| position == head.position && *hash == head.hash),
    };
    if fits_what_comes(&given) {
        return Some(Problem::HashAltered);
    }
    if fits_what_comes(&event.hash) {
        return Some(Problem::Altered);
    }

    let (at, right) = (0..)
        .zip(&later)
        .find(|(_, later)| follows(later, previous, position))?;
    // The original link before `right.position`, assuming that the two events were swapped.
    let before = if at == 0 {
        right.hash
    } else {
        later.get(at - 1)?.hash
    };
    Some(if follows(&event, &before, right.position) {
        Problem::Swapped { with: right.position }
    } else if right.position == next {
        Problem::Added
    } else {
        Problem::Moved { to: right.position }
    })
}
