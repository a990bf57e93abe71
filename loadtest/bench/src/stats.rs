//! The results of measurements.

use std::time::Duration;

use serde::Serialize;

/// The result of one drive.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Stats {
    /// Successful requests per second.
    pub(crate) rate: f64,
    /// Percentiles of the latencies of successful requests, in milliseconds: the 50th, 99th and 99.9th.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// Number of requests that were rejected (4xx, 503), and the 99th percentile of their latencies in
    /// milliseconds.
    pub(crate) refused: usize,
    pub(crate) refused_p99: f64,
    /// Number of requests that failed otherwise.
    pub(crate) broken: usize,
}

/// The observations of one client.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Latencies of successful requests, in microseconds.
    pub(crate) good: Vec<u32>,
    /// Latencies of rejected requests, in microseconds.
    pub(crate) refused: Vec<u32>,
    pub(crate) broken: usize,
}

impl Notes {
    /// Combines the observations of all clients over `elapsed`.
    pub(crate) fn sum(all: Vec<Self>, elapsed: Duration) -> Stats {
        let (mut good, mut refused, mut broken) = (Vec::new(), Vec::new(), 0);
        for notes in all {
            good.extend(notes.good);
            refused.extend(notes.refused);
            broken += notes.broken;
        }
        good.sort_unstable();
        refused.sort_unstable();
        Stats {
            rate: good.len() as f64 / elapsed.as_secs_f64(),
            p50: quantile(&good, 0.5),
            p99: quantile(&good, 0.99),
            p999: quantile(&good, 0.999),
            refused: refused.len(),
            refused_p99: quantile(&refused, 0.99),
            broken,
        }
    }
}

/// Returns a percentile of sorted microseconds, in milliseconds; 0 without values.
pub(crate) fn quantile(sorted: &[u32], q: f64) -> f64 {
    let index = (sorted.len() as f64 * q) as usize;
    sorted
        .get(index.min(sorted.len().saturating_sub(1)))
        .map_or(0.0, |micros| f64::from(*micros) / 1000.0)
}

/// Returns the run with the median rate; of an even number of runs, the faster of the two in the middle.
pub(crate) fn median(mut runs: Vec<Stats>) -> Stats {
    runs.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    runs.swap_remove(runs.len() / 2)
}

/// Returns the median of at least one value; of an even number of values, the higher of the two in the
/// middle.
pub(crate) fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
