//! The log read in pages: all of it or some of its events, each page bounded work whatever the log's length.

use super::{COLUMNS, EventLog, recorded};
use crate::database::{Row, Session};
use crate::error::{Error, Result};
use crate::event::{Position, RecordedEvent};

/// How many positions a page that looks for a type passes over at most: no index has the type, since every
/// append would pay for it.
pub const WINDOW: u64 = 10_000;

/// Which events of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only those of this type.
    pub event_type: Option<String>,
    /// Only those of this aggregate: its type and its id. The log's own index finds them.
    pub aggregate: Option<(String, String)>,
}

/// Some events of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// The events, in the order of their positions.
    pub events: Vec<RecordedEvent>,
    /// Where the next page begins: all that was asked for up to here has been given.
    pub reaches: Position,
}

impl EventLog {
    /// A page of the events that `filter` takes: at most `limit` of those after `after` and up to `end`,
    /// which must not be beyond the head. There are more as long as [`EventPage::reaches`] is before `end`; a
    /// page may have fewer than `limit` even so, or none, if it looks for a type and has passed over
    /// [`WINDOW`] positions.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`]; [`Error::Damaged`] if an event cannot be read or, without a
    /// filter, if positions are missing.
    pub async fn page(
        &self,
        filter: &EventFilter,
        after: Position,
        end: Position,
        limit: u32,
    ) -> Result<EventPage> {
        if after >= end {
            return Ok(EventPage {
                events: Vec::new(),
                reaches: after,
            });
        }
        match filter {
            EventFilter {
                event_type: None,
                aggregate: None,
            } => {
                let limit = u64::from(limit).min(end.since(after));
                let events = self.feed(after, u32::try_from(limit).unwrap_or(u32::MAX)).await?;
                let reaches = events.last().map_or(after, |last| last.position);
                if (events.len() as u64) < limit {
                    return Err(Error::Damaged {
                        position: reaches.next(),
                        what: "it is missing",
                    });
                }
                Ok(EventPage { events, reaches })
            }
            EventFilter {
                event_type: Some(event_type),
                aggregate: None,
            } => {
                let window = Position::new(after.get().saturating_add(WINDOW)).map_or(end, |to| to.min(end));
                let sql = format!(
                    "SELECT {COLUMNS} FROM events WHERE position > ? AND position <= ? AND event_type = ? \
                     ORDER BY position LIMIT ?"
                );
                let mut connection = self.database.reader().await?;
                let query = connection.query(&sql).bind(after).bind(window).bind(event_type);
                let rows = query.bind(i64::from(limit)).fetch_all().await?;
                page(&rows, limit, window)
            }
            EventFilter {
                event_type,
                aggregate: Some((aggregate_type, aggregate_id)),
            } => {
                // Within an aggregate the order of sequences is that of positions, and it is the index's own.
                let of_type = event_type.as_ref().map_or("", |_| "AND event_type = ? ");
                let sql = format!(
                    "SELECT {COLUMNS} FROM events WHERE aggregate_id = ? AND aggregate_type = ? AND position > ? \
                     AND position <= ? {of_type}ORDER BY sequence LIMIT ?"
                );
                let mut connection = self.database.reader().await?;
                let query = connection.query(&sql).bind(aggregate_id).bind(aggregate_type);
                let query = query.bind(after).bind(end).bind_all(event_type.as_deref());
                let rows = query.bind(i64::from(limit)).fetch_all().await?;
                page(&rows, limit, end)
            }
        }
    }

    /// The history of one aggregate: at most `limit` of its events after the sequence `after`, in order.
    /// Fewer than `limit` are all that there are.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`]; [`Error::Damaged`] if an event cannot be read, or is missing
    /// between two.
    pub async fn history(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>> {
        let Ok(first) = i64::try_from(after) else {
            return Ok(Vec::new());
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE aggregate_id = ? AND aggregate_type = ? AND sequence > ? \
             ORDER BY sequence LIMIT ?"
        );
        let mut connection = self.database.reader().await?;
        let query = connection.query(&sql).bind(aggregate_id).bind(aggregate_type);
        let rows = query.bind(first).bind(i64::from(limit)).fetch_all().await?;
        let events = rows.iter().map(recorded).collect::<Result<Vec<_>>>()?;
        match (after + 1..)
            .zip(&events)
            .find(|(expected, event)| event.sequence != *expected)
        {
            None => Ok(events),
            Some((_, event)) => Err(Error::Damaged {
                position: event.position,
                what: "the event of its aggregate before it is missing",
            }),
        }
    }
}

/// The events of `rows`; if there are fewer than `limit`, they are all up to `to`.
fn page(rows: &[Row], limit: u32, to: Position) -> Result<EventPage> {
    let events = rows.iter().map(recorded).collect::<Result<Vec<_>>>()?;
    let reaches = match events.last() {
        Some(last) if events.len() >= limit as usize => last.position,
        _ => to,
    };
    Ok(EventPage { events, reaches })
}
