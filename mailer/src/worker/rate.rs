//! A limit to how many mails leave: a token bucket.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio::time::Instant;

/// So many mails in so much time. Parsed from `10/s`, `600/m`, `5000/h`, `2000/d`, or `10`, which is by the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    mails: u32,
    unit: char,
}

/// What is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a number of mails and a time, such as 10/s, 600/m, 5000/h or 2000/d")]
pub struct RateError;

impl Rate {
    fn per_second(self) -> f64 {
        let seconds = match self.unit {
            's' => 1.0,
            'm' => 60.0,
            'h' => 3600.0,
            _ => 86_400.0,
        };
        f64::from(self.mails) / seconds
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(rate: &str) -> Result<Self, RateError> {
        let (mails, unit) = rate.split_once('/').unwrap_or((rate, "s"));
        let unit = match unit.trim() {
            "s" => 's',
            "m" => 'm',
            "h" => 'h',
            "d" => 'd',
            _ => return Err(RateError),
        };
        match mails.trim().parse() {
            Ok(mails @ 1..) => Ok(Self { mails, unit }),
            Ok(0) | Err(_) => Err(RateError),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.mails, self.unit)
    }
}

/// Gives out as many tokens as the rate allows: at most those of one second at once, or one.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        let per_second = rate.per_second();
        Self {
            per_second,
            tokens: per_second.max(1.0),
            at: now,
        }
    }

    /// How many there are.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to what a u32 holds"
    )]
    pub(super) fn available(&mut self, now: Instant) -> usize {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + since * self.per_second).min(self.per_second.max(1.0));
        self.at = now;
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

    #[test]
    fn a_rate_is_a_number_and_a_time() {
        for (written, per_second) in [
            ("10", 10.0),
            ("10/s", 10.0),
            (" 600 / m ", 10.0),
            ("7200/h", 2.0),
            ("86400/d", 1.0),
        ] {
            assert!(
                (written.parse::<Rate>().unwrap().per_second() - per_second).abs() < 1e-9,
                "{written}"
            );
        }
        for wrong in [
            "",
            "0",
            "0/s",
            "-1",
            "1.5",
            "10/w",
            "10/",
            "/s",
            "10/s/s",
            "4294967296",
        ] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bucket_gives_a_second_at_once_and_then_by_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new("10/s".parse().unwrap(), start);
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
        let start = Instant::now();
        let mut bucket = Bucket::new("6/m".parse().unwrap(), start);
        assert_eq!(bucket.available(start), 1);
        bucket.take(1);
        assert_eq!(bucket.available(start + Duration::from_secs(9)), 0);
        assert_eq!(bucket.available(start + Duration::from_secs(10)), 1);
    }
}
