//! Options of a worker, and the times that they determine.

use std::time::Duration;

use super::limits::Rate;
use crate::transport::Timeouts;

/// Timeout for a database transaction. An abandoned transaction closes its connection, which the pool then
/// replaces.
pub(super) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum time between taking a lease and beginning the attempt. The same time is left on the lease after
/// the attempt, to record the outcome and to allow for clock differences between machines.
pub(super) const GRACE: Duration = TRANSACTION_TIMEOUT;
/// Maximum time that an attempt may take before its message without a renewal of its lease.
const MAX_TIME_BEFORE_MESSAGE: Duration = Duration::from_secs(20);

/// Options of a [`Worker`](super::Worker).
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Maximum number of emails being sent at the same time, at least 1.
    pub concurrency: usize,
    /// Timeouts for one attempt.
    pub timeouts: Timeouts,
    /// Maximum interval between queries of the ledger when nothing wakes the worker.
    pub poll: Duration,
    /// Maximum sending rate. `None` means no limit.
    pub rate: Option<Rate>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 8,
            timeouts: Timeouts::default(),
            poll: Duration::from_secs(1),
            rate: None,
        }
    }
}

impl Options {
    /// Duration of a lease: the answer timeout, at most 20 s for the steps before the message, and 30 s. If a
    /// worker is killed, other workers take over its rows after that time.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.time_before_message() + self.timeouts.answer + 2 * GRACE
    }

    /// Maximum time after the lease begins or is renewed in which the message must begin.
    pub(super) fn message_deadline(&self) -> Duration {
        GRACE + self.time_before_message()
    }

    fn time_before_message(&self) -> Duration {
        (self.timeouts.connect + self.timeouts.send).min(MAX_TIME_BEFORE_MESSAGE)
    }
}
