//! A limit to how many mails leave: a token bucket.

use std::time::Duration;

/// So many mails in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    mails: u32,
    time: Duration,
}

impl Rate {
    /// So many mails in so much time; `None` if either is nothing.
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

/// Gives out as many tokens as the rate allows: at most those of one second at once, or one. It goes by a
/// clock that is never set.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: f64,
    tokens: f64,
    at: Duration,
}

impl Bucket {
    pub(super) fn new(rate: Rate, now: Duration) -> Self {
        Self::of(rate.per_second(), now)
    }

    /// One with a second's tokens, of a rate above zero.
    pub(super) fn of(per_second: f64, now: Duration) -> Self {
        Self {
            per_second,
            tokens: per_second.max(1.0),
            at: now,
        }
    }

    /// The tokens of a second.
    pub(super) const fn rate(&self) -> f64 {
        self.per_second
    }

    /// From now on, at another rate above zero.
    pub(super) fn set_rate(&mut self, per_second: f64, now: Duration) {
        self.fill(now);
        self.per_second = per_second;
    }

    fn fill(&mut self, now: Duration) {
        let since = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + since * self.per_second).min(self.per_second.max(1.0));
        self.at = now;
    }

    /// How many there are.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to what a u32 holds"
    )]
    pub(super) fn available(&mut self, now: Duration) -> usize {
        self.fill(now);
        self.tokens as usize
    }

    /// Takes some that there are.
    #[expect(clippy::cast_precision_loss, reason = "no more than what a u32 holds")]
    pub(super) fn take(&mut self, tokens: usize) {
        self.tokens = (self.tokens - tokens as f64).max(0.0);
    }

    /// How long until there is one.
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
    fn a_bucket_gives_a_second_at_once_and_then_by_the_rate() {
        let start = Duration::from_secs(5);
        let mut bucket = Bucket::new(rate(10, 1), start);
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
    fn a_rate_below_one_a_second_gives_one_at_a_time() {
        let start = Duration::from_secs(5);
        let mut bucket = Bucket::new(rate(6, 60), start);
        assert_eq!(bucket.available(start), 1);
        bucket.take(1);
        assert_eq!(bucket.available(start + Duration::from_secs(9)), 0);
        assert_eq!(bucket.available(start + Duration::from_secs(10)), 1);
    }
}
