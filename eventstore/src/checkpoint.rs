//! Checkpoints: how far a named reader of the feed is.
//!
//! A checkpoint moves in the transaction of what was written for the events that it passes, and only from
//! where it was read. So two that read under one name never both write for an event, whatever either of them
//! believes.

use crate::clock::Timestamp;
use crate::database::{Database, Session, Transaction};
use crate::error::{Error, Result};
use crate::event::Position;

/// Where the checkpoint of that name is; one that is not there yet is made, at the beginning.
///
/// # Errors
///
/// [`Error::Database`].
pub async fn load_or_create(database: &Database, name: &str) -> Result<Position> {
    let mut connection = database.writer().await?;
    let sql = format!(
        "{} INTO checkpoints (name, position, updated_at) VALUES (?, 0, 0)",
        database.dialect().insert_ignore()
    );
    connection.query(&sql).bind(name).execute().await?;
    let found = load(&mut connection, name).await?;
    Ok(found.unwrap_or(Position::BEGINNING))
}

/// Where the checkpoint of that name is; nothing if there is none.
///
/// # Errors
///
/// [`Error::Database`].
pub async fn load(session: &mut impl Session, name: &str) -> Result<Option<Position>> {
    let row = session
        .query("SELECT position FROM checkpoints WHERE name = ?")
        .bind(name)
        .fetch_optional()
        .await?;
    row.map(|row| row.get(0)).transpose()
}

/// Whether a checkpoint can be true: it is not before the beginning of the log, nor beyond its end. One that
/// is elsewhere was altered, and nothing counts as finished.
///
/// # Errors
///
/// [`Error::BadCheckpoint`].
pub fn check(name: &str, position: Position, head: Position) -> Result<()> {
    if (Position::BEGINNING..=head).contains(&position) {
        return Ok(());
    }
    Err(Error::BadCheckpoint {
        name: name.to_owned(),
        position,
        head,
    })
}

/// Moves a checkpoint, if it still is where it was read.
///
/// # Errors
///
/// [`Error::Superseded`] if it is elsewhere or gone; [`Error::Database`].
pub async fn advance(
    transaction: &mut Transaction<'_>,
    name: &str,
    from: Position,
    to: Position,
    now: Timestamp,
) -> Result<()> {
    let moved = transaction
        .query("UPDATE checkpoints SET position = ?, updated_at = ? WHERE name = ? AND position = ?")
        .bind(to)
        .bind(now)
        .bind(name)
        .bind(from)
        .execute()
        .await?;
    if moved == 1 {
        Ok(())
    } else {
        Err(Error::Superseded {
            name: name.to_owned(),
        })
    }
}
