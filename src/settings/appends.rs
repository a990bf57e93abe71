//! The settings of the append queue.

use eventstore::{AppendOptions, Timestamp};

use super::Settings;

/// Time before this version of the program was made, 2026-11-01T00:00:00Z in microseconds. A clock with an
/// earlier time is wrong, for example because the battery of the machine's clock is empty. Update this
/// constant together with the version of the package.
const MADE_AFTER: Timestamp = Timestamp::from_micros(1_793_491_200_000_000);

impl Settings {
    /// Returns the options of the append queue.
    pub(crate) fn append_options(&self) -> AppendOptions {
        AppendOptions {
            capacity: self.append_queue as usize,
            largest: self.append_batch as usize,
            outcome_wait: self.outcome_wait,
            // Leaves time for the response.
            answer_within: self.request_timeout * 9 / 10,
            not_before: MADE_AFTER,
        }
    }
}
