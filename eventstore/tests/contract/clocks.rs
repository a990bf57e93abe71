//! A wrong clock cannot append events, and a log with wrong times continues with right times.

use std::sync::Arc;
use std::time::Duration;

use eventstore::append::CLOCKS_APART;
use eventstore::chain::Canonical;
use eventstore::verify::{Problem, TimeBreak};
use eventstore::{
    AppendError, AppendOptions, AppendQueue, Clock, Dialect, ManualClock, RecordedEvent, Signal, SystemClock,
    Timestamp, verify,
};

use crate::backend::{Backend, position};
use crate::sample::append;

on_every_backend!(
    an_append_by_a_clock_that_was_set_is_rejected_until_it_is_right_again,
    a_log_that_is_years_ahead_goes_on_with_right_times_and_shows_the_break,
    a_small_step_back_is_damage,
    the_time_of_an_event_by_a_clock_that_was_behind_is_the_last_time_before,
    a_clock_before_the_earliest_possible_time_appends_nothing,
);

const YEAR: Duration = Duration::from_hours(24 * 365);

async fn an_append_by_a_clock_that_was_set_is_rejected_until_it_is_right_again(backend: Arc<Backend>) {
    backend.migrate().await;
    // SQLite has no clock, so the first check needs the time of an earlier event.
    backend.queue().append(append("before", 1)).await.unwrap();
    let right = SystemClock.now();
    let clock = ManualClock::at(right);
    let queue = backend.queue_with(&Signal::in_process(), clock.clone());
    queue.append(append("a", 1)).await.unwrap();
    let past = CLOCKS_APART + Duration::from_mins(2);
    for wrong in [
        right + YEAR * 10,
        right + past,
        right - past,
        right - YEAR * 10,
        Timestamp::from_micros(i64::MAX),
    ] {
        clock.set(wrong);
        let refused = queue.append(append("b", 1)).await;
        assert!(
            matches!(refused, Err(AppendError::ClockWrong(_))),
            "{wrong}: {refused:?}"
        );
        assert_eq!(backend.head().await, position(2));
    }
    clock.set(right);
    let appended = queue.append(append("b", 1)).await.unwrap();
    assert_eq!((appended.first, appended.recorded_at), (position(3), right));
    // Another process, whose clock has been wrong since the process started.
    if backend.database.dialect() == Dialect::MySql {
        let queue = backend.queue_with(&Signal::in_process(), ManualClock::at(right + YEAR));
        let refused = queue.append(append("c", 1)).await;
        assert!(matches!(refused, Err(AppendError::ClockWrong(_))), "{refused:?}");
    }
}

/// Changes the times of the events from position `from` on, and recomputes their hashes. Returns all events.
async fn stain(backend: &Backend, from: usize, time: impl Fn(Timestamp) -> Timestamp) -> Vec<RecordedEvent> {
    let mut events = backend.log.feed(position(0), 100).await.unwrap();
    let mut previous = events[from - 2].hash;
    for event in &mut events[from - 1..] {
        event.recorded_at = time(event.recorded_at);
        event.hash =
            Canonical::of_recorded(event)
                .unwrap()
                .link(&previous, event.position, event.recorded_at);
        previous = event.hash;
        let (hash, at, place) = (event.hash, event.recorded_at.as_micros(), event.position);
        for sql in [
            format!("UPDATE events SET hash = X'{hash}', recorded_at = {at} WHERE position = {place}"),
            format!("UPDATE log_head SET hash = X'{hash}', recorded_at = {at}"),
        ] {
            backend.execute(&sql).await;
        }
    }
    events
}

