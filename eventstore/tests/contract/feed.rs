//! Reading the log through the feed.

use std::sync::Arc;

use eventstore::{Append, Error, EventLog, Position};

use crate::backend::{Backend, position};
use crate::sample::{TYPE, append, event};

on_every_backend!(
    the_feed_gives_every_event_after_a_position_page_by_page,
    the_feed_gives_back_what_was_appended,
    the_feed_says_where_an_event_is_missing,
    events_are_found_by_position_and_by_aggregate,
    before_the_first_migration_the_log_says_so,
);

fn numbers(events: &[eventstore::RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position.get()).collect()
}

async fn the_feed_gives_every_event_after_a_position_page_by_page(backend: Arc<Backend>) {
    backend.migrate().await;
    let head = backend.log.head().await.unwrap();
    assert_eq!(head.position, Position::BEGINNING);
    assert!(
        backend
            .log
            .feed(Position::BEGINNING, 10)
            .await
            .unwrap()
            .is_empty()
    );
    let queue = backend.queue();
    for n in 1..=7 {
        queue.append(append(&format!("a{n}"), 1)).await.unwrap();
    }
    let page = async |after| numbers(&backend.log.feed(position(after), 3).await.unwrap());
    assert_eq!(page(0).await, [1, 2, 3]);
    assert_eq!(page(3).await, [4, 5, 6]);
    assert_eq!(page(6).await, [7]);
    assert!(page(7).await.is_empty());
    assert!(page(100).await.is_empty());
    let last = backend.log.feed(position(6), 1).await.unwrap();
    let head = backend.log.head().await.unwrap();
    assert_eq!(
        (head.position, head.hash, head.recorded_at),
        (last[0].position, last[0].hash, last[0].recorded_at)
    );
}

async fn the_feed_gives_back_what_was_appended(backend: Arc<Backend>) {
    backend.migrate().await;
    let new = event("a", 1);
    let appended = backend
        .queue()
        .append(Append::new(vec![new.clone()], Vec::new()).unwrap())
        .await
        .unwrap();
    let read = backend.log.feed(Position::BEGINNING, 10).await.unwrap();
    let read = read.first().unwrap();
    assert_eq!(read.position, appended.first);
    assert_eq!(read.recorded_at, appended.recorded_at);
    assert_eq!(read.aggregate_type, new.aggregate_type);
    assert_eq!(read.aggregate_id, new.aggregate_id);
    assert_eq!(read.sequence, new.sequence);
    assert_eq!(read.event_type, new.event_type);
    assert_eq!(read.event_version, new.event_version);
    assert_eq!(read.payload, new.payload);
    assert_eq!(read.metadata, new.metadata);
}

async fn the_feed_says_where_an_event_is_missing(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    for n in 1..=5 {
        queue.append(append(&format!("a{n}"), 1)).await.unwrap();
    }
    backend.execute("DELETE FROM events WHERE position = 3").await;
    for after in [0, 1, 2] {
        let read = backend.log.feed(position(after), 10).await;
        assert!(
            matches!(read, Err(Error::Damaged { position: p, .. }) if p == position(3)),
            "{read:?}"
        );
    }
    assert_eq!(numbers(&backend.log.feed(position(3), 10).await.unwrap()), [4, 5]);
}

async fn events_are_found_by_position_and_by_aggregate(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    for (id, sequence) in [("a", 1), ("b", 1), ("a", 2), ("c", 1), ("b", 2)] {
        queue.append(append(id, sequence)).await.unwrap();
    }
    let positions = [position(4), position(1), position(99)];
    assert_eq!(numbers(&backend.log.at(&positions).await.unwrap()), [1, 4]);
    assert!(backend.log.at(&[]).await.unwrap().is_empty());

    let mut connection = backend.database.reader().await.unwrap();
    let mut of = async |kind, ids: &[&str], after| {
        numbers(
            &EventLog::events_of(&mut connection, kind, ids, position(after))
                .await
                .unwrap(),
        )
    };
    assert_eq!(of(TYPE, &["a", "b", "z"], 0).await, [1, 2, 3, 5]);
    assert_eq!(of(TYPE, &["a", "b", "z"], 2).await, [3, 5]);
    assert!(of("another", &["a"], 0).await.is_empty());
    assert!(of(TYPE, &[], 0).await.is_empty());
}

async fn before_the_first_migration_the_log_says_so(backend: Arc<Backend>) {
    assert!(matches!(backend.log.head().await, Err(Error::Database(_))));
    backend.migrate().await;
    backend.execute("DELETE FROM log_head").await;
    assert!(matches!(backend.log.head().await, Err(Error::MissingHead)));
    backend.queue().append(append("a", 1)).await.unwrap_err();
}
