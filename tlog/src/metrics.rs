//! Metrics of the signer and of its witnesses.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::signer::Outcome;

static EVENTS: LazyLock<SignerMetrics> = LazyLock::new(SignerMetrics::default);
static READS: LazyLock<SignerMetrics> = LazyLock::new(SignerMetrics::default);

/// A log whose signer has metrics of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeteredLog {
    /// The log of events.
    Events,
    /// The log of the heads of the record of reads. Its metrics have the prefix `reads_`.
    Reads,
}

struct SignerMetrics {
    size: Gauge,
    duration: Histogram,
    stopped: Gauge,
    quorum: Gauge,
    cosigned_size: Family<WitnessLabel, Gauge>,
    cosigned_at: Family<WitnessLabel, Gauge>,
    requests: Family<RequestLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WitnessLabel {
    witness: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    witness: String,
    outcome: &'static str,
}

impl Default for SignerMetrics {
    fn default() -> Self {
        Self {
            size: Gauge::default(),
            // 1 ms to 8 s; the first checkpoint of a large log takes longer.
            duration: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            stopped: Gauge::default(),
            quorum: Gauge::default(),
            cosigned_size: Family::default(),
            cosigned_at: Family::default(),
            requests: Family::default(),
        }
    }
}

impl SignerMetrics {
    fn request(&self, witness: &str, outcome: &'static str) {
        let witness = witness.to_owned();
        let labels = RequestLabels { witness, outcome };
        self.requests.get_or_create(&labels).inc();
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "checkpoint_signer_size",
            "Size of the last checkpoint that this process has signed or found",
            self.size.clone(),
        );
        registry.register_with_unit(
            "checkpoint_signing_duration",
            "Duration of the work for a checkpoint: reading the new entries, extending the tiles, signing and storing",
            Unit::Seconds,
            self.duration.clone(),
        );
        registry.register(
            "checkpoint_signer_stopped",
            "Whether this process refuses to sign checkpoints until an operator has solved a problem",
            self.stopped.clone(),
        );
        registry.register(
            "checkpoint_quorum_size",
            "Size of the last of these checkpoints that enough witnesses have cosigned",
            self.quorum.clone(),
        );
        registry.register(
            "witness_cosigned_size",
            "Size of the last checkpoint that the witness has cosigned for this process",
            self.cosigned_size.clone(),
        );
        registry.register_with_unit(
            "witness_cosigned_timestamp",
            "Time at which the witness has last cosigned a checkpoint for this process",
            Unit::Seconds,
            self.cosigned_at.clone(),
        );
        registry.register(
            "witness_requests",
            "Requests of this process to the witness, by outcome",
            self.requests.clone(),
        );
    }
}

impl MeteredLog {
    fn metrics(self) -> &'static SignerMetrics {
        match self {
            Self::Events => &EVENTS,
            Self::Reads => &READS,
        }
    }

    /// Records a run without an error, which took this long.
    pub(crate) fn signing(self, outcome: Outcome, duration: Duration) {
        let metrics = self.metrics();
        metrics.stopped.set(0);
        if let Outcome::Signed(_) = outcome {
            metrics.duration.observe(duration.as_secs_f64());
        }
        if let Outcome::Signed(size) | Outcome::UpToDate(size) = outcome {
            metrics.size.set(i64::try_from(size).unwrap_or(i64::MAX));
        }
    }

    /// Creates the series of a witness before its first response.
    pub(crate) fn witness(self, name: &str) {
        let metrics = self.metrics();
        let label = WitnessLabel {
            witness: name.to_owned(),
        };
        metrics.cosigned_size.get_or_create(&label).set(0);
        metrics.cosigned_at.get_or_create(&label).set(0);
        for outcome in [
            "cosigned",
            "unreachable",
            "rejected",
            "ahead",
            "inconsistent",
            "failed",
        ] {
            let witness = name.to_owned();
            let labels = RequestLabels { witness, outcome };
            metrics.requests.get_or_create(&labels).inc_by(0);
        }
    }

    /// Records that the witness has cosigned the checkpoint of this size, at this time in seconds since 1970.
    pub(crate) fn cosigned(self, witness: &str, size: u64, time: i64) {
        let metrics = self.metrics();
        let label = WitnessLabel {
            witness: witness.to_owned(),
        };
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        metrics.cosigned_size.get_or_create(&label).set(size);
        metrics.cosigned_at.get_or_create(&label).set(time);
        metrics.request(witness, "cosigned");
    }

    /// Records that a witness has not cosigned a checkpoint.
    pub(crate) fn not_cosigned(self, witness: &str, outcome: &'static str) {
        self.metrics().request(witness, outcome);
    }

    /// Records that the checkpoint of this size has its quorum. A slow witness can complete the quorum of an
    /// earlier checkpoint later.
    pub(crate) fn quorum(self, size: u64) {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        self.metrics().quorum.inner().fetch_max(size, Ordering::Relaxed);
    }

    /// Records that an operator must solve a problem.
    pub(crate) fn stopped(self) {
        self.metrics().stopped.set(1);
    }

    /// Records that another process signs.
    pub(crate) fn elsewhere(self) {
        self.metrics().stopped.set(0);
    }
}

/// Registers the metrics of both logs.
pub fn register(registry: &mut Registry) {
    EVENTS.register(registry);
    READS.register(registry.sub_registry_with_prefix("reads"));
}
