//! Reading the log in pages, optionally filtered. The work for one page is bounded, regardless of the log's
//! length.

use super::{EventLog, opened, recorded};
use crate::database::{Row, Session};
use crate::error::{Error, Result};
use crate::event::{Position, RecordedEvent};
use crate::scan::COLUMNS;

/// Maximum number of positions that a page filtered by type searches. Event types have no index, because an
/// index would slow down every append.
pub const WINDOW: u64 = 10_000;

/// Filter for events of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Event type.
    pub event_type: Option<String>,
    /// Aggregate type and aggregate id. An index of the log covers both.
    pub aggregate: Option<(String, String)>,
}

/// A page of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// The events, in order of position.
    pub events: Vec<RecordedEvent>,
    /// Position after which the next page begins. All matching events up to this position have been returned.
    pub reaches: Position,
}

impl EventLog {
    /// Returns a page of at most `limit` stored events that match `filter`, after `after` and up to `end`.
    /// `end` must not be beyond the head. More pages follow while [`EventPage::reaches`] is before `end`. A
    /// page filtered by type alone can have fewer than `limit` events, or even no event, because its search
    /// stops after [`WINDOW`] positions.
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
                let events = self
                    .stored_feed(after, u32::try_from(limit).unwrap_or(u32::MAX))
                    .await?;
                let reaches = events.last().map_or(after, |last| last.position);
                if (events.len() as u64) < limit {
                    return Err(Error::Damaged {
                        position: reaches.next(),
                        what: "the event is missing",
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
                // Within an aggregate, sequences and positions have the same order, and the index is ordered
                // by sequence.
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

    /// Returns at most `limit` events of one aggregate after the sequence `after`, in order. Fewer than
    /// `limit` events mean that the end of the history was reached. Their personal data is opened.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], [`Error::Timeout`]; [`Error::Damaged`] if an event cannot be read or a sequence
    /// is missing; [`Error::Sealing`] if a key or the keyring is missing.
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
            None => opened(&mut connection, events).await,
            Some((_, event)) => Err(Error::Damaged {
                position: event.position,
                what: "the previous event of its aggregate is missing",
            }),
        }
    }
}

/// Returns the page of `rows`. Fewer than `limit` rows cover all positions up to `to`.
fn page(rows: &[Row], limit: u32, to: Position) -> Result<EventPage> {
    let events = rows.iter().map(recorded).collect::<Result<Vec<_>>>()?;
    let reaches = match events.last() {
        Some(last) if events.len() >= limit as usize => last.position,
        _ => to,
    };
    Ok(EventPage { events, reaches })
}
