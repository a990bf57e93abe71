//! A common interface to the projections in a list, independent of the type of their rows.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::run::{self, RunContext};
use super::verify::{self, Verification};
use super::{Outcome, Projection, ProjectionError, Rebuild, RebuildError, Rebuilder, Step};
use crate::clock::Clock;
use crate::database::{Database, Session};
use crate::event::Position;
use crate::log::EventLog;

/// A projection in a program's list of projections. Every [`Projection`] implements this trait.
pub trait Registered: Send + Sync {
    /// Name of the projection.
    fn name(&self) -> &'static str;

    /// Runs the projection until it is stopped: fills its first generation if necessary, follows the log, and
    /// runs the rebuilds that other processes request.
    fn run(&self, context: RunContext) -> BoxFuture<'static, ()>;

    /// Runs a rebuild until it is finished or `stop` is cancelled, see [`Rebuilder::carry_out`]. `owner`
    /// identifies this process among all processes.
    fn rebuild<'a>(
        &self,
        log: EventLog,
        clock: Arc<dyn Clock>,
        owner: String,
        rebuild: &'a Rebuild,
        stop: &'a CancellationToken,
        progress: &'a mut (dyn FnMut(Step) + Send),
    ) -> BoxFuture<'a, Result<Outcome, RebuildError>>;

    /// Whether the projection has no data of an aggregate whose last event is at `position`: the projection
    /// has processed that event, no rebuild can add rows of the aggregate, and no generation has rows of it.
    fn is_rid_of<'a>(
        &self,
        database: &'a Database,
        aggregate_id: &'a str,
        position: Position,
    ) -> BoxFuture<'a, crate::Result<bool>>;

    /// Compares the active generation with a replay of the log. Calls `progress` with the number of
    /// aggregates compared so far.
    fn verify<'a>(
        &self,
        log: &'a EventLog,
        progress: &'a mut (dyn FnMut(u64) + Send),
    ) -> BoxFuture<'a, Result<Verification, ProjectionError>>;
}

impl<P: Projection> Registered for P {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn run(&self, context: RunContext) -> BoxFuture<'static, ()> {
        run::run::<P>(context).boxed()
    }

    fn rebuild<'a>(
        &self,
        log: EventLog,
        clock: Arc<dyn Clock>,
        owner: String,
        rebuild: &'a Rebuild,
        stop: &'a CancellationToken,
        progress: &'a mut (dyn FnMut(Step) + Send),
    ) -> BoxFuture<'a, Result<Outcome, RebuildError>> {
        let rebuilder = Rebuilder::<P>::new(log, clock, owner);
        async move { rebuilder.carry_out(rebuild, stop, progress).await }.boxed()
    }

    fn is_rid_of<'a>(
        &self,
        database: &'a Database,
        aggregate_id: &'a str,
        position: Position,
    ) -> BoxFuture<'a, crate::Result<bool>> {
        is_rid_of::<P>(database, aggregate_id, position).boxed()
    }

    fn verify<'a>(
        &self,
        log: &'a EventLog,
        progress: &'a mut (dyn FnMut(u64) + Send),
    ) -> BoxFuture<'a, Result<Verification, ProjectionError>> {
        verify::verify::<P>(log, progress).boxed()
    }
}

async fn is_rid_of<P: Projection>(
    database: &Database,
    aggregate_id: &str,
    position: Position,
) -> crate::Result<bool> {
    let mut reader = database.reader().await?;
    let row = reader
        .query(
            "SELECT p.active_generation, COALESCE(c.position, 0), \
             (SELECT COUNT(*) FROM projection_rebuilds r WHERE r.projection = p.name AND r.unfinished = 1) \
             FROM projections p LEFT JOIN checkpoints c ON c.name = p.name WHERE p.name = ?",
        )
        .bind(P::NAME)
        .fetch_optional()
        .await?;
    let Some(row) = row else { return Ok(false) };
    let (generation, checkpoint, rebuilds): (i64, Position, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    // Without an unfinished rebuild, only the active generation has rows.
    let is_past = checkpoint >= position && rebuilds == 0;
    Ok(is_past && !P::has_rows(&mut reader, generation, aggregate_id).await?)
}

/// Returns the projection with this name, if the list contains it.
#[must_use]
pub fn find(all: &[&'static dyn Registered], name: &str) -> Option<&'static dyn Registered> {
    all.iter().find(|projection| projection.name() == name).copied()
}
