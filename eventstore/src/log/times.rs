//! The times of events that a wrong clock recorded.

use super::EventLog;
use crate::clock::Timestamp;
use crate::database::{Session, in_list, padded};
use crate::error::Result;
use crate::event::Position;

/// Earlier events that are compared with an event: the first event, and the events 1, 2, 4, … positions
/// before the event.
fn compared_with(position: Position) -> Vec<Position> {
    let position = position.get();
    let back = (0..u64::BITS).map_while(|power| position.checked_sub(1 << power));
    let back = back
        .filter(|earlier| *earlier > 1)
        .chain((position > 1).then_some(1));
    back.filter_map(Position::new).collect()
}

impl EventLog {
    /// Returns the time of the first event after `position` that was recorded no later than `now`, or `None`
    /// if no event matches. Events between them, with times after `now`, were recorded by a wrong clock.
    ///
    /// # Errors
    ///
    /// [`Error::Database`](crate::Error::Database), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn right_time(&self, position: Position, now: Timestamp) -> Result<Option<Timestamp>> {
        let mut connection = self.database.reader().await?;
        let row = connection
            .query(
                "SELECT recorded_at FROM events WHERE position > ? AND recorded_at <= ? ORDER BY position LIMIT 1",
            )
            .bind(position)
            .bind(now)
            .fetch_optional()
            .await?;
        row.map(|row| row.get(0)).transpose()
    }

    /// Returns `time`, the time of the event at `position`, unless a clock that was behind recorded the
    /// event. In that case, returns the time of the last event before the clock was wrong. Ignores events
    /// with times after `now`.
    ///
    /// Compares the event with the first event, and with the events 1, 2, 4, … positions before it, so the
    /// number of events to read is logarithmic in `position`. A clock that was behind the first event is
    /// always found. A clock that was behind by less than the age of the log can remain unnoticed if it
    /// recorded many events.
    ///
    /// # Errors
    ///
    /// [`Error::Database`](crate::Error::Database), [`Error::Timeout`](crate::Error::Timeout).
    pub async fn time_not_before_earlier_events(
        &self,
        (position, time): (Position, Timestamp),
        now: Timestamp,
    ) -> Result<Timestamp> {
        let later = self.later_than(time, &compared_with(position), now).await?;
        let Some(&(mut before, _)) = later.last() else {
            return Ok(time);
        };
        let mut latest = later.into_iter().map(|(_, at)| at).max().unwrap_or(time);
        // The clock went back between the positions `before` and `after`.
        let mut after = position;
        while let Some(middle) = Position::new(before.get().midpoint(after.get()))
            && middle > before
        {
            match self.later_than(time, &[middle], now).await?.first() {
                Some(&(_, at)) => (before, latest) = (middle, latest.max(at)),
                None => after = middle,
            }
        }
        Ok(latest)
    }

    /// Returns position and time of those events at `positions` that were recorded after `time`, but not
    /// after `now`, in order of position.
    async fn later_than(
        &self,
        time: Timestamp,
        positions: &[Position],
        now: Timestamp,
    ) -> Result<Vec<(Position, Timestamp)>> {
        if positions.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT position, recorded_at FROM events WHERE position IN ({}) AND recorded_at > ? \
             AND recorded_at <= ? ORDER BY position",
            in_list(positions.len())
        );
        let mut connection = self.database.reader().await?;
        let rows = connection
            .query(&sql)
            .bind_all(padded(positions))
            .bind(time)
            .bind(now)
            .fetch_all()
            .await?;
        rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }
}
