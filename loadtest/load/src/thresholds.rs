//! What a service must reach.

#[cfg(test)]
mod tests;

use std::time::Duration;

use clap::Args;

use crate::record::{Results, milliseconds};

/// Thresholds over all requests. Without an option, the threshold does not apply, except `--failed`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Thresholds")]
pub(crate) struct Thresholds {
    /// Maximum 50th percentile of the latency
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    p50: Option<Duration>,
    /// Maximum 95th percentile of the latency
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    p95: Option<Duration>,
    /// Maximum 99th percentile of the latency
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    p99: Option<Duration>,
    /// Maximum percentage of failed requests
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    failed: f64,
}

/// Parses a percentage from 0 to 100, with or without `%`.
fn percent(text: &str) -> Result<f64, String> {
    text.strip_suffix('%')
        .unwrap_or(text)
        .parse()
        .ok()
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(|| "the percentage must be from 0 to 100".to_owned())
}

impl Thresholds {
    /// Returns a description of each threshold that the results miss.
    pub(crate) fn missed(&self, results: &Results) -> Vec<String> {
        let mut missed = Vec::new();
        let percentiles = [
            ("p50", 50.0, self.p50),
            ("p95", 95.0, self.p95),
            ("p99", 99.0, self.p99),
        ];
        for (name, percent, limit) in percentiles {
            let Some(limit) = limit else { continue };
            let latency = results.all.latencies.percentile(percent);
            // Without a successful request, no latency is short enough.
            if latency.is_none_or(|latency| latency > limit) {
                missed.push(format!(
                    "{name} is {} ms, above {} ms",
                    milliseconds(latency),
                    milliseconds(Some(limit)),
                ));
            }
        }
        let failed = results.failed_percent();
        if failed > self.failed {
            missed.push(format!(
                "{} requests have failed ({failed:.3}%), above {}%",
                results.all.failed(),
                self.failed,
            ));
        }
        missed
    }
}
