//! The rate and the number of connections that a server accepts.

use std::time::Duration;

use super::rate::TokenBucket;

/// Time for which a learned rate applies.
const VALID_FOR: Duration = Duration::from_mins(10);
/// Maximum time over which a rate is measured.
const MAX_MEASUREMENT: Duration = Duration::from_mins(10);
/// Minimum number of emails for a measurement.
const MIN_EMAILS: u32 = 3;
/// Growth factor of the rate for each accepted email.
const GROWTH: f64 = 1.01;
/// Minimum rate, in emails per second. A lower rate is not needed: if the server defers emails at this rate,
/// the breaker opens, and its pauses limit the rate.
const MIN_RATE: f64 = 0.2;

/// The rate that a server accepts, learned when the server asks to slow down.
#[derive(Debug, Default)]
pub(super) struct LearnedRate {
    learned: Option<(TokenBucket, Duration)>,
    /// Number of emails accepted since `since`.
    accepted: u32,
    since: Duration,
}

impl LearnedRate {
    /// Registers an accepted email.
    pub(super) fn accepted(&mut self, now: Duration) {
        if self.accepted == 0 || now.saturating_sub(self.since) > MAX_MEASUREMENT {
            (self.accepted, self.since) = (0, now);
        }
        self.accepted = self.accepted.saturating_add(1);
        if let Some((bucket, until)) = &mut self.learned {
            if now > *until {
                self.learned = None;
            } else {
                let rate = bucket.rate() * GROWTH;
                bucket.set_rate(rate, now);
            }
        }
    }

    /// Learns the rate when the server accepts an email again after it asked to slow down. The rate is the
    /// number of emails accepted since the last measurement, divided by the elapsed time. With too few
    /// emails, or after more than [`MAX_MEASUREMENT`], no rate is learned.
    pub(super) fn resumed(&mut self, now: Duration) {
        let time = now.saturating_sub(self.since);
        if self.accepted >= MIN_EMAILS && !time.is_zero() && time <= MAX_MEASUREMENT {
            let rate = (f64::from(self.accepted) / time.as_secs_f64()).max(MIN_RATE);
            self.learned = Some((TokenBucket::of(rate, now), now + VALID_FOR));
            (self.accepted, self.since) = (0, now);
        }
    }

    /// Learned rate in emails per second, if any.
    pub(super) fn rate(&self) -> Option<f64> {
        self.learned.as_ref().map(|(bucket, _)| bucket.rate())
    }

    /// Token bucket for the learned rate, if any.
    pub(super) fn bucket(&mut self, now: Duration) -> Option<&mut TokenBucket> {
        if self.learned.as_ref().is_some_and(|(_, until)| now > *until) {
            self.learned = None;
        }
        self.learned.as_mut().map(|(bucket, _)| bucket)
    }

    /// Time until an email may be sent, if there is a learned rate.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.learned.as_ref().map(|(bucket, _)| bucket.wait())
    }
}

/// Initial pause before one more connection is opened.
const FIRST_PAUSE: Duration = Duration::from_mins(1);
/// Maximum pause before one more connection is opened.
const LONGEST_PAUSE: Duration = Duration::from_mins(30);

/// The number of connections that the server accepts, learned when it rejects a connection while others are
/// open.
#[derive(Debug, Default)]
pub(super) struct LearnedConnectionLimit {
    limited: Option<Limited>,
}

#[derive(Debug)]
struct Limited {
    connections: usize,
    raise_at: Duration,
    wait: Duration,
    /// Whether one more connection is permitted than the server is known to accept.
    raised: bool,
}

impl LearnedConnectionLimit {
    /// Returns the maximum number of connections, at most `wanted`.
    pub(super) fn limit(&mut self, wanted: usize, now: Duration) -> usize {
        let Some(limited) = &mut self.limited else {
            return wanted;
        };
        if now >= limited.raise_at {
            limited.connections += 1;
            limited.raised = true;
            limited.raise_at = now + limited.wait;
        }
        limited.connections.min(wanted)
    }

    /// Registers a rejected connection. `wanted` is the desired number of connections, and `open` is the
    /// number of open ones.
    pub(super) fn connection_rejected(&mut self, open: usize, wanted: usize, now: Duration) {
        let (known, wait) = match &self.limited {
            // Each rejected additional connection lengthens the wait for the next one.
            Some(limited) if limited.raised => (
                limited.connections.min(wanted),
                (limited.wait * 2).min(LONGEST_PAUSE),
            ),
            Some(limited) => (limited.connections.min(wanted), limited.wait),
            None => (wanted, FIRST_PAUSE),
        };
        // The limit falls each time, so that a wrong count of open sessions cannot cause a retry loop.
        let connections = open.min(known.saturating_sub(1)).max(1);
        self.limited = Some(Limited {
            connections,
            raise_at: now + wait,
            wait,
            raised: false,
        });
    }

    /// Registers that `open` connections work.
    pub(super) fn works(&mut self, open: usize) {
        if let Some(limited) = &mut self.limited {
            limited.connections = limited.connections.max(open);
        }
    }

    /// The current limit, if any.
    pub(super) fn current(&self) -> Option<usize> {
        self.limited.as_ref().map(|limited| limited.connections)
    }
}

#[cfg(test)]
mod tests;
