//! Options of an append queue.

use std::time::Duration;

use crate::clock::Timestamp;

/// Options of an append queue.
#[derive(Debug, Clone, Copy)]
pub struct AppendOptions {
    /// Maximum number of appends that wait.
    pub capacity: usize,
    /// Maximum number of appends that are committed together.
    pub largest: usize,
    /// How long the queue tries to find out whether an append was written, counted from the first failure, if
    /// its connection was lost at the commit. It should be longer than a switch of the database server takes.
    pub outcome_wait: Duration,
    /// Time after which the caller of an append waits no longer, counted from the queueing of the append. A
    /// batch is not retried after that time.
    pub answer_within: Duration,
    /// Time before which a clock is certainly wrong, such as the time at which the program was made. While
    /// the clock of the process shows an earlier time, appends are rejected.
    pub not_before: Timestamp,
}

impl Default for AppendOptions {
    fn default() -> Self {
        Self {
            capacity: 1024,
            largest: 256,
            outcome_wait: Duration::from_secs(15),
            answer_within: Duration::from_secs(18),
            not_before: Timestamp::EARLIEST,
        }
    }
}
