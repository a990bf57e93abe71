//! The locked head of the log, checked against the events before anything is appended.

use crate::chain;
use crate::clock::Timestamp;
use crate::database::{Row, Session, Transaction};
use crate::error::{Error, Result};
use crate::event::{Hash, Position};
use crate::log::{self, EventLog, Head};

/// The head and the end of the log, read under the lock.
#[derive(Debug)]
pub(super) struct LockedHead {
    head: Head,
    /// Hash and time of the event at the head's position, if there is one.
    event: Option<(Hash, Timestamp)>,
    /// Position of the last event.
    last: Position,
    /// Time of the database's clock, if it has one.
    pub(super) database_clock: Option<Timestamp>,
}

/// A mismatch between the head and the events.
#[derive(Debug)]
enum Misfit {
    At(&'static str),
    /// The log has events after the head.
    EventsBehind,
}

impl LockedHead {
    /// Reads the rows of [`Head::lock`] and [`Head::evidence`], and returns the remaining rows.
    pub(super) fn of(rows: &[Row]) -> Result<(Self, &[Row])> {
        let (Some(row), Some(evidence)) = (rows.first(), rows.get(1)) else {
            return Err(Error::NoHead);
        };
        // Without a head, the first rows belong to other statements.
        let position = row.get::<Position, _>(0).map_err(|_| Error::NoHead)?;
        let head = Head::of(Some(row))?;
        let event = match evidence.get::<Option<Timestamp>, _>(1)? {
            Some(recorded_at) => Some((log::hash(evidence, 0, position)?, recorded_at)),
            None => None,
        };
        let locked = Self {
            head,
            event,
            last: evidence
                .get::<Option<Position>, _>(2)?
                .unwrap_or(Position::BEGINNING),
            database_clock: evidence.get(3)?,
        };
        Ok((locked, &rows[2..]))
    }

    /// Returns the head if it is the end of the log.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`].
    pub(super) async fn check(&self, transaction: &mut Transaction<'_>) -> Result<Head> {
        let position = self.head.position;
        match self.misfit() {
            None => Ok(self.head),
            Some(Misfit::At(what)) => Err(Error::Damaged { position, what }),
            Some(Misfit::EventsBehind) => Err(Error::Damaged {
                position: position.next(),
                what: if self.was_moved_back(transaction).await? {
                    "log_head was moved back: the log continues after it"
                } else {
                    "an event was added after log_head"
                },
            }),
        }
    }

    fn misfit(&self) -> Option<Misfit> {
        let Head {
            position,
            hash,
            recorded_at,
        } = self.head;
        if position < Position::BEGINNING {
            return Some(Misfit::At("log_head was moved before the first event"));
        }
        if self.last > position {
            return Some(Misfit::EventsBehind);
        }
        if position > self.last {
            return Some(Misfit::At(
                "log_head was moved ahead: there is no event at its position",
            ));
        }
        // Hash and time of the last event, or the defaults for an empty log.
        let (last_hash, last_time) = match self.event {
            None if position > Position::BEGINNING => {
                return Some(Misfit::At("the event at the position of log_head is missing"));
            }
            event => event.unwrap_or_default(),
        };
        if hash != last_hash {
            Some(Misfit::At(
                "log_head and the event at its position have different hashes",
            ))
        } else if recorded_at != last_time {
            Some(Misfit::At(
                "log_head and the event at its position have different times",
            ))
        } else {
            None
        }
    }

    /// Whether the log continues after the head. Otherwise, the events after the head are not part of the
    /// log.
    async fn was_moved_back(&self, transaction: &mut Transaction<'_>) -> Result<bool> {
        let row = transaction
            .query("SELECT hash FROM events WHERE position = ?")
            .bind(self.last)
            .fetch_optional()
            .await?;
        let last = row.map(|row| log::hash(&row, 0, self.last)).transpose()?;
        if last == Some(self.head.hash) {
            return Ok(true);
        }
        let next = EventLog::first_after(transaction, self.head.position).await?;
        next.map_or(Ok(false), |next| chain::follows(&self.head.hash, &next))
    }
}
