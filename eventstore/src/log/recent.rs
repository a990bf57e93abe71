//! The last events that the subscriptions of a process have read.
//!
//! The subscriptions of a process read the same events, one shortly after the other. The first reader keeps
//! the events for a moment, so the other readers need neither the database nor the data keys.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::event::{Position, RecordedEvent};

/// Maximum number of events that are kept.
const CAPACITY: usize = 1000;
/// Maximum time for which a subscription waits while another subscription reads.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Time for which an event is kept.
const KEPT_FOR: Duration = Duration::from_millis(500);

/// Events that the subscriptions of a process share.
#[derive(Debug, Default)]
pub(super) struct SharedReads {
    subscriptions: AtomicUsize,
    /// Number of failures of subscriptions. Events that were read before a failure are not used after it.
    failures: AtomicU64,
    /// Locked during a read of the database, so that subscriptions that wake at the same moment read once.
    pub(super) recent: Mutex<RecentEvents>,
}

impl SharedReads {
    /// Adds a subscription.
    pub(super) fn join(&self) {
        self.subscriptions.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether more than one subscription reads the events.
    pub(super) fn are_useful(&self) -> bool {
        self.subscriptions.load(Ordering::Relaxed) > 1
    }

    pub(super) fn note_failure(&self) {
        self.failures.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::SeqCst)
    }
}

/// Consecutive events of the log, with their personal data opened.
#[derive(Debug, Default)]
pub(super) struct RecentEvents {
    /// The events, in order of position, and when each of them was read.
    events: VecDeque<(Instant, RecordedEvent)>,
    /// Number of failures before the events were read.
    failures: u64,
}

impl RecentEvents {
    /// Returns at most `limit` events after `after`, or `None` if the next event is not kept. Drops the
    /// events that were read before the last of `failures`.
    pub(super) fn after(&mut self, after: Position, limit: u32, failures: u64) -> Option<Vec<RecordedEvent>> {
        if self.failures != failures {
            self.events.clear();
            self.failures = failures;
        }
        self.expire();
        let first = self.first()?;
        let skipped = after.next().to_stored().checked_sub(first.to_stored())?;
        let following = self.events.iter().skip(usize::try_from(skipped).ok()?);
        let following: Vec<_> = following
            .take(limit as usize)
            .map(|(_, event)| event.clone())
            .collect();
        (!following.is_empty()).then_some(following)
    }

    /// Keeps events that were just read, which are consecutive. Events from before the kept events are
    /// ignored: their reader is far behind the others.
    pub(super) fn keep(&mut self, read: &[RecordedEvent]) {
        self.expire();
        let (Some(from), now) = (read.first(), Instant::now()) else {
            return;
        };
        let mut new = read;
        if let (Some(first), Some((_, last))) = (self.first(), self.events.back()) {
            if from.position < first {
                return;
            }
            if from.position > last.position.next() {
                self.events.clear();
            } else {
                new = &read[read.partition_point(|event| event.position <= last.position)..];
            }
        }
        self.events.extend(new.iter().map(|event| (now, event.clone())));
        let surplus = self.events.len().saturating_sub(CAPACITY);
        self.events.drain(..surplus);
    }

    /// Drops the events whose time has passed.
    fn expire(&mut self) {
        while self
            .events
            .front()
            .is_some_and(|(read, _)| read.elapsed() >= KEPT_FOR)
        {
            self.events.pop_front();
        }
    }

    fn first(&self) -> Option<Position> {
        self.events.front().map(|(_, first)| first.position)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;
    use crate::event::Hash;

    fn events(positions: std::ops::RangeInclusive<i64>) -> Vec<RecordedEvent> {
        let event = |position| RecordedEvent {
            position: Position::from_stored(position),
            aggregate_type: "counter".to_owned(),
            aggregate_id: "a".to_owned(),
            sequence: position.unsigned_abs(),
            event_type: "Counted".to_owned(),
            event_version: "1.0".to_owned(),
            payload: json!({}),
            metadata: json!({}),
            recorded_at: Timestamp::from_micros(1),
            hash: Hash::default(),
            erased_at: None,
        };
        positions.map(event).collect()
    }

    fn after(recent: &mut RecentEvents, position: i64, limit: u32) -> Option<Vec<i64>> {
        let events = recent.after(Position::from_stored(position), limit, recent.failures)?;
        Some(events.iter().map(|event| event.position.to_stored()).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_gets_the_events_after_its_position_and_nothing_else() {
        let mut recent = RecentEvents::default();
        assert_eq!(after(&mut recent, 0, 10), None);
        recent.keep(&events(11..=13));
        recent.keep(&events(12..=15));
        assert_eq!(after(&mut recent, 10, 10), Some(vec![11, 12, 13, 14, 15]));
        assert_eq!(after(&mut recent, 12, 2), Some(vec![13, 14]));
        for missing in [-1, 0, 9, 15, 16, i64::MAX] {
            assert_eq!(after(&mut recent, missing, 10), None, "{missing}");
        }
        // A reader that is far behind keeps nothing, and a gap ends the kept events.
        recent.keep(&events(1..=3));
        assert_eq!(after(&mut recent, 14, 10), Some(vec![15]));
        recent.keep(&events(20..=21));
        assert_eq!(after(&mut recent, 14, 10), None);
        assert_eq!(after(&mut recent, 19, 10), Some(vec![20, 21]));
        let after_a_failure = recent.after(Position::from_stored(19), 10, 1);
        assert_eq!(after_a_failure, None);
        recent.keep(&events(20..=21));
        assert_eq!(after(&mut recent, 19, 10), Some(vec![20, 21]));
    }

    #[tokio::test(start_paused = true)]
    async fn events_are_kept_for_a_moment_and_only_so_many() {
        let mut recent = RecentEvents::default();
        recent.keep(&events(1..=2));
        tokio::time::advance(KEPT_FOR / 2).await;
        recent.keep(&events(3..=4));
        tokio::time::advance(KEPT_FOR / 2).await;
        assert_eq!(after(&mut recent, 0, 10), None);
        assert_eq!(after(&mut recent, 2, 10), Some(vec![3, 4]));
        recent.keep(&events(5..=1500));
        assert_eq!(recent.events.len(), CAPACITY);
        assert_eq!(after(&mut recent, 1499, 10), Some(vec![1500]));
        tokio::time::advance(KEPT_FOR).await;
        recent.expire();
        assert!(recent.events.is_empty());
    }
}
