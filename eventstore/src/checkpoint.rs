//! Checkpoints: the positions that named readers of the feed have reached.
//!
//! A checkpoint advances in the same transaction as the rows written for its events, and only from the
//! position at which it was read. Two readers with the same name therefore never both commit the same event,
//! even if both believe that they hold the lease.
//!
//! A name with an `@` is not the name of a subscription, so the status of subscriptions omits it.

use crate::clock::Timestamp;
use crate::database::{Database, Session, Transaction};
use crate::error::{Error, Result};
use crate::event::Position;

/// Returns the position of a checkpoint. Creates the checkpoint at the beginning of the log if it does not
/// exist.
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

/// Returns the position of a checkpoint, or `None` if it does not exist.
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

/// Checks that a checkpoint is neither before the beginning of the log nor beyond its end. A checkpoint
/// outside that range was altered. In that case, no event counts as processed.
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

/// Advances a checkpoint if it is still at `from`.
///
/// # Errors
///
/// [`Error::Superseded`] if the checkpoint was moved or deleted; [`Error::Database`].
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