async fn a_log_that_is_years_ahead_goes_on_with_right_times_and_shows_the_break(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    for id in ["a", "b", "c"] {
        queue.append(append(id, 1)).await.unwrap();
    }
    let stained = stain(&backend, 2, |time| time + YEAR * 10).await;
    let before = SystemClock.now();
    let appended = backend.queue().append(append("d", 1)).await.unwrap();
    assert!((before..=SystemClock.now()).contains(&appended.recorded_at));
    let next = queue.append(append("e", 1)).await.unwrap();
    assert!((appended.recorded_at..=SystemClock.now()).contains(&next.recorded_at));

    let verified = verify(&backend.log, Vec::new(), |_| {}).await.unwrap().unwrap();
    assert_eq!(verified.breaks.count, 1);
    let found = TimeBreak {
        position: position(4),
        before: stained[2].recorded_at,
        after: appended.recorded_at,
    };
    assert_eq!(verified.breaks.first, [found]);
    let log = &backend.log;
    let now = SystemClock.now();
    assert_eq!(
        log.right_time(position(2), now).await.unwrap(),
        Some(appended.recorded_at)
    );
    assert_eq!(log.right_time(position(5), now).await.unwrap(), None);
}

async fn a_small_step_back_is_damage(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    for id in ["a", "b", "c"] {
        queue.append(append(id, 1)).await.unwrap();
    }
    for (back, is_break) in [
        (Duration::from_micros(1), false),
        (CLOCKS_APART, false),
        (CLOCKS_APART + Duration::from_micros(1), true),
    ] {
        let first = backend.log.feed(position(0), 1).await.unwrap()[0].recorded_at;
        stain(&backend, 2, |_| first - back).await;
        match verify(&backend.log, Vec::new(), |_| {}).await.unwrap() {
            Ok(verified) => assert!(is_break && verified.breaks.count == 1, "{back:?}"),
            Err(mismatch) => {
                assert_eq!(
                    (mismatch.position, mismatch.problem),
                    (position(2), Problem::TimeBack)
                );
                assert!(!is_break, "{back:?}");
            }
        }
    }
}

async fn the_time_of_an_event_by_a_clock_that_was_behind_is_the_last_time_before(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    for number in 0..40 {
        queue.append(append(&format!("a{number}"), 1)).await.unwrap();
    }
    let now = SystemClock.now();
    let start = now - Duration::from_hours(1000);
    let right = |number: u64| start + Duration::from_hours(number);
    let time_of = async |number: u64| {
        let events = backend.log.at(&[position(number)]).await.unwrap();
        let event = (position(number), events[0].recorded_at);
        backend
            .log
            .time_not_before_earlier_events(event, now)
            .await
            .unwrap()
    };
    for (number, at) in (1..=40).map(|number| (number, right(number))) {
        let sql = format!(
            "UPDATE events SET recorded_at = {} WHERE position = {number}",
            at.as_micros()
        );
        backend.execute(&sql).await;
    }
    for number in 1..=40 {
        assert_eq!(time_of(number).await, right(number), "no break before {number}");
    }
    // A clock was years behind from 12 to 34, and years ahead from 35 to 36.
    for (positions, micros) in [
        ("position BETWEEN 12 AND 34", "- 1700000000000000"),
        ("position BETWEEN 35 AND 36", "+ 1700000000000000"),
    ] {
        let sql = format!("UPDATE events SET recorded_at = recorded_at {micros} WHERE {positions}");
        backend.execute(&sql).await;
    }
    for number in 1..=40 {
        let time = match number {
            12..=34 => right(11),
            35..=36 => right(number) + Duration::from_secs(1_700_000_000),
            _ => right(number),
        };
        assert_eq!(time_of(number).await, time, "{number}");
    }
}

async fn a_clock_before_the_earliest_possible_time_appends_nothing(backend: Arc<Backend>) {
    backend.migrate().await;
    let right = SystemClock.now();
    backend.queue().append(append("a", 1)).await.unwrap();
    let clock = ManualClock::at(right - YEAR * 54);
    let options = AppendOptions {
        not_before: right - YEAR,
        ..AppendOptions::default()
    };
    let queue = AppendQueue::start_with(
        backend.database.clone(),
        Signal::in_process(),
        clock.clone(),
        options,
    );
    let refused = queue.append(append("b", 1)).await;
    assert!(matches!(refused, Err(AppendError::ClockWrong(_))), "{refused:?}");
    assert_eq!(backend.head().await, position(1));
    clock.set(SystemClock.now());
    queue.append(append("b", 1)).await.unwrap();
}
