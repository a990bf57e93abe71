//! How fast a server accepts mail: as many mails in a time, over as many connections.

use std::time::Duration;

use super::rate::Bucket;

/// How long a rate is kept that was learned.
const KEPT: Duration = Duration::from_mins(10);
/// The longest time over which a rate is measured, and how many mails it takes at least.
const MEASURED: Duration = Duration::from_mins(10);
const ENOUGH: u32 = 3;
/// How much faster each accepted mail makes it, as a factor.
const FASTER: f64 = 1.01;
/// The slowest, in mails a second: below, the pauses of the breaker are slow enough.
const SLOWEST: f64 = 0.2;

/// The rate that a server accepts, learned when it asks to slow down.
#[derive(Debug, Default)]
pub(super) struct Pace {
    learned: Option<(Bucket, Duration)>,
    /// How many mails were accepted since when.
    accepted: u32,
    since: Duration,
}

impl Pace {
    /// A mail was accepted.
    pub(super) fn accepted(&mut self, now: Duration) {
        if self.accepted == 0 || now.saturating_sub(self.since) > MEASURED {
            (self.accepted, self.since) = (0, now);
        }
        self.accepted = self.accepted.saturating_add(1);
        if let Some((bucket, until)) = &mut self.learned {
            if now > *until {
                self.learned = None;
            } else {
                let rate = bucket.rate() * FASTER;
                bucket.set_rate(rate, now);
            }
        }
    }

    /// A mail is accepted again after the server had asked to slow down. If enough were accepted since it
    /// last did so, that is its rate.
    pub(super) fn resumed(&mut self, now: Duration) {
        let time = now.saturating_sub(self.since);
        if self.accepted >= ENOUGH && !time.is_zero() && time <= MEASURED {
            let rate = (f64::from(self.accepted) / time.as_secs_f64()).max(SLOWEST);
            self.learned = Some((Bucket::of(rate, now), now + KEPT));
            (self.accepted, self.since) = (0, now);
        }
    }

    /// The rate in mails a second, if one was learned.
    pub(super) fn rate(&self) -> Option<f64> {
        self.learned.as_ref().map(|(bucket, _)| bucket.rate())
    }

    /// The tokens for the mails to come, if there is a limit.
    pub(super) fn bucket(&mut self, now: Duration) -> Option<&mut Bucket> {
        if self.learned.as_ref().is_some_and(|(_, until)| now > *until) {
            self.learned = None;
        }
        self.learned.as_mut().map(|(bucket, _)| bucket)
    }

    /// How long until a mail may leave.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.learned.as_ref().map(|(bucket, _)| bucket.wait())
    }
}

/// How long until one more connection is tried, at first and at most.
const FIRST_WAIT: Duration = Duration::from_mins(1);
const LONGEST_WAIT: Duration = Duration::from_mins(30);

/// How many connections the server accepts at a time, learned when it turns one down while others are open.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    limited: Option<Limited>,
}

#[derive(Debug)]
struct Limited {
    connections: usize,
    raise_at: Duration,
    wait: Duration,
    /// Whether one more is being tried.
    raised: bool,
}

impl Crowd {
    /// Maximum number of connections, of `wanted`.
    pub(super) fn limit(&mut self, wanted: usize, now: Duration) -> usize {
        let Some(limited) = &mut self.limited else {
            return wanted;
        };
        if now >= limited.raise_at {
            limited.connections += 1;
            limited.raised = true;
            limited.raise_at = now + limited.wait;
        }
        limited.connections.min(wanted)
    }

    /// One connection was turned down, of `wanted`, while `open` were open.
    pub(super) fn turned_down(&mut self, open: usize, wanted: usize, now: Duration) {
        let (known, wait) = match &self.limited {
            // Each connection that is tried in vain makes the next one wait for longer.
            Some(limited) if limited.raised => (
                limited.connections.min(wanted),
                (limited.wait * 2).min(LONGEST_WAIT),
            ),
            Some(limited) => (limited.connections.min(wanted), limited.wait),
            None => (wanted, FIRST_WAIT),
        };
        // One less each time, so that however it is counted, it is not tried in a loop.
        let connections = open.min(known.saturating_sub(1)).max(1);
        self.limited = Some(Limited {
            connections,
            raise_at: now + wait,
            wait,
            raised: false,
        });
    }

    /// So many connections are open and work.
    pub(super) fn works(&mut self, open: usize) {
        if let Some(limited) = &mut self.limited {
            limited.connections = limited.connections.max(open);
        }
    }

    /// The limit, if there is one.
    pub(super) fn limited(&self) -> Option<usize> {
        self.limited.as_ref().map(|limited| limited.connections)
    }
}

#[cfg(test)]
mod tests;
