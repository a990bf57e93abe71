//! The clock for appends, and how it is checked.
//!
//! A wrong time must not enter the log, because every later event would inherit it. MySQL and MariaDB return
//! the database's time in the round trip that locks the head. SQLite has no clock of its own, so this
//! machine's clock is compared with the monotonic clock of the process, which cannot be set. On every
//! database, a clock before [`AppendOptions::not_before`](super::AppendOptions::not_before) is wrong.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::log::EventLog;
use crate::metrics::Metrics;

/// Maximum difference between a clock and its reference. The head of the log may be ahead of the reference by
/// the same amount.
pub const CLOCKS_APART: Duration = Duration::from_mins(5);

/// How long an adjusted clock must agree with the monotonic clock before the adjusted clock is trusted again.
/// A suspended machine looks like a machine whose clock was adjusted, so an adjustment must not stop appends
/// forever.
const SETTLED_AFTER: Duration = Duration::from_mins(5);
/// Maximum step that is trusted after [`SETTLED_AFTER`]. A wrong time zone causes a smaller step, and a wrong
/// year causes a larger step. After a larger step, the clock must be corrected or the process restarted.
const LARGEST_STEP: Duration = Duration::from_hours(24 * 31);

/// A time that passed the check.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checked {
    /// Time of this process.
    now: Timestamp,
    /// Reference time that the process time was compared with.
    reference: Timestamp,
}

impl Checked {
    /// Returns the time at which to record the next event after a last event recorded at `head`. The result
    /// is not before `head`, unless `head` is too far ahead of the reference.
    pub(super) fn after(self, head: Timestamp) -> Timestamp {
        if head <= self.reference + CLOCKS_APART {
            self.now.max(head)
        } else {
            self.now.min(self.reference)
        }
    }
}

/// The clock of an append queue. Clones share the state of the comparison.
#[derive(Debug, Clone)]
pub(super) struct CheckedClock {
    clock: Arc<dyn Clock>,
    /// Time before which this clock and the database's clock are certainly wrong.
    not_before: Timestamp,
    monotonic: Arc<Mutex<Option<Monotonic>>>,
    metrics: Metrics,
}

impl CheckedClock {
    pub(super) fn new(clock: Arc<dyn Clock>, not_before: Timestamp, metrics: Metrics) -> Self {
        Self {
            clock,
            not_before,
            monotonic: Arc::default(),
            metrics,
        }
    }

    /// Returns the current time after checking it against `not_before`, and against the database's time or,
    /// if there is no database time, against the monotonic clock. `head` is the time of the last event.
    pub(super) fn now(&self, database: Option<Timestamp>, head: Timestamp) -> Result<Checked> {
        let now = self.possible()?;
        let Some(database) = database else {
            let elapsed = self.clock.monotonic();
            let mut monotonic = self.monotonic();
            let monotonic = monotonic.get_or_insert(Monotonic {
                start: now - elapsed,
                earliest: head - elapsed,
                set: None,
            });
            return self.against_monotonic(now, monotonic);
        };
        self.metrics.clock_offset(now.micros_after(database));
        check(now, database)?;
        Ok(Checked {
            now,
            reference: database,
        })
    }

    /// Returns the time at which to record the next event after a last event recorded at `head`. The time is
    /// valid only if the database's clock turns out to be within [`CLOCKS_APART`] of it. Returns `None` if
    /// the last event is ahead of this clock, or if this clock is certainly wrong.
    pub(super) fn unchecked(&self, head: Timestamp) -> Option<Timestamp> {
        let now = self.clock.now();
        (now >= head.max(self.not_before)).then_some(now)
    }

    /// Checks the clock as far as that is possible without a database: against `not_before` and, after the
    /// first append on SQLite, against the monotonic clock.
    pub(super) fn check(&self) -> Result<()> {
        let now = self.possible()?;
        match self.monotonic().as_mut() {
            Some(monotonic) => self.against_monotonic(now, monotonic).map(drop),
            None => Ok(()),
        }
    }

    /// Returns the current time after checking it against `not_before`.
    fn possible(&self) -> Result<Timestamp> {
        let now = self.clock.now();
        if now < self.not_before {
            let ahead = now.micros_after(self.not_before);
            self.metrics.clock_offset(ahead);
            return Err(wrong(ahead, "the earliest possible time"));
        }
        Ok(now)
    }

