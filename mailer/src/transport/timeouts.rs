//! Timeouts for sending one email.

use std::time::Duration;

/// Timeouts for sending one email. The defaults are the sums of the minimum timeouts that RFC 5321 §4.5.3.2
/// recommends for each step. Some servers delay their replies deliberately (tarpits), and a client with a
/// short timeout never succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Timeout for opening a session: name resolution, TCP, TLS, greetings, authentication.
    pub connect: Duration,
    /// Timeout from the open session until the server asks for the message. For a file, until the file is on
    /// disk.
    pub send: Duration,
    /// Timeout from the start of the message until the server replies to it. RFC 5321 §4.5.3.2.6 recommends
    /// 10 minutes: a slow server has usually accepted the email, and a client with a short timeout sends a
    /// duplicate.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // The timeout for the greeting.
            connect: Duration::from_mins(5),
            // 5 minutes each for MAIL and RCPT, and 2 minutes for DATA.
            send: Duration::from_mins(12),
            answer: Duration::from_mins(10),
        }
    }
}

impl Timeouts {
    /// Returns these timeouts, each limited to `most`.
    #[must_use]
    pub fn each_at_most(self, most: Duration) -> Self {
        Self {
            connect: self.connect.min(most),
            send: self.send.min(most),
            answer: self.answer.min(most),
        }
    }

    /// Sum of the timeouts.
    pub(crate) fn total(self) -> Duration {
        self.connect + self.send + self.answer
    }
}
