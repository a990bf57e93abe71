//! Events that a projection skips on an operator's request, with the reason, the operator's name and the
//! time.
//!
//! Only an event at which a projection or its rebuild has stopped can be skipped, so a mistyped position
//! skips nothing. A skip is permanent: rebuilds and verifications skip the event as well.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::database::{Database, Row, Session};
use crate::error::{Error, Result};
use crate::event::Position;

/// Maximum length of the reason, in characters.
pub const LONGEST_REASON: usize = 500;

/// Maximum length of the operator's name, in characters.
pub const LONGEST_NAME: usize = 128;

/// A skipped event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skip {
    /// Position of the event.
    pub position: Position,
    /// Reason for the skip.
    pub reason: String,
    /// Name of the operator.
    pub skipped_by: String,
    /// When the event was skipped.
    pub skipped_at: Timestamp,
}

/// Reason why an event was not skipped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SkipError {
    /// Neither the projection nor its rebuild has stopped at this event.
    #[error("{projection} has not stopped at position {position}{}", stopped_at(*.stopped))]
    NotStoppedThere {
        /// The projection.
        projection: String,
        /// Position of the event to skip.
        position: Position,
        /// Position at which the projection or its rebuild has stopped, or `None` if neither has stopped.
        stopped: Option<Position>,
    },
    /// The reason is empty or too long.
    #[error("the reason must have 1 to {LONGEST_REASON} characters")]
    Reason,
    /// The operator's name is empty or too long.
    #[error("the operator's name must have 1 to {LONGEST_NAME} characters")]
    By,
    /// The record of the skip was deleted.
    #[error("the record of the skip was deleted")]
    Lost,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Error),
}

fn stopped_at(position: Option<Position>) -> String {
    position.map_or_else(String::new, |position| {
        format!("; it stopped at position {position}")
    })
}

/// Returns the positions of all events that a projection skips.
pub(super) async fn positions(session: &mut impl Session, projection: &str) -> Result<BTreeSet<Position>> {
    session
        .query("SELECT position FROM projection_skips WHERE projection = ?")
        .bind(projection)
        .fetch_all()
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect()
}

impl Skip {
    /// Skips the event at which the projection or its rebuild has stopped. Returns the skip as stored: if the
    /// event is already skipped, the first record is unchanged.
    ///
    /// # Errors
    ///
    /// [`SkipError`].
    pub async fn record(self, database: &Database, projection: &str) -> Result<Self, SkipError> {
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
        let stored = transaction
            .query(
                "SELECT position, reason, skipped_by, skipped_at FROM projection_skips \
                 WHERE projection = ? AND position = ?",
            )
            .bind(projection)
            .bind(position)
            .fetch_optional()
            .await?;
        let stored = stored.as_ref().map(Self::read).transpose()?;
        transaction.commit().await?;
        // The row was inserted by this statement or earlier, and skips are never deleted.
        stored.ok_or(SkipError::Lost)
    }

    /// Returns all skips of a projection, in order of position.
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
