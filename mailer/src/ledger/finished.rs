//! Counts of finished deliveries, shared by frequent readers.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{Clock, Result};
use tokio::sync::Mutex;

use super::inspect::Ledger;
use super::records::DeliveryState;

/// Number of sent, dead and cancelled deliveries.
pub type FinishedDeliveries = [(DeliveryState, u64); 3];

/// Time between two counts, in durations of a count: counting takes at most 2 % of the time, unless a count
/// takes longer than 1.2 s.
const PAUSE: u32 = 49;
/// Maximum time between two counts.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The last counts of finished deliveries. A count reads every row of the ledger, so the last counts are
/// returned until the pause after them has passed. Counts of a small ledger are nearly current, and counts of
/// a large ledger are about a minute old at most. Cheap to clone; the clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct FinishedCounts(Arc<Mutex<Option<LastCount>>>);

#[derive(Debug)]
struct LastCount {
    counts: FinishedDeliveries,
    /// Monotonic time from which on the deliveries are counted again.
    next: Duration,
}

impl FinishedCounts {
    /// Returns the last counts, or counts again. Concurrent callers wait for the same count.
    ///
    /// # Errors
    ///
    /// [`eventstore::Error::Database`], [`eventstore::Error::Timeout`].
    pub async fn get(&self, ledger: &Ledger, clock: &dyn Clock) -> Result<FinishedDeliveries> {
        let mut last = self.0.lock().await;
        let began = clock.monotonic();
        if let Some(last) = last.as_ref().filter(|last| began < last.next) {
            return Ok(last.counts);
        }
        let counted = ledger.finished().await;
        let ended = clock.monotonic();
        let pause = ended.saturating_sub(began).saturating_mul(PAUSE);
        let next = ended.saturating_add(pause.min(LONGEST_PAUSE));
        match counted {
            Ok(counts) => *last = Some(LastCount { counts, next }),
            Err(_) => {
                if let Some(last) = last.as_mut() {
                    last.next = next;
                }
            }
        }
        counted
    }

    /// Forgets the counts, because the caller has changed the states of finished deliveries.
    pub async fn forget(&self) {
        *self.0.lock().await = None;
    }
}
