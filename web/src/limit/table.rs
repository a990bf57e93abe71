//! Quota usage per client, in a table with a fixed maximum size.
//!
//! The algorithm is GCRA (ITU-T I.371, annex B). The only state of a client is the time at which its quota
//! will be full again. Each request advances that time by one step, which is the window divided by the quota.
//! A request is rejected if the time would then be more than one window away.
//!
//! The hash of a client selects a bucket of eight slots. A client whose quota is full needs no slot. If a new
//! client finds no free slot, it takes the slot of the client whose quota will be full soonest. The remaining
//! usage of that client is forgotten, and the most active clients stay tracked. A flood of clients therefore
//! costs no additional memory or time. Parts of the table are allocated on first use, so few clients use
//! little memory.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const SLOTS: usize = 8;
/// Maximum number of parts of a table.
const PARTS: usize = 64;

/// Client, and the time at which its quota is full again.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Hash of the client. Its random key prevents deliberate collisions.
    client: u64,
    /// Time at which the quota is full, in nanoseconds since the table was created.
    whole_at: u64,
}

type Bucket = Mutex<[Slot; SLOTS]>;

pub(super) struct Table {
    parts: Box<[OnceLock<Box<[Bucket]>>]>,
    /// Number of buckets in each part. The number of parts and this number are powers of two.
    buckets: usize,
    hasher: RandomState,
    /// Cost of one request, in nanoseconds.
    step: u64,
    /// Maximum time until the quota is full, in nanoseconds.
    most: u64,
    made: Instant,
}

/// Result of counting a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Allowed { remaining: u64, whole_in: Duration },
    Refused { wait: Duration },
}

impl Table {
    /// Creates a table for at least `clients` clients, each of which may make `requests` requests per
    /// `window`.
    pub(super) fn new(requests: u32, window: Duration, clients: usize, now: Instant) -> Self {
        let buckets = (clients / SLOTS).max(1).next_power_of_two();
        let parts = buckets.min(PARTS);
        let step = (nanos(window) / u64::from(requests)).max(1);
        Self {
            parts: std::iter::repeat_with(OnceLock::new).take(parts).collect(),
            buckets: buckets / parts,
            hasher: RandomState::new(),
            step,
            most: step * u64::from(requests),
            made: now,
        }
    }

    /// Counts a request of a client.
    pub(super) fn count(&self, client: &impl Hash, now: Instant) -> Decision {
        let now = nanos(now.saturating_duration_since(self.made));
        let hash = self.hasher.hash_one(client);
        let mut slots = self.bucket(hash).lock().unwrap_or_else(PoisonError::into_inner);
        let at = slots
            .iter()
            .position(|slot| slot.client == hash)
            .or_else(|| (0..SLOTS).min_by_key(|at| slots[*at].whole_at))
            .unwrap_or(0);
        let slot = &mut slots[at];
        if slot.client != hash {
            *slot = Slot {
                client: hash,
                whole_at: 0,
            };
        }
        let whole_at = slot.whole_at.max(now) + self.step;
        let whole_in = whole_at - now;
        if whole_in > self.most {
            return Decision::Refused {
                wait: Duration::from_nanos(whole_in - self.most),
            };
        }
        slot.whole_at = whole_at;
        Decision::Allowed {
            remaining: (self.most - whole_in) / self.step,
            whole_in: Duration::from_nanos(whole_in),
        }
    }

    fn bucket(&self, hash: u64) -> &Bucket {
        // Only the low bits select the part and the bucket, so the top bit is not needed.
        let hash = usize::try_from(hash & u64::MAX >> 1).unwrap_or(0);
        let (part, bucket) = (hash / self.buckets, hash);
        let part = self.parts[part & (self.parts.len() - 1)].get_or_init(|| {
            std::iter::repeat_with(Bucket::default)
                .take(self.buckets)
                .collect()
        });
        &part[bucket & (self.buckets - 1)]
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(decision: Decision) -> bool {
        matches!(decision, Decision::Allowed { .. })
    }

    #[test]
    fn a_quota_may_be_used_at_once_and_comes_back_evenly() {
        let start = Instant::now();
        let table = Table::new(10, Duration::from_mins(1), 100, start);
        for remaining in (0..10).rev() {
            let whole_in = Duration::from_secs(6 * (10 - remaining));
            let expected = Decision::Allowed { remaining, whole_in };
            assert_eq!(table.count(&"a", start), expected);
        }
        let wait = Duration::from_secs(6);
        assert_eq!(table.count(&"a", start), Decision::Refused { wait });
        assert!(allowed(table.count(&"b", start)), "another client");
        let soon = start + Duration::from_millis(5_999);
        let wait = Duration::from_millis(1);
        assert_eq!(
            table.count(&"a", soon),
            Decision::Refused { wait },
            "a rejected request costs nothing"
        );
        assert!(allowed(table.count(&"a", start + Duration::from_secs(6))));
        assert!(!allowed(table.count(&"a", start + Duration::from_secs(6))));
        let rested = start + Duration::from_hours(1);
        let used = (0..20).filter(|_| allowed(table.count(&"a", rested))).count();
        assert_eq!(used, 10, "unused quota does not accumulate");
    }

    #[test]
    fn over_a_long_time_the_rate_is_kept() {
        let start = Instant::now();
        let table = Table::new(100, Duration::from_secs(1), 100, start);
        let asked = (0..100_000).map(|i| start + Duration::from_micros(100 * i));
        let used = asked.filter(|now| allowed(table.count(&"a", *now))).count();
        assert!((1_099..=1_101).contains(&used), "{used} in 10 s");
    }

    /// Size of the allocated buckets, in bytes.
    fn size(table: &Table) -> usize {
        let made = table.parts.iter().filter_map(OnceLock::get);
        made.map(|part| part.len() * size_of::<Bucket>()).sum()
    }

    #[test]
    fn a_hundred_thousand_clients_take_the_memory_of_none_and_each_has_its_quota() {
        let start = Instant::now();
        let table = Table::new(2, Duration::from_mins(1), super::super::CLIENTS, start);
        assert_eq!(size(&table), 0);
        assert!(allowed(table.count(&"one", start)));
        assert!(size(&table) < 64 << 10, "{} bytes for one", size(&table));
        let mut forgiven = 0;
        for expected in [true, true, false] {
            for client in 0..100_000_u32 {
                let answer = allowed(table.count(&client, start));
                assert!(answer || !expected, "{client} has a quota of its own");
                forgiven += u32::from(answer && !expected);
            }
        }
        // Clients are forgotten when more than eight share a bucket.
        assert!(forgiven < 20_000, "{forgiven} were forgotten");
        assert!(size(&table) < 3 << 20, "{} bytes", size(&table));
        assert_eq!(
            size(&table),
            table.parts.len() * table.buckets * size_of::<Bucket>(),
            "the table is fully allocated"
        );
    }

    #[test]
    fn a_flood_of_clients_does_not_make_the_busiest_forgotten() {
        let start = Instant::now();
        let table = Table::new(100, Duration::from_mins(1), 64, start);
        while allowed(table.count(&"busy", start)) {}
        for client in 0..10_000_u32 {
            table.count(&client, start);
        }
        assert!(!allowed(table.count(&"busy", start)));
    }
}
