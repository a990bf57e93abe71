//! The current time of the worker.

use std::time::Duration;

use eventstore::{Clock, Timestamp};

/// The current time from two clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Wall-clock time, for the times in the ledger.
    pub(super) wall: Timestamp,
    /// Monotonic time, for pauses: setting the wall clock must not lengthen them.
    pub(super) monotonic: Duration,
}

impl Now {
    pub(super) fn of(clock: &dyn Clock) -> Self {
        Self {
            wall: clock.now(),
            monotonic: clock.monotonic(),
        }
    }
}
