//! Metrics of the queue of entries.

use std::sync::LazyLock;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

static METRICS: LazyLock<ReadMetrics> = LazyLock::new(ReadMetrics::default);

#[derive(Default)]
struct ReadMetrics {
    waiting: Gauge,
    rejected: Counter,
}

fn number(entries: usize) -> i64 {
    i64::try_from(entries).unwrap_or(i64::MAX)
}

pub(super) fn waiting(entries: usize) {
    METRICS.waiting.inc_by(number(entries));
}

pub(super) fn no_longer_waiting(entries: usize) {
    METRICS.waiting.dec_by(number(entries));
}

pub(super) fn rejected(entries: usize) {
    METRICS.rejected.inc_by(entries as u64);
}

/// Registers the metrics.
pub fn register(registry: &mut Registry) {
    registry.register(
        "read_record_waiting",
        "Entries of the record of reads that wait to be written",
        METRICS.waiting.clone(),
    );
    registry.register(
        "read_record_rejected",
        "Entries of the record of reads that were rejected because the queue was full",
        METRICS.rejected.clone(),
    );
}
