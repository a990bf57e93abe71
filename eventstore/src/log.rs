//! Reading the log.

mod head;
mod pages;
mod recent;
mod times;

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::database::{Database, Dialect, Row, Session, in_list, padded};
use crate::error::{Error, Result};
use crate::event::{Position, RecordedEvent};
use crate::scan::{COLUMNS, StoredEvent};
use crate::sealing::{SealedPayload, SealingError};
use recent::{LONGEST_WAIT, SharedReads};

pub use head::Head;
pub(crate) use head::{clock_of, hash};
pub use pages::{EventFilter, EventPage, WINDOW};

/// Read access to the log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventLog {
    database: Database,
    shared_reads: Arc<SharedReads>,
}

impl EventLog {
    /// Creates a reader of the log in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self {
            database,
            shared_reads: Arc::default(),
        }
    }

    /// The database that contains the log.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Returns the head of the log.
    ///
    /// # Errors
    ///
    /// [`Error::MissingHead`] before the first migration, [`Error::Database`].
    pub async fn head(&self) -> Result<Head> {
        let mut connection = self.database.reader().await?;
        let row = connection
            .query("SELECT position, hash, recorded_at FROM log_head WHERE id = 1")
            .fetch_optional()
            .await?;
        Head::of(row.as_ref())
    }

    /// Whether the log can be written. On MySQL, runs an update that changes no row. On SQLite, always
    /// returns `true`, because this process writes the file itself and a failed append reveals the problem.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], unless the database is read-only.
    pub async fn is_writable(&self) -> Result<bool> {
        if self.database.dialect() == Dialect::Sqlite {
            return Ok(true);
        }
        let updated = async {
            self.database
                .writer()
                .await?
                .query("UPDATE log_head SET position = position WHERE id = 0")
                .execute()
                .await
        };
        match updated.await {
            Ok(_) => Ok(true),
            Err(Error::ReadOnly(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads the feed: at most `limit` events after `after`, in order of position, with their personal data
    /// opened. Fewer than `limit` events mean that the end of the log was reached.
    ///
    /// # Errors
    ///
    /// [`Error::Database`]; [`Error::Damaged`] if positions are missing or an event cannot be read;
    /// [`Error::Sealing`] if a key or the keyring is missing.
    pub async fn feed(&self, after: Position, limit: u32) -> Result<Vec<RecordedEvent>> {
        self.feed_opening(after, limit, |_| true).await
    }

    /// Announces a subscription that will read the feed with [`EventLog::feed_for_subscription`].
    pub(crate) fn add_subscription(&self) {
        self.shared_reads.join();
    }

    /// Like [`EventLog::feed`], for a subscription that needs the personal data only of events whose type
    /// `needs_opened` accepts; other events may be returned as stored. All subscriptions that use clones of
    /// the same log share recently read events. The end of the returned events is therefore not necessarily
    /// the end of the log.
    ///
    /// # Errors
    ///
    /// Same as [`EventLog::feed`].
    pub(crate) async fn feed_for_subscription(
        &self,
        after: Position,
        limit: u32,
        needs_opened: fn(&str) -> bool,
    ) -> Result<Vec<RecordedEvent>> {
        let shared = &self.shared_reads;
        if !shared.are_useful() {
            return self.feed_opening(after, limit, needs_opened).await;
        }
        let Ok(mut recent) = tokio::time::timeout(LONGEST_WAIT, shared.recent.lock()).await else {
            // The read of another subscription hangs.
            return self.feed_opening(after, limit, needs_opened).await;
        };
        let failures = shared.failures();
        if let Some(events) = recent.after(after, limit, failures) {
            return Ok(events);
        }
        // Another subscription needs the personal data if this subscription does not.
        let events = self.feed(after, limit).await?;
        if shared.failures() == failures {
            recent.keep(&events);
        }
        Ok(events)
    }

    /// Makes the next read of every subscription bypass the shared events and read the database.
    pub(crate) fn forget_reads(&self) {
        self.shared_reads.note_failure();
    }

    async fn feed_opening(
        &self,
        after: Position,
        limit: u32,
        needs_opened: fn(&str) -> bool,
    ) -> Result<Vec<RecordedEvent>> {
        let mut connection = self.database.reader().await?;
        let events = feed(&mut connection, after, limit).await?;
        let (to_open, mut events): (Vec<_>, Vec<_>) = events
            .into_iter()
            .partition(|event| needs_opened(&event.event_type));
        events.extend(opened(&mut connection, to_open).await?);
        events.sort_unstable_by_key(|event| event.position);
        Ok(events)
    }

    /// Like [`EventLog::feed`], but returns the events as stored, so that their hashes can be verified.
    ///
    /// # Errors
    ///
    /// Same as [`EventLog::feed`], except [`Error::Sealing`].
    pub async fn stored_feed(&self, after: Position, limit: u32) -> Result<Vec<RecordedEvent>> {
        feed(&mut self.database.reader().await?, after, limit).await
    }

    /// Opens the personal data of stored events. Unencrypted events, and events that were altered, stay as
    /// they are.
    ///
    /// # Errors
    ///
    /// [`Error::Sealing`] if a key or the keyring is missing; [`Error::Database`].
    pub async fn open(&self, events: Vec<RecordedEvent>) -> Result<Vec<RecordedEvent>> {
        if events.is_empty() {
            return Ok(events);
        }
        opened(&mut self.database.reader().await?, events).await
    }

    /// Reads the events at `positions` as stored, in order of position. Missing events are omitted.
    ///
    /// # Errors
    ///
    /// [`Error::Database`]; [`Error::Damaged`] if an event cannot be read.
    pub async fn at(&self, positions: &[Position]) -> Result<Vec<RecordedEvent>> {
        if positions.is_empty() {
            return Ok(Vec::new());
        }
        let mut connection = self.database.reader().await?;
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE position IN ({}) ORDER BY position",
            in_list(positions.len())
        );
        connection
            .query(&sql)
            .bind_all(padded(positions))
            .fetch_all()
            .await?
            .iter()
            .map(recorded)
            .collect()
    }

    /// Reads the first event after `after` on `session`, as stored.
    pub(crate) async fn first_after(
        session: &mut impl Session,
        after: Position,
    ) -> Result<Option<RecordedEvent>> {
        let sql = format!("SELECT {COLUMNS} FROM events WHERE position > ? ORDER BY position LIMIT 1");
        let row = session.query(&sql).bind(after).fetch_optional().await?;
        row.as_ref().map(recorded).transpose()
    }

    /// Returns the database's time; `None` for SQLite, which has no clock.
    pub(crate) async fn database_time(&self) -> Result<Option<Timestamp>> {
        if self.database.dialect() == Dialect::Sqlite {
            return Ok(None);
        }
        let sql = format!("SELECT {}", clock_of(self.database.dialect()));
        let row = self.database.reader().await?.query(&sql).fetch_optional().await?;
        row.map(|row| row.get(0)).transpose()
    }

    /// Returns the position of an aggregate's event with this sequence, if it exists.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn position_of(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        sequence: u32,
    ) -> Result<Option<Position>> {
        let mut connection = self.database.reader().await?;
        let row = connection
            .query(
                "SELECT position FROM events WHERE aggregate_id = ? AND aggregate_type = ? AND sequence = ?",
            )
            .bind(aggregate_id)
            .bind(aggregate_type)
            .bind(sequence)
            .fetch_optional()
            .await?;
        row.map(|row| row.get(0)).transpose()
    }

    /// Reads the events after `after` of the given aggregates, all of one type, on `session`. The events are
    /// in order of position, with their personal data opened.
    ///
    /// # Errors
    ///
    /// [`Error::Database`]; [`Error::Damaged`] if an event cannot be read; [`Error::Sealing`] if a key
    /// or the keyring is missing.
    pub async fn events_of(
        session: &mut impl Session,
        aggregate_type: &str,
        aggregate_ids: &[&str],
        after: Position,
    ) -> Result<Vec<RecordedEvent>> {
        if aggregate_ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE aggregate_id IN ({}) AND aggregate_type = ? AND position > ? \
             ORDER BY position",
            in_list(aggregate_ids.len())
        );
        let rows = session
            .query(&sql)
            .bind_all(padded(aggregate_ids))
            .bind(aggregate_type)
            .bind(after)
            .fetch_all()
            .await?;
        opened(session, rows.iter().map(recorded).collect::<Result<_>>()?).await
    }

    /// Reads the first events of the given aggregates, all of one type, on `session`, with their personal
    /// data opened. Aggregates without events are absent.
    ///
    /// # Errors
    ///
    /// Same as [`EventLog::events_of`].
    pub async fn first_events_of(
        session: &mut impl Session,
        aggregate_type: &str,
        aggregate_ids: &[&str],
    ) -> Result<Vec<RecordedEvent>> {
        if aggregate_ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE aggregate_id IN ({}) AND aggregate_type = ? AND sequence = 1",
            in_list(aggregate_ids.len())
        );
        let rows = session
            .query(&sql)
            .bind_all(padded(aggregate_ids))
            .bind(aggregate_type)
            .fetch_all()
            .await?;
        opened(session, rows.iter().map(recorded).collect::<Result<_>>()?).await
    }

    /// Like [`EventLog::events_of`], but reads only events before `before`, and at most `limit`. The
    /// statement finds the aggregates by their index for every limit: a scan in order of position could read
    /// the whole log.
    ///
    /// # Errors
    ///
    /// Same as [`EventLog::events_of`].
    pub async fn events_between(
        session: &mut impl Session,
        aggregate_type: &str,
        aggregate_ids: &[&str],
        after: Position,
        before: Position,
        limit: u64,
    ) -> Result<Vec<RecordedEvent>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM events{} WHERE aggregate_id IN ({}) AND aggregate_type = ? AND +position > ? \
             AND +position < ? ORDER BY +position LIMIT ?",
            session.dialect().by_aggregate(),
            in_list(aggregate_ids.len())
        );
        let rows = session
            .query(&sql)
            .bind_all(padded(aggregate_ids))
            .bind(aggregate_type)
            .bind(after)
            .bind(before)
            .bind(limit.cast_signed())
            .fetch_all()
            .await?;
        opened(session, rows.iter().map(recorded).collect::<Result<_>>()?).await
    }
}

