//! Prometheus metrics of appends and subscriptions.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Metrics of the appends and subscriptions of a [`Database`](crate::Database) in this process. Cheap to
/// clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Recorded>);

#[derive(Debug)]
struct Recorded {
    appends: Family<Outcome, Counter>,
    batch: Histogram,
    batch_duration: Histogram,
    one_trip: Family<Outcome, Counter>,
    clock_offset: Gauge<f64, AtomicU64>,
    followed: Family<Name, Counter>,
    failed: Family<Name, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    subscription: String,
}

impl Default for Recorded {
    fn default() -> Self {
        let appends = Family::<Outcome, Counter>::default();
        // Alerts measure the increase of these counters, so they must exist from the start.
        for outcome in ["damaged", "clock_wrong"] {
            drop(appends.get_or_create(&Outcome { outcome }));
        }
        Self {
            appends,
            // 1 to 1,024, the largest batch size that can be configured.
            batch: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            // 0.5 ms to 16 s, about the maximum duration of a transaction.
            batch_duration: Histogram::new(exponential_buckets(0.000_5, 2.0, 16)),
            one_trip: Family::default(),
            clock_offset: Gauge::default(),
            followed: Family::default(),
            failed: Family::default(),
        }
    }
}

impl Metrics {
    /// Counts an answered append by its outcome.
    pub(crate) fn append(&self, outcome: &'static str) {
        self.0.appends.get_or_create(&Outcome { outcome }).inc();
    }

    /// Records the size and the duration in seconds of a batch, whether it was committed or failed.
    pub(crate) fn batch(&self, appends: usize, seconds: f64) {
        self.0
            .batch
            .observe(u32::try_from(appends).map_or(f64::INFINITY, f64::from));
        self.0.batch_duration.observe(seconds);
    }

    /// Counts a batch that was tried in one round trip, by its outcome.
    pub(crate) fn one_trip(&self, outcome: &'static str) {
        self.0.one_trip.get_or_create(&Outcome { outcome }).inc();
    }

    /// Records by how many microseconds this process's clock is ahead of its reference clock.
    pub(crate) fn clock_offset(&self, micros: i64) {
        #[expect(clippy::cast_precision_loss, reason = "exact to 2⁵³ µs, which is 285 years")]
        self.0.clock_offset.set(micros as f64 / 1e6);
    }

    /// Counts events that a subscription has processed.
    pub(crate) fn followed(&self, subscription: &str, events: usize) {
        self.0
            .followed
            .get_or_create(&name(subscription))
            .inc_by(events as u64);
    }

    /// Counts a failure of a subscription.
    pub(crate) fn failed(&self, subscription: &str) {
        self.0.failed.get_or_create(&name(subscription)).inc();
    }

    /// Registers these metrics in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let recorded = &*self.0;
        registry.register(
            "append",
            "Appends that this process has answered, by outcome",
            recorded.appends.clone(),
        );
        registry.register(
            "append_batch_size",
            "Appends in a batch, whether it was committed or failed",
            recorded.batch.clone(),
        );
        registry.register_with_unit(
            "append_batch_duration",
            "Duration of a batch of appends, including retries",
            Unit::Seconds,
            recorded.batch_duration.clone(),
        );
        registry.register(
            "append_one_round_trip",
            "Batches that this process has tried to append in one round trip, by outcome",
            recorded.one_trip.clone(),
        );
        registry.register_with_unit(
            "clock_offset",
            "How far the clock of this process was ahead of its reference clock at the last append",
            Unit::Seconds,
            recorded.clock_offset.clone(),
        );
        registry.register(
            "subscription_events",
            "Events that a subscription has processed in this process",
            recorded.followed.clone(),
        );
        registry.register(
            "subscription_failures",
            "Failures of a subscription in this process",
            recorded.failed.clone(),
        );
    }
}

fn name(subscription: &str) -> Name {
    Name {
        subscription: subscription.to_owned(),
    }
}
