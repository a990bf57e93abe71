//! Projections in a list, whatever their rows are.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::run::{self, RunContext};
use super::verify::{self, Verification};
use super::{Outcome, Projection, ProjectionError, Rebuild, RebuildError, Rebuilder, Step};
use crate::clock::Clock;
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

    fn verify<'a>(
        &self,
        log: &'a EventLog,
        progress: &'a mut (dyn FnMut(u64) + Send),
    ) -> BoxFuture<'a, Result<Verification, ProjectionError>> {
        verify::verify::<P>(log, progress).boxed()
    }
}

/// Returns the projection with this name, if the list contains it.
#[must_use]
pub fn find(all: &[&'static dyn Registered], name: &str) -> Option<&'static dyn Registered> {
    all.iter().find(|projection| projection.name() == name).copied()
}
