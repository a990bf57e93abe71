//! A token bucket that limits the sending rate.

use std::time::Duration;

/// A number of emails per period of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    mails: u32,
    time: Duration,
}

impl Rate {
    /// Creates a rate of `mails` per `time`, or returns `None` if either is zero.
    #[must_use]
    pub const fn new(mails: u32, time: Duration) -> Option<Self> {
        if mails == 0 || time.is_zero() {
            return None;
        }
        Some(Self { mails, time })
    }

    fn per_second(self) -> f64 {
        f64::from(self.mails) / self.time.as_secs_f64()
    }
}

/// A bucket that fills with tokens at the given rate. Its capacity is the tokens of one second, but at least
/// one token. It uses a monotonic clock.
#[derive(Debug)]
pub(super) struct TokenBucket {
    per_second: f64,
    tokens: f64,
    at: Duration,
}

impl TokenBucket {
    pub(super) fn new(rate: Rate, now: Duration) -> Self {
        Self::of(rate.per_second(), now)
    }

    /// Creates a bucket with the tokens of one second. The rate must be above zero.
    pub(super) fn of(per_second: f64, now: Duration) -> Self {
        Self {
            per_second,
            tokens: per_second.max(1.0),
            at: now,
        }
    }

    /// Tokens per second.
    pub(super) const fn rate(&self) -> f64 {
        self.per_second
    }

    /// Changes the rate from `now` on. The rate must be above zero.
    pub(super) fn set_rate(&mut self, per_second: f64, now: Duration) {
        self.fill(now);
        self.per_second = per_second;
    }

    fn fill(&mut self, now: Duration) {
        let since = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + since * self.per_second).min(self.per_second.max(1.0));
        self.at = now;
    }

    /// Returns the number of available tokens.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value is between 0 and u32::MAX"
    )]
    pub(super) fn available(&mut self, now: Duration) -> usize {
        self.fill(now);
        self.tokens as usize
    }

    /// Takes tokens. If fewer are available, takes all of them.
    #[expect(clippy::cast_precision_loss, reason = "at most u32::MAX tokens")]
    pub(super) fn take(&mut self, tokens: usize) {
        self.tokens = (self.tokens - tokens as f64).max(0.0);
    }

    /// Returns the time until a token is available.
    pub(super) fn wait(&self) -> Duration {
        Duration::from_secs_f64(((1.0 - self.tokens) / self.per_second).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(mails: u32, seconds: u64) -> Rate {
        Rate::new(mails, Duration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn a_bucket_holds_the_tokens_of_one_second() {
        let start = Duration::from_secs(5);
        let mut bucket = TokenBucket::new(rate(10, 1), start);
        assert_eq!(bucket.available(start), 10);
        bucket.take(10);
        assert_eq!(bucket.available(start), 0);
        assert_eq!(bucket.wait(), Duration::from_millis(100));
        assert_eq!(bucket.available(start + Duration::from_millis(350)), 3);
        assert_eq!(
            bucket.available(start + Duration::from_hours(1)),
            10,
            "nothing is saved up"
        );
    }

    #[test]
    fn a_rate_below_one_per_second_yields_one_token_at_a_time() {
        let start = Duration::from_secs(5);
        let mut bucket = TokenBucket::new(rate(6, 60), start);
        assert_eq!(bucket.available(start), 1);
        bucket.take(1);
        assert_eq!(bucket.available(start + Duration::from_secs(9)), 0);
        assert_eq!(bucket.available(start + Duration::from_secs(10)), 1);
    }
}
