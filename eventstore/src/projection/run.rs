//! Running a projection: filling its first generation, following the log, and rebuilds that other processes
//! have requested, for example over HTTP.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::generation::{self, ActiveGeneration, UNFILLED};
use super::rebuilder::{FIRST_PAUSE, LONGEST_PAUSE, Outcome, RebuildError, Rebuilder, Step};
use super::{Projection, ProjectionError, Rebuild, RebuildState, Runner, fold, lock_active_generation};
use crate::clock::Clock;
use crate::database::Transaction;
use crate::event::RecordedEvent;
use crate::log::EventLog;
use crate::signal::Signal;
use crate::subscription::{Handler, Subscription, failure};

/// What a process needs to run projections.
#[derive(Debug, Clone)]
pub struct RunContext {
    /// The event log; its database also holds the tables of the projections.
    pub log: EventLog,
    /// Signal that wakes the projections.
    pub signal: Signal,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Name that identifies this process among all processes.
    pub owner: String,
    /// Interval between reads of the log when no signal arrives, and between checks for requested rebuilds.
    pub poll: Duration,
    /// Stops the projections.
    pub stop: CancellationToken,
}

impl RunContext {
    /// Waits for `time`, or until the projections are stopped.
    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }
}

/// Runs a projection until it is stopped. If several processes run the same projection, only one process does
/// the work, and the other processes are on standby.
pub(super) async fn run<P: Projection>(context: RunContext) {
    tokio::join!(follow::<P>(&context), rebuild_on_request::<P>(&context));
}

/// Follows the log, once the first generation is filled.
async fn follow<P: Projection>(context: &RunContext) {
    loop {
        match active_generation::<P>(context).await {
            Ok(UNFILLED) => {}
            Ok(_) => break,
            Err(error) => {
                tracing::warn!(projection = P::NAME, %error, "a projection could not be read; retrying");
            }
        }
        context.pause(context.poll).await;
        if context.stop.is_cancelled() {
            return;
        }
    }
    let subscription = Subscription::new(
        P::NAME,
        &context.owner,
        context.log.clone(),
        &context.signal,
        Arc::clone(&context.clock),
        Follower::<P>::default(),
    );
    subscription
        .with_poll(context.poll)
        .with_gather(P::GATHER)
        .run(context.stop.clone())
        .await;
}

/// Returns the active generation. Creates the projection if it does not exist.
async fn active_generation<P: Projection>(context: &RunContext) -> crate::Result<i64> {
    let database = context.log.database();
    let read = async || ActiveGeneration::of(&mut database.reader().await?, P::NAME).await;
    if let Some(active) = read().await? {
        return Ok(active.named);
    }
    generation::create(database, P::NAME).await?;
    Ok(read().await?.map_or(UNFILLED, |active| active.named))
}

/// Keeps the active generation of a projection up to date.
#[derive(Debug)]
pub struct Follower<P>(PhantomData<fn() -> P>);

impl<P> Default for Follower<P> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<P: Projection> Handler for Follower<P> {
    type Error = ProjectionError;

    fn is_of_events(error: &ProjectionError) -> bool {
        error.is_of_events()
    }

    async fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[RecordedEvent],
    ) -> Result<(), ProjectionError> {
        let projection = P::NAME;
        let generation = lock_active_generation(transaction, projection)
            .await?
            .ok_or(ProjectionError::NoGeneration { projection })?;
        fold::apply::<P>(transaction, generation, events).await
    }
}

/// Fills the first generation if necessary, and runs requested rebuilds.
async fn rebuild_on_request<P: Projection>(context: &RunContext) {
    let rebuilder = Rebuilder::<P>::new(
        context.log.clone(),
        Arc::clone(&context.clock),
        context.owner.clone(),
    );
    let mut pause = FIRST_PAUSE;
    while !context.stop.is_cancelled() {
        let wait = match turn(&rebuilder, context, pause).await {
            Ok(()) => {
                pause = FIRST_PAUSE;
                context.poll
            }
            Err(error) => {
                let wait = pause;
                pause = (pause * 2).min(LONGEST_PAUSE);
                tracing::warn!(
                    projection = P::NAME,
                    rebuild.retry_ms = wait.as_millis(),
                    error = failure::without_data(&error),
                    "a rebuild failed; retrying"
                );
                wait
            }
        };
        context.pause(wait).await;
    }
}

async fn turn<P: Projection>(
    rebuilder: &Rebuilder<P>,
    context: &RunContext,
    retry: Duration,
) -> Result<(), RebuildError> {
    let (database, now) = (context.log.database(), context.clock.now());
    let found = match Rebuild::unfinished(database, P::NAME, now).await? {
        None if active_generation::<P>(context).await? == UNFILLED => {
            Rebuild::request(database, P::NAME, Runner::Projector, &context.owner, now).await?;
            Rebuild::unfinished(database, P::NAME, now).await?
        }
        found => found,
    };
    let Some(rebuild) = found.filter(|rebuild| {
        // If a command started the rebuild, only commands continue it. Any process may clean up a cancelled
        // rebuild.
        rebuild.runner == Runner::Projector || rebuild.state == RebuildState::Cancelling
    }) else {
        return Ok(());
    };
    let mut progress = |step| {
        if let Step::Switched { position } = step {
            tracing::info!(rebuild.name, %position, "a new generation is active");
        }
    };
    let outcome = rebuilder
        .attempt(&rebuild, &context.stop, &mut progress, retry)
        .await?;
    if matches!(outcome, Outcome::Done | Outcome::Cancelled) {
        tracing::info!(rebuild.name, ?outcome, "a rebuild has ended");
    }
    Ok(())
}
