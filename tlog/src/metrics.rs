//! Metrics of the signer.

use std::sync::LazyLock;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::signer::Outcome;

static METRICS: LazyLock<SignerMetrics> = LazyLock::new(SignerMetrics::default);

#[derive(Default)]
struct SignerMetrics {
    size: Gauge,
    stopped: Gauge,
}

/// Records a run without an error.
pub(crate) fn signing(outcome: Outcome) {
    METRICS.stopped.set(0);
    if let Outcome::Signed(size) = outcome {
        METRICS.size.set(i64::try_from(size).unwrap_or(i64::MAX));
    }
}

/// Records that an operator must solve a problem.
pub(crate) fn stopped() {
    METRICS.stopped.set(1);
}

/// Records that another process signs.
pub(crate) fn elsewhere() {
    METRICS.stopped.set(0);
}

/// Registers the metrics.
pub fn register(registry: &mut Registry) {
    registry.register(
        "checkpoint_signer_size",
        "Size of the last checkpoint that this process has signed",
        METRICS.size.clone(),
    );
    registry.register(
        "checkpoint_signer_stopped",
        "Whether this process refuses to sign checkpoints until an operator has solved a problem",
        METRICS.stopped.clone(),
    );
}
