//! Activation of a new generation.

use super::{Projection, ProjectionError, Rebuild, RebuildError, Rebuilder, Step};
use crate::checkpoint;
use crate::clock::Timestamp;
use crate::database::{Session, Transaction};
use crate::event::Position;
use crate::projection::{fold, lock_active_generation};

/// Maximum number of events that the switch applies while the projector is blocked.
const LAST_EVENTS: u64 = 500;

impl<P: Projection> Rebuilder<P> {
    /// Activates the rebuilt generation if it is at most [`LAST_EVENTS`] events behind the active generation
    /// and the rebuild is not cancelled. Otherwise changes nothing.
    pub(super) async fn switch(
        &self,
        rebuild: &Rebuild,
        progress: &mut (dyn FnMut(Step) + Send),
    ) -> Result<(), RebuildError> {
        let database = self.log.database();
        checkpoint::load_or_create(database, P::NAME).await?;
        let mut transaction = database.begin().await?;
        // The projector is blocked from here on.
        let active = lock_active_generation(&mut transaction, P::NAME)
            .await?
            .ok_or(RebuildError::NoRebuild)?;
        let filled = load(&mut transaction, &rebuild.name).await?;
        let head = self.log.head().await?.position;
        checkpoint::check(&rebuild.name, filled, head)?;
        let served = load(&mut transaction, P::NAME).await?;
        // If the projection's checkpoint is invalid, no more events are applied. The rebuild's checkpoint
        // replaces the invalid checkpoint.
        let served = checkpoint::check(P::NAME, served, head).map_or(filled, |()| served);
        let missing = served.since(filled);
        if missing > LAST_EVENTS {
            return Ok(transaction.rollback().await?);
        }
        if missing > 0 {
            let events = self
                .log
                .feed(filled, u32::try_from(missing).unwrap_or(u32::MAX))
                .await?;
            match fold::apply::<P>(&mut transaction, rebuild.generation, &events).await {
                Ok(()) => {}
                Err(ProjectionError::Store(error)) => return Err(error.into()),
                // The filling step finds the faulty event and records it.
                Err(_) => return Ok(transaction.rollback().await?),
            }
        }
        let position = served.max(filled);
        if activate(&mut transaction, rebuild, active).await?
            && checkpoints(&mut transaction, rebuild, filled, position, self.clock.now()).await?
        {
            transaction.commit().await?;
            progress(Step::Switched { position });
        } else {
            transaction.rollback().await?;
        }
        Ok(())
    }
}

/// Reads a checkpoint, and locks it until the transaction ends.
async fn load(transaction: &mut Transaction<'_>, name: &str) -> Result<Position, RebuildError> {
    let sql = format!(
        "SELECT position FROM checkpoints WHERE name = ?{}",
        transaction.dialect().for_update()
    );
    let row = transaction.query(&sql).bind(name).fetch_optional().await?;
    Ok(row.ok_or(RebuildError::NoRebuild)?.get(0)?)
}

/// Makes the new generation active instead of `active`. Returns `false` if the rebuild was cancelled in the
/// meantime.
async fn activate(
    transaction: &mut Transaction<'_>,
    rebuild: &Rebuild,
    active: i64,
) -> Result<bool, crate::Error> {
    let served = transaction
        .query("UPDATE projections SET active_generation = ? WHERE name = ? AND active_generation = ?")
        .bind(rebuild.generation)
        .bind(rebuild.projection.as_str())
        .bind(active)
        .execute()
        .await?;
    let marked = transaction
        .query(
            "UPDATE projection_rebuilds SET state = 'cleaning', replaced = ? \
             WHERE projection = ? AND generation = ? AND state = 'filling'",
        )
        .bind(active)
        .bind(rebuild.projection.as_str())
        .bind(rebuild.generation)
        .execute()
        .await?;
    Ok(served == 1 && marked == 1)
}

/// Sets the projection's checkpoint to `position`, and deletes the generation's checkpoint. Returns `false`
/// if the generation's checkpoint is no longer at `filled`.
async fn checkpoints(
    transaction: &mut Transaction<'_>,
    rebuild: &Rebuild,
    filled: Position,
    position: Position,
    now: Timestamp,
) -> Result<bool, crate::Error> {
    transaction
        .query("UPDATE checkpoints SET position = ?, updated_at = ? WHERE name = ?")
        .bind(position)
        .bind(now)
        .bind(rebuild.projection.as_str())
        .execute()
        .await?;
    let ended = transaction
        .query("DELETE FROM checkpoints WHERE name = ? AND position = ?")
        .bind(rebuild.name.as_str())
        .bind(filled)
        .execute()
        .await?;
    Ok(ended == 1)
}
