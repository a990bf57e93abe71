//! The locked head of the log, held against the events before anything is written behind it.

use std::cmp::Ordering;

use crate::chain;
use crate::clock::Timestamp;
use crate::database::{Row, Transaction};
use crate::error::{Error, Result};
use crate::event::Position;
use crate::log::{self, EventLog, Head};

/// The head, and what the log says of it, all under the lock.
#[derive(Debug)]
pub(super) struct LockedHead {
    head: Head,
    /// What the last event says the head should be.
    last: Head,
    /// The database's clock, if it has one.
    database_clock: Option<Timestamp>,
}

/// What does not fit.
#[derive(Debug)]
enum Misfit {
    At(&'static str),
    /// There are events behind the head.
    EventsBehind,
}

impl LockedHead {
    /// Reads the rows of [`Head::lock`] and [`Head::evidence`]; returns the rows after them too.
    pub(super) async fn of<'r>(
        transaction: &mut Transaction<'_>,
        rows: &'r [Row],
    ) -> Result<(Self, &'r [Row])> {
        let (row, rows) = rows.split_first().ok_or(Error::NoHead)?;
        // Without a head, the first row is that of another statement, which does not begin with a number.
        row.get::<Position, _>(0).map_err(|_| Error::NoHead)?;
        let head = Head::of(Some(row))?;
        let last = rows.first().map(end).transpose()?.flatten();
        let (last, database_clock, rows) = if let Some(last) = last {
            (last, rows[0].get(3)?, &rows[1..])
        } else {
            let dialect = transaction.dialect();
            (
                Head::default(),
                EventLog::clock(transaction, dialect).await?,
                rows,
            )
        };
        let locked = Self {
            head,
            last,
            database_clock,
        };
        Ok((locked, rows))
    }

    /// The database's clock, if it has one.
    pub(super) const fn database_clock(&self) -> Option<Timestamp> {
        self.database_clock
    }

    /// The head, if it is the end of the log.
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
                    "log_head was moved back: the log goes on behind it"
                } else {
                    "an event was added behind log_head"
                },
            }),
        }
    }

    fn misfit(&self) -> Option<Misfit> {
        let Self { head, last, .. } = self;
        if head.position < Position::BEGINNING {
            return Some(Misfit::At("log_head was moved to before the first event"));
        }
        match last.position.cmp(&head.position) {
            Ordering::Greater => Some(Misfit::EventsBehind),
            Ordering::Less => Some(Misfit::At(
                "log_head was moved ahead: there is no event at its position",
            )),
            Ordering::Equal if head.hash != last.hash => Some(Misfit::At(
                "log_head has another hash than the event at its position",
            )),
            Ordering::Equal if head.recorded_at != last.recorded_at => Some(Misfit::At(
                "log_head has another time than the event at its position",
            )),
            Ordering::Equal => None,
        }
    }

    /// Whether the log, and not a stranger's event, goes on behind the head.
    async fn was_moved_back(&self, transaction: &mut Transaction<'_>) -> Result<bool> {
        if self.last.hash == self.head.hash {
            return Ok(true);
        }
        let next = EventLog::first_after(transaction, self.head.position).await?;
        next.map_or(Ok(false), |next| chain::follows(&self.head.hash, &next))
    }
}

/// Where a row of [`Head::evidence`] says the head should be; nothing if it is another statement's row.
fn end(row: &Row) -> Result<Option<Head>> {
    let Ok(position) = row.get(1) else { return Ok(None) };
    Ok(Some(Head {
        position,
        hash: log::hash(row, 0, position)?,
        recorded_at: row.get(2)?,
    }))
}
