//! Positions, sequences and times of appended events.

use std::sync::Arc;
use std::time::Duration;

use eventstore::append::MAX_EVENT_DEPTH;
use eventstore::{
    Append, AppendError, AppendQueue, Clock, ManualClock, NewEvent, Signal, SystemClock, Timestamp,
};
use futures::future::join_all;
use serde_json::json;

use crate::backend::{Backend, position};
use crate::sample::{append, event};

on_every_backend!(
    positions_are_gapless_from_1_in_the_order_of_the_appends,
    an_append_of_several_events_is_made_whole_or_not_at_all,
    an_unexpected_sequence_is_a_conflict_that_says_what_was_found,
    recorded_at_never_goes_back_even_when_the_clock_does,
    two_processes_share_one_order,
    what_is_nested_as_deep_as_allowed_can_be_stored_and_read_back,
);

async fn positions_are_gapless_from_1_in_the_order_of_the_appends(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    for number in 1..=5 {
        let appended = queue.append(append(&format!("a{number}"), 1)).await.unwrap();
        assert_eq!(
            (appended.first, appended.last),
            (position(number), position(number))
        );
        assert_eq!(backend.head().await, position(number));
    }
    // A rejected append uses no position.
    queue.append(append("a1", 1)).await.unwrap_err();
    let appended = queue.append(append("a1", 2)).await.unwrap();
    assert_eq!(appended.first, position(6));
    let stored = backend
        .numbers("SELECT position FROM events ORDER BY position")
        .await;
    assert_eq!(stored, [1, 2, 3, 4, 5, 6]);
}

async fn an_append_of_several_events_is_made_whole_or_not_at_all(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    let of = |from: u64, to: u64| {
        let events = (from..=to).map(|sequence| event("a", sequence)).collect();
        Append::new(events, Vec::new()).unwrap()
    };
    let appended = queue.append(of(1, 3)).await.unwrap();
    assert_eq!((appended.first, appended.last), (position(1), position(3)));
    let refused = queue.append(of(3, 5)).await;
    assert!(
        matches!(
            refused,
            Err(AppendError::Conflict {
                expected: 2,
                actual: 3
            })
        ),
        "{refused:?}"
    );
    assert_eq!(backend.head().await, position(3));
    let appended = queue.append(of(4, 100)).await.unwrap();
    assert_eq!((appended.first, appended.last), (position(4), position(100)));
    assert_eq!(backend.number("SELECT COUNT(*) FROM events").await, 100);
}

async fn an_unexpected_sequence_is_a_conflict_that_says_what_was_found(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    queue.append(append("a", 1)).await.unwrap();
    queue.append(append("a", 2)).await.unwrap();
    for (sequence, expected) in [(2, 1), (1, 0), (4, 3)] {
        let refused = queue.append(append("a", sequence)).await;
        assert!(
            matches!(refused, Err(AppendError::Conflict { expected: e, actual: 2 }) if e == expected),
            "{refused:?}"
        );
    }
    // The same id with another aggregate type is another aggregate.
    let mut other = event("a", 1);
    other.aggregate_type = "another".into();
    queue
        .append(Append::new(vec![other], Vec::new()).unwrap())
        .await
        .unwrap();
}

async fn recorded_at_never_goes_back_even_when_the_clock_does(backend: Arc<Backend>) {
    backend.migrate().await;
    let start = SystemClock.now();
    let clock = ManualClock::at(start);
    let queue = backend.queue_with(&Signal::in_process(), clock.clone());
    let second = |n: i64| Timestamp::from_micros(start.as_micros() + n * 1_000_000);
    let mut recorded = Vec::new();
    for (n, now) in [0, -100, -1, 60].into_iter().enumerate() {
        clock.set(second(now));
        let appended = queue.append(append(&format!("a{n}"), 1)).await.unwrap();
        recorded.push(appended.recorded_at);
    }
    assert_eq!(recorded, [second(0), second(0), second(0), second(60)]);
    // Recorded times do not go back either if a process with another clock appends.
    let late = ManualClock::at(clock.now() - Duration::from_secs(1));
    let other = AppendQueue::start(backend.open().await, Signal::in_process(), late, 10, 10);
    let appended = other.append(append("b", 1)).await.unwrap();
    assert_eq!(appended.recorded_at, clock.now());
    let stored = backend
        .numbers("SELECT recorded_at FROM events ORDER BY position")
        .await;
    let expected = [0, 0, 0, 60, 60].map(|n| second(n).as_micros());
    assert_eq!(stored, expected);
    assert_eq!(backend.log.head().await.unwrap().recorded_at, clock.now());
}

async fn two_processes_share_one_order(backend: Arc<Backend>) {
    backend.migrate().await;
    let other = AppendQueue::start(
        backend.open().await,
        Signal::in_process(),
        SystemClock::shared(),
        1024,
        16,
    );
    let queues = [("a", backend.queue()), ("b", other)];
    let appends = queues
        .iter()
        .flat_map(|(prefix, queue)| (0..150).map(move |n| queue.append(append(&format!("{prefix}{n}"), 1))));
    let mut positions: Vec<u64> = join_all(appends)
        .await
        .into_iter()
        .map(|appended| appended.unwrap().first.get())
        .collect();
    positions.sort_unstable();
    assert!(positions.into_iter().eq(1..=300));
    assert_eq!(backend.head().await, position(300));
}

async fn what_is_nested_as_deep_as_allowed_can_be_stored_and_read_back(backend: Arc<Backend>) {
    backend.migrate().await;
    let nested = |levels: usize| {
        let mut event = event("a", 1);
        event.payload = (0..levels).fold(json!("core"), |inner, level| match level % 2 {
            0 => json!([inner]),
            _ => json!({ "inner": inner }),
        });
        event.metadata = event.payload.clone();
        event
    };
    for levels in [MAX_EVENT_DEPTH + 1, 100, 127, 128, 1000] {
        let refused = Append::new(vec![nested(levels)], Vec::new());
        assert!(matches!(refused, Err(AppendError::Invalid(_))), "{levels} levels");
    }
    let deepest = nested(MAX_EVENT_DEPTH);
    let append = Append::new(vec![deepest.clone()], Vec::new()).unwrap();
    backend.queue().append(append).await.unwrap();
    let read = backend.log.feed(position(0), 10).await.unwrap();
    assert_eq!(read[0].payload, deepest.payload);
    assert_eq!(read[0].metadata, deepest.metadata);
}

#[test]
fn an_integer_that_the_chain_could_not_tell_from_another_is_refused() {
    let saying = |number: i64| NewEvent {
        payload: json!({"numbers": [number]}),
        ..event("a", 1)
    };
    let largest = (1 << 53) - 1;
    for (number, taken) in [
        (largest, true),
        (-largest, true),
        (largest + 1, false),
        (-largest - 1, false),
    ] {
        let append = Append::new(vec![saying(number)], Vec::new());
        assert_eq!(append.is_ok(), taken, "{number}");
    }
}
