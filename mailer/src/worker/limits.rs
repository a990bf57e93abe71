//! Limits on the sending rate and on the number of connections: the configured rate, and the limits that the
//! mail server is known to have.

mod learned;
mod rate;

use std::time::Duration;

use self::learned::{LearnedConnectionLimit, LearnedRate};
pub use self::rate::Rate;
use self::rate::TokenBucket;
use super::evidence::Evidence;
use crate::error::Outage;

/// Configured and learned limits.
#[derive(Debug, Default)]
pub(super) struct SendLimits {
    configured: Option<TokenBucket>,
    rate: LearnedRate,
    connections: LearnedConnectionLimit,
}

impl SendLimits {
    /// Creates the limits with the configured rate, before any limit of the server is known.
    pub(super) fn new(rate: Option<Rate>, now: Duration) -> Self {
        Self {
            configured: rate.map(|rate| TokenBucket::new(rate, now)),
            ..Self::default()
        }
    }

    /// Returns the maximum number of connections, at most `wanted`.
    pub(super) fn connections(&mut self, wanted: usize, now: Duration) -> usize {
        self.connections.limit(wanted, now)
    }

    /// Returns how many emails the rates permit now. While the breaker is open, its own pauses replace the
    /// learned rate.
    pub(super) fn permitted(&mut self, breaker_is_open: bool, now: Duration) -> usize {
        let learned = self.rate.bucket(now).filter(|_| !breaker_is_open);
        let buckets = self.configured.as_mut().into_iter().chain(learned);
        buckets.fold(usize::MAX, |permitted, bucket| {
            permitted.min(bucket.available(now))
        })
    }

    /// Returns the time until the rates permit an email, or `None` if there is no rate.
    pub(super) fn wait(&self, breaker_is_open: bool) -> Option<Duration> {
        let learned = self.rate.wait().filter(|_| !breaker_is_open);
        let configured = self.configured.as_ref().map(TokenBucket::wait);
        configured.into_iter().chain(learned).max()
    }

    /// Registers that `emails` attempts begin.
    pub(super) fn attempts_started(&mut self, emails: usize, now: Duration) {
        let learned = self.rate.bucket(now);
        for bucket in self.configured.as_mut().into_iter().chain(learned) {
            bucket.take(emails);
        }
    }

    /// Learns the number of connections from an attempt. `wanted` is the desired number of connections, and
    /// `open` is the number of open ones.
    pub(super) fn learn_connections(
        &mut self,
        evidence: &Evidence,
        open: usize,
        wanted: usize,
        now: Duration,
    ) {
        match evidence {
            Evidence::Outage(Outage::ConnectionLimit(_)) => {
                self.connections.connection_rejected(open, wanted, now);
            }
            Evidence::Accepted => self.connections.works(open),
            _ => {}
        }
    }

    /// Learns the rate from an attempt. `resumed` means that the server accepts mail again after it asked to
    /// slow down.
    pub(super) fn learn_rate(&mut self, evidence: &Evidence, resumed: bool, now: Duration) {
        if resumed {
            self.rate.resumed(now);
        }
        if *evidence == Evidence::Accepted {
            self.rate.accepted(now);
        }
    }

    /// Whether the server has asked to slow down, and a rate has been learned.
    pub(super) fn has_learned_rate(&self) -> bool {
        self.rate.rate().is_some()
    }

    /// Returns the reason why the worker sends more slowly than it could, if there is one.
    pub(super) fn slowdown(&self) -> Option<String> {
        let rate = self.rate.rate().map(|rate| {
            let minute = (rate * 60.0).round();
            format!("the server defers mail: sending {minute} emails per minute")
        });
        let connections = self
            .connections
            .current()
            .map(|connections| format!("the server accepts no more connections: using {connections}"));
        let reasons: Vec<_> = rate.into_iter().chain(connections).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}
