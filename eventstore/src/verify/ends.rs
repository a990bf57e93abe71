//! Comparison of `log_head` with the ends of the log.

use super::{Mismatch, Problem};
use crate::clock::Timestamp;
use crate::database::Session;
use crate::error::{Error, Result};
use crate::event::{Hash, Position};
use crate::log::{EventLog, Head};
use crate::scan::{COLUMNS, StoredEvent, link};

/// The head, the event at its position, and the first and last positions, all read in one statement.
pub(super) struct Ends {
    pub(super) head: Option<Head>,
    /// Hash and time of the event at the head's position.
    named: (Option<Hash>, Option<Timestamp>),
    first: Option<Position>,
    last: Position,
}

impl Ends {
    pub(super) async fn read(log: &EventLog) -> Result<Self> {
        let mut connection = log.database().reader().await?;
        let sql = "SELECT h.position, h.hash, h.recorded_at, n.recorded_at, n.hash, e.first_position, e.last_position \
                   FROM (SELECT MIN(position) AS first_position, MAX(position) AS last_position FROM events) e \
                   LEFT JOIN log_head h ON h.id = 1 LEFT JOIN events n ON n.position = h.position";
        // An aggregate query always returns a row.
        let row = connection
            .query(sql)
            .fetch_optional()
            .await?
            .ok_or(Error::MissingHead)?;
        let head = match row.get::<Option<Position>, _>(0)? {
            Some(_) => Some(Head::of(Some(&row))?),
            None => None,
        };
        let named = match head {
            Some(Head {
                position: Position::BEGINNING,
                ..
            }) => (Some(Hash::default()), Some(Timestamp::default())),
            _ => (link(&row, 4).ok(), row.get(3)?),
        };
        Ok(Self {
            head,
            named,
            first: row.get(5)?,
            last: row.get::<Option<Position>, _>(6)?.unwrap_or_default(),
        })
    }

    /// The last position that the log should have.
    pub(super) fn end(&self) -> Position {
        self.head.map_or(self.last, |head| head.position)
    }

    pub(super) fn before_first(&self) -> Option<Mismatch> {
        let position = self.first.filter(|first| *first <= Position::BEGINNING)?;
        Some(Mismatch {
            position,
            problem: Problem::BeforeFirst,
        })
    }

    /// Returns how `log_head` is inconsistent with the log, regardless of earlier events.
    pub(super) async fn mismatch(&self, log: &EventLog) -> Result<Option<Mismatch>> {
        let last = self.last;
        let (position, problem) = match self.head {
            None => (last, Problem::MissingHead),
            Some(head) if head.position > last => (last.next(), Problem::Missing),
            Some(head) if head.position < last => (head.position.next(), self.behind(log, head).await?),
            Some(head) if self.named.0 != Some(head.hash) => (last, Problem::Head),
            Some(head) if self.named.1 != Some(head.recorded_at) => (last, Problem::HeadTime),
            Some(_) => return Ok(None),
        };
        Ok(Some(Mismatch { position, problem }))
    }

    /// Diagnoses a head that is before the last event.
    async fn behind(&self, log: &EventLog, head: Head) -> Result<Problem> {
        let head_behind = Problem::HeadBehind { last: self.last };
        if head.position < Position::BEGINNING {
            return Ok(head_behind);
        }
        let next = head.position.next();
        let sql = format!("SELECT {COLUMNS} FROM events WHERE position = ?");
        let mut connection = log.database().reader().await?;
        let row = connection.query(&sql).bind(next).fetch_optional().await?;
        let event = row.as_ref().and_then(|row| StoredEvent::of(row).ok());
        let follows = event.zip(self.named.0).is_some_and(|(event, previous)| {
            let link = event.link(&previous, next, &mut Vec::new());
            link == Ok(event.hash)
        });
        Ok(if follows { head_behind } else { Problem::BehindHead })
    }
}
