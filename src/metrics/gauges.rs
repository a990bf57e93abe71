//! Registering gauges.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;

/// Registers a family of gauges.
pub(super) fn family(registry: &mut Registry, name: &str, help: &str) -> Gauges {
    let family = Gauges::default();
    registry.register(name, help, family.clone());
    family
}

/// Registers a gauge with a value.
pub(super) fn gauge(registry: &mut Registry, name: &str, help: &str, value: f64) {
    let gauge = Gauge::<f64, AtomicU64>::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

/// Sets the gauge with these labels.
pub(super) fn set(family: &Gauges, labels: &[(&'static str, &str)], value: f64) {
    let labels: Labels = labels
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    family.get_or_create(&labels).set(value);
}

/// Converts a count to a gauge value: Prometheus has floating-point numbers only.
pub(super) fn number(count: impl TryInto<u64>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2⁵³, which no log reaches")]
    count.try_into().map_or(f64::NAN, |count| count as f64)
}
