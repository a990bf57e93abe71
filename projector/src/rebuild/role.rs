//! Rebuilds that the projector role runs. Other processes request them, for example over HTTP.

use std::sync::Arc;
use std::time::Duration;

use eventstore::subscription::failure;
use eventstore::{Clock, EventLog, Rebuild, RebuildState, Runner};
use tokio_util::sync::CancellationToken;

use super::{FIRST_PAUSE, LONGEST_PAUSE, Outcome, RebuildError, Rebuilder, Step};
use crate::PATIENT_VIEW;

/// Runs requested rebuilds until `stop` is cancelled, and checks for new requests at the interval `poll`. If
/// several processes run this function, only one process does the work, and the other processes are on
/// standby.
pub async fn run_requested(
    log: EventLog,
    clock: Arc<dyn Clock>,
    owner: String,
    poll: Duration,
    stop: CancellationToken,
) {
    let rebuilder = Rebuilder::new(log, clock, owner);
    let mut pause = FIRST_PAUSE;
    while !stop.is_cancelled() {
        let wait = match rebuilder.turn(&stop, pause).await {
            Ok(()) => {
                pause = FIRST_PAUSE;
                poll
            }
            Err(error) => {
                let wait = pause;
                pause = (pause * 2).min(LONGEST_PAUSE);
                tracing::warn!(
                    rebuild.retry_ms = wait.as_millis(),
                    error = failure::without_data(&error),
                    "a rebuild failed; retrying"
                );
                wait
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

impl Rebuilder {
    async fn turn(&self, stop: &CancellationToken, retry: Duration) -> Result<(), RebuildError> {
        let found = Rebuild::unfinished(self.log.database(), PATIENT_VIEW, self.clock.now()).await?;
        let Some(rebuild) = found.filter(|rebuild| {
            // If a command started a rebuild, only a command continues it. Any process may clean up a
            // cancelled rebuild.
            rebuild.runner == Runner::Projector || rebuild.state == RebuildState::Cancelling
        }) else {
            return Ok(());
        };
        let progress = |step| {
            if let Step::Switched { position } = step {
                tracing::info!(rebuild.name, %position, "a new generation is active");
            }
        };
        let outcome = self.attempt(&rebuild, stop, progress, retry).await?;
        if matches!(outcome, Outcome::Done | Outcome::Cancelled) {
            tracing::info!(rebuild.name, ?outcome, "a rebuild has ended");
        }
        Ok(())
    }
}
