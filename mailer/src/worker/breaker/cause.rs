//! Why the breaker is open.

use std::time::Duration;

use crate::ledger::workers::ServerState;

/// Why the breaker is open, in ascending order of severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OpenCause {
    /// Unrelated emails were deferred.
    Throttled,
    /// The server is unreachable.
    Down,
    /// Unrelated emails were rejected, or one email was rejected at RCPT or later for a reason that applies
    /// to all mail.
    MailRejected,
    /// The server rejects this client before it knows the recipient.
    ClientRejected,
}

impl OpenCause {
    pub(super) const fn server_state(self) -> ServerState {
        match self {
            Self::Throttled | Self::Down => ServerState::Down,
            Self::MailRejected | Self::ClientRejected => ServerState::Refused,
        }
    }

    /// Whether the cause is inferred from rejected or deferred emails. Any accepted email then disproves it.
    pub(super) const fn is_inferred(self) -> bool {
        matches!(self, Self::Throttled | Self::MailRejected)
    }

    /// Returns the pause after `failed` failed probes. `random`, from 0 to 1, lengthens or shortens the pause
    /// by up to 20 %.
    pub(super) fn pause(self, failed: u32, random: f64) -> Duration {
        let (first, longest, growth) = self.pauses();
        // An exponent of 32 exceeds every maximum.
        let grown = first.mul_f64(growth.powi(i32::try_from(failed.min(32)).unwrap_or(32)));
        grown.min(longest).mul_f64(0.8 + 0.4 * random)
    }

    /// First pause before another probe, maximum pause, and growth factor, before the random variation.
    const fn pauses(self) -> (Duration, Duration, f64) {
        match self {
            // Smaller steps: the delay after the server accepts mail again is at most a sixth of the wait.
            Self::Throttled => (Duration::from_secs(1), Duration::from_secs(30), 1.2),
            Self::Down => (Duration::from_secs(1), Duration::from_secs(30), 2.0),
            Self::MailRejected => (Duration::from_secs(1), Duration::from_mins(2), 2.0),
            // Longer pauses: some servers lock an account after a few wrong passwords.
            Self::ClientRejected => (Duration::from_secs(30), Duration::from_mins(10), 2.0),
        }
    }

    /// Logs that the breaker opened for this cause.
    pub(super) fn report(self, error: &str) {
        match self {
            Self::Throttled => tracing::warn!(
                mail.error = error,
                "the mail server defers mail; sending more slowly"
            ),
            Self::Down => tracing::warn!(
                mail.error = error,
                "no mail can be sent; all mail waits while the server is probed"
            ),
            Self::MailRejected | Self::ClientRejected => tracing::error!(
                mail.error = error,
                "the mail server rejects all mail; all mail waits until someone fixes the cause"
            ),
        }
    }
}
