//! Clocks and timestamps.
//!
//! Only [`SystemClock`] reads the operating system's clock. All other code in the workspace receives a
//! [`Clock`]; tests pass a [`ManualClock`] and set it.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Timelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment in UTC, in whole microseconds since 1970-01-01T00:00:00Z.
///
/// It is stored as a `BIGINT` on every database and displayed as RFC 3339 with six decimals. Events are
/// recorded from [`Timestamp::EARLIEST`] to [`Timestamp::LATEST`], the range of years that RFC 3339 can write
/// and every reader can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0001-01-01T00:00:00Z, the earliest moment at which an event can be recorded.
    pub const EARLIEST: Self = Self(-62_135_596_800_000_000);
    /// 9999-12-31T23:59:59.999999Z, the latest moment at which an event can be recorded.
    pub const LATEST: Self = Self(253_402_300_799_999_999);

    /// Returns the moment `micros` microseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Returns the moment as a chrono value; `None` outside the years that chrono supports (±262,000).
    #[must_use]
    pub const fn to_datetime(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self.0)
    }

    /// Returns the microseconds from `other` to this moment; negative if this moment is earlier.
    #[must_use]
    pub const fn micros_after(self, other: Self) -> i64 {
        self.0.saturating_sub(other.0)
    }

    /// Whether an event can be recorded at this moment, that is, within the years 1 to 9999.
    #[must_use]
    pub fn is_recordable(self) -> bool {
        (Self::EARLIEST..=Self::LATEST).contains(&self)
    }

    /// Returns the time from `earlier` to this moment; zero if this moment is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(moment: DateTime<Utc>) -> Self {
        Self(moment.timestamp_micros())
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
        )
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
        )
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_datetime() {
            Some(moment) => f.write_str(&moment.to_rfc3339_opts(SecondsFormat::Micros, true)),
            None => write!(f, "{} µs", self.0),
        }
    }
}

/// Error for a text that is not a valid moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a moment in the years 0001 to 9999, such as 2026-11-24T06:51:04Z or 2026-11-24T07:51:04.123456+01:00"
)]
pub struct TimestampError;

/// Parses RFC 3339 with the variants that people and query strings use, in any offset. Digits beyond
/// microseconds are truncated.
///
/// - Date and time are separated by `T`, `t`, a space or `+`, which is how a query string encodes a space.
/// - The offset is `Z`, `z`, or hours and minutes after `+`, `-`, a minus sign (U+2212) or a space, which is
///   how a query string decodes a `+`.
/// - A leap second, 23:59:60 in UTC, is read as the following second, as in POSIX time.
impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (date, rest) = text.split_at_checked("0001-01-01".len()).ok_or(TimestampError)?;
        let time = rest.strip_prefix(['T', 't', ' ', '+']).ok_or(TimestampError)?;
        let time = time.replace(' ', "+");
        let moment = DateTime::parse_from_rfc3339(&format!("{date}T{time}"))
            .map_err(|_| TimestampError)?
            .to_utc();
        // chrono accepts second 60 in every minute, as nanoseconds beyond a second.
        let is_leap_second = moment.nanosecond() >= 1_000_000_000;
        if is_leap_second && (moment.hour(), moment.minute()) != (23, 59) {
            return Err(TimestampError);
        }
        Some(Self::from(moment))
            .filter(|moment| moment.is_recordable())
            .ok_or(TimestampError)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Accepts only the form in which a moment is displayed.
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .ok()
            .filter(|moment: &Self| moment.to_string() == text)
            .ok_or_else(|| de::Error::custom("expected a moment, such as 2026-11-24T06:51:04.123456Z"))
    }
}

/// A source of the current time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> Timestamp;

    /// Returns the time since a fixed moment of this process, by a clock that is never set. Use it to measure
    /// durations.
    fn monotonic(&self) -> Duration {
        static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
        BEGINNING.elapsed()
    }
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// Returns the operating system's clock, ready to be shared.
    #[must_use]
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "only this clock reads the time of the operating system"
    )]
    fn now(&self) -> Timestamp {
        Utc::now().into()
    }
}

/// A clock for tests that changes only when it is set or advanced.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: AtomicI64,
    advanced: AtomicU64,
}

impl ManualClock {
    /// Creates a clock set to `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Arc<Self> {
        let clock = Self::default();
        clock.set(now);
        Arc::new(clock)
    }

    /// Sets the clock forward or backward. The monotonic time does not change.
    pub fn set(&self, now: Timestamp) {
        self.now.store(now.0, Ordering::SeqCst);
    }

    /// Advances both the clock and the monotonic time.
    pub fn advance(&self, by: Duration) {
        self.set(self.now() + by);
        let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.advanced.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.advanced.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests;
