//! The settings of the append queue.

use eventstore::AppendOptions;

use super::Settings;

impl Settings {
    /// Returns the options of the append queue.
    pub(crate) fn append_options(&self) -> AppendOptions {
        AppendOptions {
            capacity: self.append_queue as usize,
            largest: self.append_batch as usize,
            outcome_wait: self.outcome_wait,
            // Leaves time for the response.
            answer_within: self.request_timeout * 9 / 10,
        }
    }
}
