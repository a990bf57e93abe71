//! Events that a projection passes over because an operator said so: which, who, when and why.
//!
//! Only an event that a projection, or a rebuild of it, has stopped at can be skipped; so a slip of the pen
//! passes over nothing. A skip is for good: rebuilds and verifications pass over the event as well.

use serde::Serialize;

use crate::clock::Timestamp;
use crate::database::{Database, Row, Session};
use crate::error::{Error, Result};
use crate::event::Position;

/// The longest reason, in characters.
pub const LONGEST_REASON: usize = 500;

/// The longest name of who says so, in characters.
pub const LONGEST_NAME: usize = 128;

/// An event that is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skip {
    /// Where it is.
    pub position: Position,
    /// Why.
    pub reason: String,
    /// Who said so.
    pub skipped_by: String,
    /// When.
    pub skipped_at: Timestamp,
}

/// Why an event is not skipped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SkipError {
    /// Nothing has stopped at that event.
    #[error("{projection} has not stopped at position {position}{}", stopped_at(*.stopped))]
    NotStoppedThere {
        /// The projection.
        projection: String,
        /// The event that was to be skipped.
        position: Position,
        /// Where it has stopped, if it has.
        stopped: Option<Position>,
    },
    /// The reason is empty or too long.
    #[error("a reason has 1 to {LONGEST_REASON} characters")]
    Reason,
    /// The name of who says so is empty or too long.
    #[error("who says so has 1 to {LONGEST_NAME} characters")]
    By,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Error),
}

fn stopped_at(position: Option<Position>) -> String {
    position.map_or_else(String::new, |position| format!("; it has at position {position}"))
}

impl Skip {
    /// Lets a projection pass over the event that it, or a rebuild of it, has stopped at.
    ///
    /// # Errors
    ///
    /// [`SkipError`].
    pub async fn record(self, database: &Database, projection: &str) -> Result<(), SkipError> {
        let Self {
            position,
            reason,
            skipped_by,
            skipped_at,
        } = self;
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
            return Err(SkipError::Reason);
        }
        if skipped_by.is_empty() || skipped_by.chars().count() > LONGEST_NAME {
            return Err(SkipError::By);
        }
        let mut transaction = database.begin().await?;
        let stopped: Vec<Position> = transaction
            .query(
                "SELECT f.position FROM subscription_failures f \
                 LEFT JOIN projection_rebuilds r ON r.name = f.name AND r.unfinished = 1 \
                 WHERE (f.name = ? OR r.projection = ?) AND f.position IS NOT NULL",
            )
            .bind(projection)
            .bind(projection)
            .fetch_all()
            .await?
            .iter()
            .map(|row| row.get(0))
            .collect::<Result<_>>()?;
        if !stopped.contains(&position) {
            return Err(SkipError::NotStoppedThere {
                projection: projection.to_owned(),
                position,
                stopped: stopped.first().copied(),
            });
        }
        // Whoever says it again changes nothing of what was recorded first.
        let sql = format!(
            "{} INTO projection_skips (projection, position, reason, skipped_by, skipped_at) VALUES (?, ?, ?, ?, ?)",
            database.dialect().insert_ignore()
        );
        transaction
            .query(&sql)
            .bind(projection)
            .bind(position)
            .bind(reason)
            .bind(skipped_by)
            .bind(skipped_at)
            .execute()
            .await?;
        Ok(transaction.commit().await?)
    }

    /// All that a projection passes over, in the order of their positions.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn all(session: &mut impl Session, projection: &str) -> Result<Vec<Self>> {
        let rows = session
            .query(
                "SELECT position, reason, skipped_by, skipped_at FROM projection_skips WHERE projection = ? \
                 ORDER BY position",
            )
            .bind(projection)
            .fetch_all()
            .await?;
        rows.iter().map(Self::read).collect()
    }

    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            position: row.get(0)?,
            reason: row.get(1)?,
            skipped_by: row.get(2)?,
            skipped_at: row.get(3)?,
        })
    }
}
