//! Reading parts of the log in pages.

use std::sync::Arc;

use eventstore::{Append, Error, EventFilter, Position, RecordedEvent};

use crate::backend::{Backend, position};
use crate::sample::{TYPE, append, event};

on_every_backend!(
    pages_give_every_event_once_and_end_at_the_end,
    a_filter_takes_the_events_of_a_type_or_an_aggregate_or_both,
    a_page_that_looks_for_a_type_passes_over_a_window_and_says_where_it_stopped,
    a_page_says_where_an_event_is_missing,
    a_history_is_read_from_any_sequence_and_says_what_is_missing,
);

fn numbers(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position.get()).collect()
}

/// Returns the positions of the events on each page, from the beginning to `end`.
async fn pages(backend: &Backend, filter: &EventFilter, end: Position, limit: u32) -> Vec<Vec<u64>> {
    let mut pages = Vec::new();
    let mut after = Position::BEGINNING;
    while after < end {
        let page = backend.log.page(filter, after, end, limit).await.unwrap();
        assert!(page.reaches > after && page.reaches <= end);
        after = page.reaches;
        pages.push(numbers(&page.events));
    }
    pages
}

fn of_type(event_type: &str) -> EventFilter {
    EventFilter {
        event_type: Some(event_type.into()),
        aggregate: None,
    }
}

fn of_aggregate(id: &str) -> EventFilter {
    EventFilter {
        event_type: None,
        aggregate: Some((TYPE.into(), id.into())),
    }
}

/// Appends the events a1, b1, a2, b2, a3 and b3 at positions 1 to 6. The events a2 and b3 have another type.
async fn fill(backend: &Backend) {
    backend.migrate().await;
    let queue = backend.queue();
    for (id, sequence, other) in [
        ("a", 1, false),
        ("b", 1, false),
        ("a", 2, true),
        ("b", 2, false),
        ("a", 3, false),
        ("b", 3, true),
    ] {
        let mut event = event(id, sequence);
        if other {
            event.event_type = "ThingEnded".into();
        }
        let append = Append::new(vec![event], Vec::new()).unwrap();
        queue.append(append).await.unwrap();
    }
}

async fn pages_give_every_event_once_and_end_at_the_end(backend: Arc<Backend>) {
    fill(&backend).await;
    let all = EventFilter::default();
    assert_eq!(
        pages(&backend, &all, position(6), 4).await,
        [vec![1, 2, 3, 4], vec![5, 6]]
    );
    // The pages stop at an `end` before the head.
    assert_eq!(
        pages(&backend, &all, position(5), 4).await,
        [vec![1, 2, 3, 4], vec![5]]
    );
    assert_eq!(
        pages(&backend, &all, position(6), 3).await,
        [vec![1, 2, 3], vec![4, 5, 6]]
    );
    let beyond = backend.log.page(&all, position(9), position(6), 3).await.unwrap();
    assert_eq!((numbers(&beyond.events), beyond.reaches), (vec![], position(9)));
}

async fn a_filter_takes_the_events_of_a_type_or_an_aggregate_or_both(backend: Arc<Backend>) {
    fill(&backend).await;
    let events =
        async |filter: EventFilter, end, limit| pages(&backend, &filter, position(end), limit).await.concat();
    for limit in [1, 2, 100] {
        assert_eq!(events(of_type("ThingEnded"), 6, limit).await, [3, 6]);
        assert_eq!(events(of_type("ThingEnded"), 5, limit).await, [3]);
        assert!(events(of_type("Nothing"), 6, limit).await.is_empty());
        assert_eq!(events(of_aggregate("a"), 6, limit).await, [1, 3, 5]);
        assert_eq!(events(of_aggregate("a"), 3, limit).await, [1, 3]);
        assert!(events(of_aggregate("c"), 6, limit).await.is_empty());
        let both = EventFilter {
            event_type: Some("ThingHappened".into()),
            ..of_aggregate("b")
        };
        assert_eq!(events(both, 6, limit).await, [2, 4]);
    }
    let other = EventFilter {
        event_type: None,
        aggregate: Some(("another".into(), "a".into())),
    };
    assert!(events(other, 6, 100).await.is_empty());
}

async fn a_page_that_looks_for_a_type_passes_over_a_window_and_says_where_it_stopped(backend: Arc<Backend>) {
    fill(&backend).await;
    // Simulates a log that is longer than the window.
    let end = position(eventstore::log::WINDOW + 3);
    let filter = of_type("ThingEnded");
    let page = backend.log.page(&filter, position(1), end, 100).await.unwrap();
    assert_eq!(numbers(&page.events), [3, 6]);
    assert_eq!(page.reaches, position(eventstore::log::WINDOW + 1));
    let rest = backend.log.page(&filter, page.reaches, end, 100).await.unwrap();
    assert_eq!((rest.events.len(), rest.reaches), (0, end));
}

async fn a_page_says_where_an_event_is_missing(backend: Arc<Backend>) {
    fill(&backend).await;
    let missing = async |after, end| {
        let read = backend
            .log
            .page(&EventFilter::default(), position(after), position(end), 100)
            .await;
        match read {
            Err(Error::Damaged { position, .. }) => Some(position.get()),
            _ => None,
        }
    };
    backend.execute("DELETE FROM events WHERE position = 3").await;
    assert_eq!(missing(0, 6).await, Some(3));
    assert_eq!(missing(3, 6).await, None);
    // A missing last event is found too, because `end` includes its position.
    backend.execute("DELETE FROM events WHERE position = 6").await;
    assert_eq!(missing(3, 6).await, Some(6));
    assert_eq!(missing(5, 6).await, Some(6));
}

async fn a_history_is_read_from_any_sequence_and_says_what_is_missing(backend: Arc<Backend>) {
    fill(&backend).await;
    let log = &backend.log;
    let history = async |id: &str, after, limit| log.history(TYPE, id, after, limit).await;
    assert_eq!(numbers(&history("a", 0, 100).await.unwrap()), [1, 3, 5]);
    assert_eq!(numbers(&history("a", 0, 2).await.unwrap()), [1, 3]);
    assert_eq!(numbers(&history("a", 2, 2).await.unwrap()), [5]);
    assert!(history("a", u64::MAX, 2).await.unwrap().is_empty());
    assert!(history("c", 0, 2).await.unwrap().is_empty());
    assert!(log.history("another", "a", 0, 2).await.unwrap().is_empty());

    backend.execute("DELETE FROM events WHERE position = 3").await;
    let read = history("a", 0, 100).await;
    assert!(
        matches!(read, Err(Error::Damaged { position: p, .. }) if p == position(5)),
        "{read:?}"
    );
    // The events before the gap can still be read.
    assert_eq!(numbers(&history("a", 0, 1).await.unwrap()), [1]);
    backend.queue().append(append("c", 1)).await.unwrap();
    assert_eq!(numbers(&history("c", 0, 1).await.unwrap()), [7]);
}
