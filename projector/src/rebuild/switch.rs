//! Making a generation the active one.

use eventstore::rebuild::lock_active_generation;
use eventstore::{Position, Rebuild, Session, Transaction, checkpoint};

use super::{RebuildError, Rebuilder, Step};
use crate::view::ProjectionError;
use crate::{PATIENT_VIEW, rows};

/// The most events that are caught up with while the projector stands still.
const LAST_EVENTS: u64 = 500;

impl Rebuilder {
    /// Makes the generation the active one, if it is near enough to what is served and the rebuild was not
    /// called off.
    pub(super) async fn switch(
        &self,
        rebuild: &Rebuild,
        progress: &mut (impl FnMut(Step) + Send),
    ) -> Result<(), RebuildError> {
        let database = self.log.database();
        checkpoint::load_or_create(database, PATIENT_VIEW).await?;
        let mut transaction = database.begin().await?;
        // From here on the projector stands still.
        let active = lock_active_generation(&mut transaction, PATIENT_VIEW)
            .await?
            .ok_or(RebuildError::NoRebuild)?;
        let filled = load(&mut transaction, &rebuild.name).await?;
        let head = self.log.head().await?.position;
        checkpoint::check(&rebuild.name, filled, head)?;
        let served = load(&mut transaction, PATIENT_VIEW).await?;
        // A checkpoint that cannot be true is not to be reached: the rebuild puts its own in the place.
        let served = checkpoint::check(PATIENT_VIEW, served, head).map_or(filled, |()| served);
        let missing = served.since(filled);
        if missing > LAST_EVENTS {
            return Ok(transaction.rollback().await?);
        }
        if missing > 0 {
            let events = self
                .log
                .feed(filled, u32::try_from(missing).unwrap_or(u32::MAX))
                .await?;
            match rows::write(&mut transaction, rebuild.generation, &events).await {
                Ok(()) => {}
                Err(ProjectionError::Store(error)) => return Err(error.into()),
                // Filling says which event it is, and notes it.
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

/// Where a checkpoint is; it stays there until the transaction ends.
async fn load(transaction: &mut Transaction<'_>, name: &str) -> Result<Position, RebuildError> {
    let sql = format!(
        "SELECT position FROM checkpoints WHERE name = ?{}",
        transaction.dialect().for_update()
    );
    let row = transaction.query(&sql).bind(name).fetch_optional().await?;
    Ok(row.ok_or(RebuildError::NoRebuild)?.get(0)?)
}

/// Serves the new generation in the place of `active`; not if the rebuild has been called off meanwhile.
async fn activate(
    transaction: &mut Transaction<'_>,
    rebuild: &Rebuild,
    active: i64,
) -> Result<bool, eventstore::Error> {
    let served = transaction
        .query("UPDATE projections SET active_generation = ? WHERE name = ? AND active_generation = ?")
        .bind(rebuild.generation)
        .bind(PATIENT_VIEW)
        .bind(active)
        .execute()
        .await?;
    let marked = transaction
        .query(
            "UPDATE projection_rebuilds SET state = 'cleaning', replaced = ? \
             WHERE projection = ? AND generation = ? AND state = 'filling'",
        )
        .bind(active)
        .bind(PATIENT_VIEW)
        .bind(rebuild.generation)
        .execute()
        .await?;
    Ok(served == 1 && marked == 1)
}

/// Makes `position` the projection's checkpoint, and ends the generation's own, if it still is at `filled`.
async fn checkpoints(
    transaction: &mut Transaction<'_>,
    rebuild: &Rebuild,
    filled: Position,
    position: Position,
    now: eventstore::Timestamp,
) -> Result<bool, eventstore::Error> {
    transaction
        .query("UPDATE checkpoints SET position = ?, updated_at = ? WHERE name = ?")
        .bind(position)
        .bind(now)
        .bind(PATIENT_VIEW)
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