async fn feed(session: &mut impl Session, after: Position, limit: u32) -> Result<Vec<RecordedEvent>> {
    let sql = format!("SELECT {COLUMNS} FROM events WHERE position > ? ORDER BY position LIMIT ?");
    let rows = session
        .query(&sql)
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all()
        .await?;
    let events = rows.iter().map(recorded).collect::<Result<Vec<_>>>()?;
    let mut expected = after;
    for event in &events {
        expected = expected.next();
        if event.position != expected {
            return Err(Error::Damaged {
                position: expected,
                what: "the event is missing",
            });
        }
    }
    Ok(events)
}

/// Opens the personal data of events, if the session has a sealing.
async fn opened(session: &mut impl Session, events: Vec<RecordedEvent>) -> Result<Vec<RecordedEvent>> {
    if let Some(sealing) = session.sealing().cloned() {
        return Ok(sealing.open_unaltered(session, events).await?);
    }
    match events
        .iter()
        .find(|event| SealedPayload::parse(&event.payload).is_ok())
    {
        Some(sealed) => Err(SealingError::NoKeyring {
            position: sealed.position,
        }
        .into()),
        None => Ok(events),
    }
}

/// Reads the event from a row of [`COLUMNS`].
fn recorded(row: &Row) -> Result<RecordedEvent> {
    StoredEvent::of(row)
        .and_then(|event| event.read())
        .map_err(|what| Error::Damaged {
            position: row.get(0).unwrap_or_default(),
            what,
        })
}

#[cfg(test)]
mod tests;