    fn monotonic(&self) -> MutexGuard<'_, Option<Monotonic>> {
        self.monotonic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn against_monotonic(&self, now: Timestamp, monotonic: &mut Monotonic) -> Result<Checked> {
        let elapsed = self.clock.monotonic();
        let start = now - elapsed;
        let ahead = start.micros_after(monotonic.start);
        self.metrics.clock_offset(ahead);
        if is_apart(ahead) && !monotonic.believes(start, elapsed) {
            return Err(wrong(ahead, "this process's monotonic clock"));
        }
        monotonic.start = start;
        monotonic.set = None;
        Ok(Checked { now, reference: now })
    }
}

/// State for comparing the clock with the monotonic clock. Both advance at the same pace, so the time at
/// which the monotonic clock was zero stays the same until the clock is adjusted.
#[derive(Debug)]
struct Monotonic {
    /// Time at which the monotonic clock was zero, according to the clock at the last append.
    start: Timestamp,
    /// Earliest possible `start`, from the last event before the first append of this process.
    earliest: Timestamp,
    /// `start` according to a clock that has been adjusted since, and the monotonic time at which the change
    /// was noticed.
    set: Option<(Timestamp, Duration)>,
}

impl Monotonic {
    /// Whether an adjusted clock can now be trusted.
    fn believes(&mut self, start: Timestamp, elapsed: Duration) -> bool {
        let ahead = start.micros_after(self.start);
        // The clock was ahead when the process started, and has been corrected.
        if ahead < 0 && !is_apart(self.earliest.micros_after(start).max(0)) {
            return true;
        }
        match self.set {
            Some((settled, since)) if !is_apart(start.micros_after(settled)) => {
                elapsed.saturating_sub(since) >= SETTLED_AFTER
                    && Duration::from_micros(ahead.unsigned_abs()) <= LARGEST_STEP
            }
            _ => {
                self.set = Some((start, elapsed));
                false
            }
        }
    }
}

impl EventLog {
    /// Checks that `clock` agrees with the database clock closely enough for appends to be accepted. On
    /// SQLite, which has no clock to compare with, the check always succeeds.
    ///
    /// # Errors
    ///
    /// [`Error::ClockWrong`] if the clocks disagree, [`Error::Database`], [`Error::Timeout`].
    pub async fn check_clock(&self, clock: &dyn Clock) -> Result<()> {
        let database = self.database_time().await?;
        database.map_or(Ok(()), |database| check(clock.now(), database))
    }
}

/// Checks that `now` is close enough to the time of the database.
fn check(now: Timestamp, database: Timestamp) -> Result<()> {
    let ahead = now.micros_after(database);
    if is_apart(ahead) {
        return Err(wrong(ahead, "the database's clock"));
    }
    Ok(())
}

fn is_apart(micros: i64) -> bool {
    Duration::from_micros(micros.unsigned_abs()) > CLOCKS_APART
}

