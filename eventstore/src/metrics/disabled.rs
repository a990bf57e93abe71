//! Metrics without the feature `metrics`: nothing is recorded.

/// Metrics of the appends and subscriptions of a [`Database`](crate::Database). Recorded only with the
/// feature `metrics`.
#[derive(Debug, Clone, Default)]
pub struct Metrics {}

#[expect(clippy::unused_self, reason = "the same methods as with the feature")]
impl Metrics {
    pub(crate) const fn append(&self, _outcome: &'static str) {}

    pub(crate) const fn batch(&self, _appends: usize, _seconds: f64) {}

    pub(crate) const fn one_trip(&self, _outcome: &'static str) {}

    pub(crate) const fn clock_offset(&self, _micros: i64) {}

    pub(crate) const fn followed(&self, _subscription: &str, _events: usize) {}

    pub(crate) const fn failed(&self, _subscription: &str) {}
}
