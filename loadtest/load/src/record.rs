//! What was measured.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::client::Failure;
use crate::mix::Operation;

/// Number of intervals into which a long run is divided, which limits the size of the report and the memory
/// for it. Rounding can add one interval.
const MAX_INTERVALS: u32 = 240;

/// Longest latency that is recorded. Longer latencies are counted as this latency.
const LONGEST: Duration = Duration::from_hours(1);

/// Latencies, with three significant digits for a whole run and two for an interval.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    fn new(digits: u8) -> anyhow::Result<Self> {
        let longest = u64::try_from(LONGEST.as_micros())?;
        Ok(Self(Histogram::new_with_bounds(1, longest, digits)?))
    }

    fn add(&mut self, latency: Duration) {
        self.0
            .saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    /// Returns the latency that `percent` of the requests do not exceed. `None` without requests.
    pub(crate) fn percentile(&self, percent: f64) -> Option<Duration> {
        let some = !self.0.is_empty();
        some.then(|| Duration::from_micros(self.0.value_at_percentile(percent)))
    }

    /// Returns the number of latencies.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }
}

/// The results of one operation, or of all operations.
#[derive(Debug, Clone)]
pub(crate) struct Totals {
    /// From the scheduled time to the end of the response, of successful requests.
    pub(crate) latencies: Latencies,
    /// Number of failed requests by reason.
    pub(crate) failures: BTreeMap<Failure, u64>,
}

impl Totals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latencies: Latencies::new(3)?,
            failures: BTreeMap::new(),
        })
    }

    fn add(&mut self, latency: Duration, result: Result<(), Failure>) {
        match result {
            Ok(()) => self.latencies.add(latency),
            Err(failure) => *self.failures.entry(failure).or_default() += 1,
        }
    }

    /// Returns the number of failed requests.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Returns the number of requests.
    pub(crate) fn requests(&self) -> u64 {
        self.latencies.count() + self.failed()
    }
}

/// The requests that were scheduled in one interval.
#[derive(Debug, Clone)]
pub(crate) struct Interval {
    pub(crate) latencies: Latencies,
    pub(crate) failed: u64,
}

/// The results of a run.
#[derive(Debug, Clone)]
pub(crate) struct Results {
    /// Results of each operation, in the order of [`Operation::ALL`].
    pub(crate) operations: Vec<Totals>,
    /// Results of all operations.
    pub(crate) all: Totals,
    /// Time between the scheduled time of a request and the time when it was sent. Long times mean that the
    /// load generator was too slow.
    pub(crate) delays: Latencies,
    /// Length of an interval.
    pub(crate) interval: Duration,
    pub(crate) intervals: Vec<Interval>,
    /// Duration of the measurement.
    pub(crate) duration: Duration,
}

impl Results {
    /// Returns the number of successful requests per second.
    pub(crate) fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "for display")]
        let count = self.all.latencies.count() as f64;
        count / self.duration.as_secs_f64()
    }

    /// Returns the percentage of failed requests.
    pub(crate) fn failed_percent(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "for display")]
        let (failed, requests) = (self.all.failed() as f64, self.all.requests() as f64);
        if requests > 0.0 {
            100.0 * failed / requests
        } else {
            0.0
        }
    }
}

/// Collects the results of requests.
#[derive(Debug)]
pub(crate) struct Recorder(Mutex<Results>);

impl Recorder {
    pub(crate) fn new(duration: Duration) -> anyhow::Result<Self> {
        let interval = Duration::from_secs(1).max(duration / MAX_INTERVALS);
        let count = duration.as_nanos().div_ceil(interval.as_nanos());
        let empty = Interval {
            latencies: Latencies::new(2)?,
            failed: 0,
        };
        Ok(Self(Mutex::new(Results {
            operations: vec![Totals::new()?; Operation::ALL.len()],
            all: Totals::new()?,
            delays: Latencies::new(3)?,
            interval,
            intervals: vec![empty; usize::try_from(count)?],
            duration,
        })))
    }

    /// Adds a request that was scheduled at `at` after the start of the measurement.
    pub(crate) fn add(
        &self,
        operation: Operation,
        at: Duration,
        delay: Duration,
        latency: Duration,
        result: Result<(), Failure>,
    ) {
        let mut results = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        results.delays.add(delay);
        results.operations[operation.index()].add(latency, result);
        results.all.add(latency, result);
        let index = usize::try_from(at.as_nanos() / results.interval.as_nanos()).unwrap_or(usize::MAX);
        if let Some(interval) = results.intervals.get_mut(index) {
            match result {
                Ok(()) => interval.latencies.add(latency),
                Err(_) => interval.failed += 1,
            }
        }
    }

    pub(crate) fn results(&self) -> Results {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Returns a latency in milliseconds with three significant digits, such as `1.23`, or `-` without a latency.
pub(crate) fn milliseconds(latency: Option<Duration>) -> String {
    let Some(latency) = latency else {
        return "-".to_owned();
    };
    let milliseconds = latency.as_secs_f64() * 1000.0;
    let decimals = match milliseconds {
        m if m < 9.995 => 2,
        m if m < 99.95 => 1,
        _ => 0,
    };
    format!("{milliseconds:.decimals$}")
}

impl fmt::Display for Results {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<9} {:>9} {:>7} {:>8} {:>8} {:>8} {:>8}  (ms)",
            "", "requests", "failed", "p50", "p95", "p99", "max"
        )?;
        let rows = Operation::ALL.iter().map(|operation| operation.name());
        let rows = rows.zip(&self.operations).chain([("all", &self.all)]);
        for (name, totals) in rows.filter(|(_, totals)| totals.requests() > 0) {
            let [p50, p95, p99, max] =
                [50.0, 95.0, 99.0, 100.0].map(|p| milliseconds(totals.latencies.percentile(p)));
            writeln!(
                formatter,
                "{name:<9} {:>9} {:>7} {p50:>8} {p95:>8} {p99:>8} {max:>8}",
                totals.requests(),
                totals.failed(),
            )?;
        }
        for (failure, count) in &self.all.failures {
            writeln!(formatter, "failed: {count} × {failure}")?;
        }
        write!(
            formatter,
            "{:.1} successful requests per second; requests were sent {} ms (p99) after their scheduled time",
            self.rate(),
            milliseconds(self.delays.percentile(99.0)),
        )
    }
}
