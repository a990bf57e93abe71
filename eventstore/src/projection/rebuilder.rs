//! Rebuilding the read table while it serves queries.
//!
//! ```text
//! fill the next generation from position 1, with its own checkpoint   (crash: resume at the checkpoint)
//! -> switch: one transaction makes it the active generation           (crash: either done or not done)
//! -> delete the previous generation in small steps                    (crash: resume)
//! ```
//!
//! # What readers see
//!
//! The switch locks the active generation in `projections`. The projector takes the same lock for every
//! batch, so it is blocked during the switch. In one transaction, the switch first applies to the new
//! generation the events that the projector has processed but the new generation does not contain yet. It
//! then activates the new generation, and sets the projection's checkpoint to the new generation's position.
//! A valid checkpoint never goes back, so a list never shows an earlier state than before. A checkpoint
//! outside the log is invalid, and the new generation's checkpoint replaces it. A statement that reads both
//! the checkpoint and rows, such as a read by id, reads both from the same generation.
//!
//! The projector continues from the new checkpoint. If the new checkpoint equals the position that the
//! projector had reached, its current batch is still valid. Otherwise, the projector's compare-and-set fails,
//! and the projector reads the checkpoint again.
//!
//! # Concurrent rebuilds
//!
//! At most one row of `projection_rebuilds` per projection is unfinished, and a lease assigns that rebuild to
//! one process. Each batch moves the generation's checkpoint by compare-and-set. Two processes that both
//! believe that they hold the lease therefore never both commit the same batch.

mod clean;
mod fill;
mod switch;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Projection, ProjectionError, Rebuild, RebuildState};
use crate::clock::Clock;
use crate::event::Position;
use crate::lease::{self, Lease};
use crate::log::EventLog;
use crate::subscription::failure;

/// First pause after a temporary failure. Later pauses are longer.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Maximum pause between two attempts.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Reason why a rebuild has stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// An event cannot be projected.
    #[error("the event at position {position} cannot be projected: {source}")]
    Stopped {
        /// Position of the event.
        position: Position,
        /// Reason why the event cannot be projected.
        source: ProjectionError,
    },
    /// The row of the projection or of the rebuild is missing.
    #[error("the rebuild does not exist")]
    NoRebuild,
    /// The checkpoint of the rebuild is missing.
    #[error("the checkpoint of the rebuild is missing: cancel the rebuild and request another")]
    NoCheckpoint,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] crate::Error),
}

impl RebuildError {
    /// Whether a retry may succeed.
    fn passes(&self) -> bool {
        matches!(self, Self::Store(error) if error.passes())
    }
}

/// How work on a rebuild ended in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The new generation is active, and the previous generation is deleted.
    Done,
    /// The rebuild was cancelled, and its rows are deleted.
    Cancelled,
    /// This process was asked to stop. The next process resumes the rebuild.
    Stopped,
    /// Another process is running the rebuild.
    Taken,
}

/// Progress of a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The new generation contains all events up to this position.
    Filled {
        /// Position of the last event in the generation.
        position: Position,
        /// Position of the last event of the log.
        head: Position,
    },
    /// The new generation was made active.
    Switched {
        /// Position of the last event in the generation.
        position: Position,
    },
    /// Rows of the obsolete generation were deleted.
    Cleaned {
        /// Number of rows deleted so far.
        rows: u64,
    },
}

/// Runs rebuilds of a projection.
pub struct Rebuilder<P> {
    log: EventLog,
    clock: Arc<dyn Clock>,
    owner: String,
    projection: PhantomData<fn() -> P>,
}

impl<P: Projection> Rebuilder<P> {
    /// Creates a rebuilder. `owner` identifies this process among all processes.
    #[must_use]
    pub const fn new(log: EventLog, clock: Arc<dyn Clock>, owner: String) -> Self {
        Self {
            log,
            clock,
            owner,
            projection: PhantomData,
        }
    }

    /// Runs a rebuild until it is finished or `stop` is cancelled. If the database is unavailable, waits and
    /// retries.
    ///
    /// # Errors
    ///
    /// [`RebuildError::Stopped`] if an event cannot be projected; other [`RebuildError`]s if a retry cannot
    /// succeed, or if `stop` is cancelled while the database is unavailable. The error is also recorded as
    /// the rebuild's failure.
    pub async fn carry_out(
        &self,
        rebuild: &Rebuild,
        stop: &CancellationToken,
        progress: &mut (dyn FnMut(Step) + Send),
    ) -> Result<Outcome, RebuildError> {
        self.attempt(rebuild, stop, progress, Duration::ZERO).await
    }

    /// Like [`Rebuilder::carry_out`], but records that a failure is retried after `retry`.
    pub(super) async fn attempt(
        &self,
        rebuild: &Rebuild,
        stop: &CancellationToken,
        progress: &mut (dyn FnMut(Step) + Send),
        retry: Duration,
    ) -> Result<Outcome, RebuildError> {
        let mut lease = self.lease(rebuild);
        let mut pause = FIRST_PAUSE;
        let outcome = loop {
            match self.work(rebuild, &mut lease, stop, progress).await {
                Err(error) if error.passes() && !stop.is_cancelled() => {
                    tracing::warn!(rebuild.name, %error, "a rebuild was interrupted; retrying");
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
            tracing::warn!(rebuild.name, %error, "could not record a failure");
        }
        if let Err(error) = lease.release().await {
            tracing::warn!(rebuild.name, %error, "could not release a lease; it will expire");
        }
        outcome
    }

    /// Records a failure where every process can read it.
    async fn note(
        &self,
        rebuild: &Rebuild,
        error: &RebuildError,
        retry: Duration,
    ) -> Result<(), crate::Error> {
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
        progress: &mut (dyn FnMut(Step) + Send),
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

    /// Reads the current state of the rebuild from the database.
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

/// How filling ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    /// The end of the log was reached.
    ToTheEnd,
    /// Filling stopped before the end, because this process was asked to stop, the rebuild was cancelled, or
    /// another process took over.
    Interrupted,
}