fn wrong(ahead: i64, of: &'static str) -> Error {
    Error::ClockWrong {
        seconds: ahead / 1_000_000,
        of,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const MINUTE: Duration = Duration::from_mins(1);
    const DAY: Duration = Duration::from_hours(24);
    const YEAR: Duration = Duration::from_hours(24 * 365);

    fn noon() -> Timestamp {
        "2026-11-27T12:00:00Z".parse().unwrap()
    }

    fn clock_at(now: Timestamp) -> (Arc<ManualClock>, CheckedClock) {
        let clock = ManualClock::at(now);
        let checked = CheckedClock::new(
            Arc::clone(&clock) as Arc<dyn Clock>,
            Timestamp::EARLIEST,
            Metrics::default(),
        );
        (clock, checked)
    }

    #[test]
    fn a_clock_is_right_up_to_five_minutes_from_that_of_the_database() {
        let (clock, checked) = clock_at(noon());
        for (now, right) in [
            (noon() + CLOCKS_APART, true),
            (noon() - CLOCKS_APART, true),
            (noon() + CLOCKS_APART + Duration::from_micros(1), false),
            (noon() - CLOCKS_APART - Duration::from_micros(1), false),
            (noon() + YEAR * 10, false),
            (Timestamp::from_micros(0), false),
            (Timestamp::from_micros(i64::MAX), false),
            (Timestamp::from_micros(i64::MIN), false),
            (noon(), true),
        ] {
            clock.set(now);
            let outcome = checked.now(Some(noon()), Timestamp::default());
            assert_eq!(outcome.is_ok(), right, "{now}: {outcome:?}");
        }
    }

    #[test]
    fn an_event_inherits_five_minutes_at_most_and_after_more_time_goes_back_to_the_right_one() {
        for (now, reference) in [
            (noon(), noon()),
            (noon() - CLOCKS_APART, noon()),
            (noon() + MINUTE, noon()),
        ] {
            let checked = Checked { now, reference };
            assert_eq!(checked.after(noon() - MINUTE * 9), now);
            assert_eq!(checked.after(noon() + CLOCKS_APART), noon() + CLOCKS_APART);
            for head in [
                noon() + CLOCKS_APART + Duration::from_micros(1),
                noon() + YEAR * 10,
            ] {
                let recorded = checked.after(head);
                assert!(
                    recorded <= noon() && head.since(recorded) > CLOCKS_APART,
                    "{head}: {recorded}"
                );
            }
        }
    }

    #[test]
    fn without_a_clock_of_the_database_a_step_is_not_believed_until_it_is_undone() {
        for step in [Duration::from_hours(1), YEAR * 10] {
            let (clock, checked) = clock_at(noon());
            checked.now(None, noon() - MINUTE).unwrap();
            clock.set(noon() + step);
            assert!(checked.now(None, noon()).is_err(), "forward by {step:?}");
            clock.set(noon() - step);
            assert!(checked.now(None, noon()).is_err(), "back by {step:?}");
            clock.set(noon() + MINUTE);
            assert!(checked.now(None, noon()).is_ok());
        }
    }

    #[test]
    fn a_step_as_of_a_machine_that_slept_is_believed_when_it_has_lasted_and_another_year_never() {
        for (step, believed) in [(Duration::from_hours(12), true), (DAY * 3, true), (YEAR, false)] {
            let (clock, checked) = clock_at(noon());
            checked.now(None, noon()).unwrap();
            clock.set(noon() + step);
            assert!(checked.now(None, noon()).is_err());
            clock.advance(SETTLED_AFTER.checked_sub(MINUTE).unwrap());
            assert!(checked.now(None, noon()).is_err());
            clock.advance(MINUTE);
            assert_eq!(checked.now(None, noon()).is_ok(), believed, "{step:?}");
        }
    }

    #[test]
    fn a_process_that_started_with_a_clock_ahead_goes_on_as_soon_as_that_is_set_right() {
        for head in [Timestamp::default(), noon() - MINUTE] {
            let (clock, checked) = clock_at(noon() + YEAR * 10);
            let stained = checked.now(None, head).unwrap().after(head);
            assert_eq!(stained, noon() + YEAR * 10);
            clock.set(noon());
            assert_eq!(checked.now(None, stained).unwrap().after(stained), noon());
            assert!(checked.now(None, noon()).is_ok());
        }
    }

    #[test]
    fn a_clock_before_the_earliest_possible_time_is_wrong_and_then_needs_no_restart() {
        for database in [None, Some(Duration::ZERO), Some(MINUTE)] {
            let (clock, mut checked) = clock_at(noon() - YEAR * 54);
            checked.not_before = noon() - DAY;
            let head = noon() - MINUTE;
            for wrong in [noon() - YEAR * 54, noon() - DAY - Duration::from_micros(1)] {
                clock.set(wrong);
                // The database's clock may be wrong too.
                assert!(
                    checked.now(database.map(|by| wrong + by), head).is_err(),
                    "{wrong}"
                );
                assert_eq!(checked.unchecked(Timestamp::EARLIEST), None, "{wrong}");
            }
            clock.set(noon());
            let now = checked.now(database.map(|by| noon() + by), head).unwrap();
            assert_eq!(now.after(head), noon());
            assert_eq!(checked.unchecked(head), Some(noon()));
        }
    }
}
