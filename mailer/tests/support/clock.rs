//! The clock of a worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eventstore::{Clock, ManualClock, Timestamp};

use super::PATIENCE;

/// A clock that counts its calls. A worker reads the clock once at the start of each transaction on the
/// ledger. An attempt reads it once before it sends and once when it ends.
#[derive(Debug)]
pub struct WatchedClock {
    clock: Arc<ManualClock>,
    asked: AtomicU64,
}

impl WatchedClock {
    pub fn new(clock: Arc<ManualClock>) -> Self {
        Self {
            clock,
            asked: AtomicU64::new(0),
        }
    }

    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits until the clock has been read `times` times in total.
    pub async fn until_asked(&self, times: u64) {
        let what = format!("the clock has been asked {times} times");
        testkit::wait_until(PATIENCE, &what, async || self.asked() >= times).await;
    }
}

impl Clock for WatchedClock {
    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        self.asked.fetch_add(1, Ordering::SeqCst);
        now
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}
