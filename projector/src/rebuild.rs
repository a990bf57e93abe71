//! Rebuilding the read table while it is served.
//!
//! ```text
//! fill the next generation from position 1, with a checkpoint of its own   (kill: go on from the checkpoint)
//! -> switch: one transaction makes it the active one                       (kill: it was made, or it was not)
//! -> delete the generation before, in small steps                          (kill: go on)
//! ```
//!
//! # What readers see
//!
//! The switch locks the active generation in `projections`, which the projector does for every batch that it
//! writes. So the projector stands still. What it has finished beyond the new generation is written there
//! now, in the same transaction; then the new generation becomes the active one, and its checkpoint the
//! projection's. The checkpoint never goes back, so neither does the list; and a statement that reads
//! checkpoint and rows together, as a read by id does, reads both of the one generation or both of the other.
//!
//! The projector goes on from the new checkpoint: if that is where it left off, its batch is the right one
//! still; if not, the compare-and-set of its own checkpoint fails, and it reads anew.
//!
//! # Two at once
//!
//! One row of `projection_rebuilds` can be unfinished, a lease makes one process work at it, and each batch
//! moves the generation's checkpoint by compare-and-set: two that both believe in their lease never both
//! write a batch.

mod clean;
mod fill;
mod role;
mod switch;

use std::sync::Arc;
use std::time::Duration;

use eventstore::subscription::failure;
use eventstore::{Clock, EventLog, Lease, Position, Rebuild, RebuildState, lease};
use tokio_util::sync::CancellationToken;

use crate::view::ProjectionError;
pub use role::run_requested;

/// The pause after a failure that passes; it grows.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Why a rebuild does not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// An event cannot be projected.
    #[error("the event at position {position} cannot be projected: {source}")]
    Stopped {
        /// Where it is.
        position: Position,
        /// What is wrong with it.
        source: ProjectionError,
    },
    /// The row of `projections` or of the rebuild is missing.
    #[error("there is no such rebuild")]
    NoRebuild,
    /// The row that says how far the rebuild is is missing.
    #[error("the checkpoint of the rebuild is gone: cancel the rebuild and request another")]
    NoCheckpoint,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] eventstore::Error),
}

impl RebuildError {
    /// Whether it may be over when it is tried again.
    fn passes(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_connection() || error.is_contention())
    }
}

/// How a rebuild ended, as far as this process is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The new generation is served, and the one before is gone.
    Done,
    /// It was called off, and nothing is left of it.
    Cancelled,
    /// This process was told to stop. The next one goes on where it stopped.
    Stopped,
    /// Another process works at it.
    Taken,
}

/// What a rebuild has just done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The generation has all events up to this position, of so many in the log.
    Filled {
        /// The last event in the generation.
        position: Position,
        /// The last event of the log.
        head: Position,
    },
    /// The new generation is served.
    Switched {
        /// The last event in it.
        position: Position,
    },
    /// Rows of the generation that is no longer needed were deleted.
    Cleaned {
        /// How many, in all.
        rows: u64,
    },
}

/// Carries rebuilds out.
#[derive(Debug)]
pub struct Rebuilder {
    log: EventLog,
    clock: Arc<dyn Clock>,
    owner: String,
}

impl Rebuilder {
    /// `owner` names this process among all.
    #[must_use]
    pub const fn new(log: EventLog, clock: Arc<dyn Clock>, owner: String) -> Self {
        Self { log, clock, owner }
    }

    /// Works at a rebuild until it is over, or `stop`. A database that is away is waited for.
    ///
    /// # Errors
    ///
    /// [`RebuildError::Stopped`] at an event that cannot be projected; it is noted as the rebuild's failure.
    pub async fn carry_out(
        &self,
        rebuild: &Rebuild,
        stop: &CancellationToken,
        progress: impl FnMut(Step) + Send,
    ) -> Result<Outcome, RebuildError> {
        self.attempt(rebuild, stop, progress, Duration::ZERO).await
    }

    /// As [`Rebuilder::carry_out`]; a failure is noted as one that is tried again after `retry`.
    async fn attempt(
        &self,
        rebuild: &Rebuild,
        stop: &CancellationToken,
        mut progress: impl FnMut(Step) + Send,
        retry: Duration,
    ) -> Result<Outcome, RebuildError> {
        let mut lease = self.lease(rebuild);
        let mut pause = FIRST_PAUSE;
        let outcome = loop {
            match self.work(rebuild, &mut lease, stop, &mut progress).await {
                Err(error) if error.passes() && !stop.is_cancelled() => {
                    tracing::warn!(rebuild.name, %error, "a rebuild was interrupted; trying again");
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                outcome => break outcome,
            }
        };
        if let Err(error) = &outcome
            && let Err(error) = self.note(rebuild, error, retry).await
        {
            tracing::warn!(rebuild.name, %error, "a failure could not be noted");
        }
        if let Err(error) = lease.release().await {
            tracing::warn!(rebuild.name, %error, "a lease could not be released; it runs out by itself");
        }
        outcome
    }

    /// Keeps why it failed where every process sees it.
    async fn note(
        &self,
        rebuild: &Rebuild,
        error: &RebuildError,
        retry: Duration,
    ) -> Result<(), eventstore::Error> {
        let position = match error {
            RebuildError::Stopped { position, .. } => Some(*position),
            _ => None,
        };
        let (database, now) = (self.log.database(), self.clock.now());
        failure::record(
            database,
            &rebuild.name,
            position,
            &failure::without_data(error),
            now,
            retry,
            None,
        )
        .await
    }

    fn lease(&self, rebuild: &Rebuild) -> Lease {
        Lease::new(
            self.log.database().clone(),
            Arc::clone(&self.clock),
            rebuild.name.clone(),
            self.owner.clone(),
            lease::DEFAULT_DURATION,
        )
    }

    async fn work(
        &self,
        rebuild: &Rebuild,
        lease: &mut Lease,
        stop: &CancellationToken,
        progress: &mut (impl FnMut(Step) + Send),
    ) -> Result<Outcome, RebuildError> {
        loop {
            if stop.is_cancelled() {
                return Ok(Outcome::Stopped);
            }
            if !lease.hold().await? {
                return Ok(Outcome::Taken);
            }
            let now = self.now(rebuild).await?;
            match now.state {
                RebuildState::Done => return Ok(Outcome::Done),
                RebuildState::Cancelled => return Ok(Outcome::Cancelled),
                RebuildState::Filling => {
                    if self.fill(&now, lease, stop, progress).await? == Filled::ToTheEnd {
                        self.switch(&now, progress).await?;
                    }
                }
                RebuildState::Cleaning | RebuildState::Cancelling => {
                    self.clean(&now, lease, stop, progress).await?;
                }
            }
        }
    }

    /// The rebuild as the database has it now.
    async fn now(&self, rebuild: &Rebuild) -> Result<Rebuild, RebuildError> {
        let database = self.log.database();
        Rebuild::of(
            database,
            &rebuild.projection,
            rebuild.generation,
            self.clock.now(),
        )
        .await?
        .ok_or(RebuildError::NoRebuild)
    }
}

/// How far filling came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    /// To what was the end of the log.
    ToTheEnd,
    /// Not so far: it was told to stop, called off, or taken over.
    Interrupted,
}
