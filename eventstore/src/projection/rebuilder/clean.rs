//! Deletion of an obsolete generation.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Projection, Rebuild, RebuildError, RebuildState, Rebuilder, Step};
use crate::database::Session;
use crate::lease::Lease;

/// Approximate number of rows deleted in one transaction.
const ROWS: u32 = 1000;
/// Minimum pause between two deletions. Deletions are not urgent.
const PAUSE: Duration = Duration::from_millis(2);

impl<P: Projection> Rebuilder<P> {
    /// Deletes the obsolete generation in small steps, and marks the rebuild as finished.
    pub(super) async fn clean(
        &self,
        rebuild: &Rebuild,
        lease: &mut Lease,
        stop: &CancellationToken,
        progress: &mut (dyn FnMut(Step) + Send),
    ) -> Result<(), RebuildError> {
        let (left_over, over) = match rebuild.state {
            RebuildState::Cleaning => (
                rebuild.replaced.ok_or(RebuildError::NoRebuild)?,
                RebuildState::Done,
            ),
            _ => (rebuild.generation, RebuildState::Cancelled),
        };
        if over == RebuildState::Cancelled {
            // A process that is still filling the generation finds the checkpoint missing, and stops writing.
            self.delete_checkpoint(rebuild).await?;
        }
        let mut rows = 0;
        loop {
            if stop.is_cancelled() || !lease.hold().await? {
                return Ok(());
            }
            let began = Instant::now();
            let mut connection = self.log.database().writer().await?;
            let deleted = P::delete_some(&mut connection, left_over, ROWS).await?;
            drop(connection);
            if deleted == 0 {
                break;
            }
            rows += deleted;
            progress(Step::Cleaned { rows });
            tokio::time::sleep(began.elapsed().max(PAUSE)).await;
        }
        self.close(rebuild, over).await?;
        Ok(())
    }

    async fn delete_checkpoint(&self, rebuild: &Rebuild) -> Result<(), crate::Error> {
        let mut connection = self.log.database().writer().await?;
        connection
            .query("DELETE FROM checkpoints WHERE name = ?")
            .bind(rebuild.name.as_str())
            .execute()
            .await?;
        Ok(())
    }

    async fn close(&self, rebuild: &Rebuild, over: RebuildState) -> Result<(), crate::Error> {
        let mut transaction = self.log.database().begin().await?;
        transaction
            .query("DELETE FROM subscription_failures WHERE name = ?")
            .bind(rebuild.name.as_str())
            .execute()
            .await?;
        transaction
            .query(
                "UPDATE projection_rebuilds SET state = ?, unfinished = NULL, finished_at = ? \
                 WHERE projection = ? AND generation = ? AND unfinished = 1",
            )
            .bind(over.name())
            .bind(self.clock.now())
            .bind(rebuild.projection.as_str())
            .bind(rebuild.generation)
            .execute()
            .await?;
        transaction.commit().await
    }
}
