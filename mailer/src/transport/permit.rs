//! Permission to send a message.

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Permission to send a message, which can expire or be withdrawn.
#[derive(Debug, Clone, Default)]
pub struct Permit {
    pub(super) stop: CancellationToken,
    pub(super) until: Option<watch::Receiver<Instant>>,
}

impl Permit {
    /// Creates a permit that lasts until `until`, which may be moved, and ends soon after `stop` is
    /// cancelled.
    pub(crate) const fn new(stop: CancellationToken, until: watch::Receiver<Instant>) -> Self {
        Self {
            stop,
            until: Some(until),
        }
    }

    /// Whether the message may be sent now.
    pub(super) fn holds(&self) -> bool {
        self.until
            .as_ref()
            .is_none_or(|until| Instant::now() < *until.borrow())
    }
}
