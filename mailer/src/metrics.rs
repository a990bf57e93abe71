//! Prometheus metrics for sending email.

use std::sync::LazyLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Metrics of this process.
pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    attempts: Family::default(),
    // Bucket limits from 5 ms to 82 s.
    duration: Histogram::new(exponential_buckets(0.005, 2.0, 15)),
});

pub(crate) struct Metrics {
    attempts: Family<OutcomeLabel, Counter>,
    duration: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

impl Metrics {
    /// Counts an attempt by its outcome, and records its duration in seconds.
    pub(crate) fn attempt(&self, outcome: &'static str, seconds: f64) {
        self.attempts.get_or_create(&OutcomeLabel { outcome }).inc();
        self.duration.observe(seconds);
    }
}

/// Adds the mailer's metrics to `registry`.
pub fn register(registry: &mut Registry) {
    registry.register(
        "mail_attempts",
        "Finished attempts to send an email in this process, by outcome",
        METRICS.attempts.clone(),
    );
    registry.register_with_unit(
        "mail_attempt_duration",
        "Duration of an attempt to send an email",
        Unit::Seconds,
        METRICS.duration.clone(),
    );
}
