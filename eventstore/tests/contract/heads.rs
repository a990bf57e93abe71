//! No event is appended after a `log_head` that is not the end of the log. The error says how `log_head` was
//! altered.

use std::sync::Arc;

use eventstore::{AppendError, Dialect};

use crate::backend::{Backend, position};
use crate::sample::append;

on_every_backend!(
    nothing_is_appended_behind_a_head_that_was_altered,
    an_event_that_a_stranger_adds_is_found_at_once,
    an_id_in_another_case_is_named_as_damage_and_harms_no_other,
);

async fn nothing_is_appended_behind_a_head_that_was_altered(backend: Arc<Backend>) {
    backend.migrate().await;
    let empty = [
        (
            "UPDATE log_head SET recorded_at = 4102444800000000",
            "different times",
        ),
        ("UPDATE log_head SET position = 5", "moved ahead"),
        ("UPDATE log_head SET position = -1", "before the first"),
        ("DELETE FROM log_head", "log_head has no row"),
    ];
    let queue = backend.queue();
    refused(&backend, &queue, &empty).await;
    for n in 1..=33 {
        queue.append(append(&format!("a{n}"), 1)).await.unwrap();
    }
    backend
        .execute("CREATE TABLE original_events AS SELECT * FROM events")
        .await;
    let added = "INSERT INTO events SELECT 34, aggregate_type, 'new', sequence, event_type, event_version, payload, \
                 metadata, recorded_at, hash FROM original_events WHERE position = 7";
    let back_whole = "UPDATE log_head SET position = 20, hash = (SELECT hash FROM events WHERE position = 20), \
                      recorded_at = (SELECT recorded_at FROM events WHERE position = 20)";
    let altered = [
        (
            "UPDATE log_head SET recorded_at = 4102444800000000",
            "different times",
        ),
        (
            "UPDATE log_head SET recorded_at = recorded_at - 1",
            "different times",
        ),
        ("UPDATE log_head SET position = 99", "moved ahead"),
        ("UPDATE log_head SET position = 0", "moved back"),
        ("UPDATE log_head SET position = 32", "moved back"),
        (back_whole, "moved back"),
        ("UPDATE log_head SET position = -1", "before the first"),
        (
            "UPDATE log_head SET hash = (SELECT hash FROM events WHERE position = 1)",
            "different hashes",
        ),
        ("DELETE FROM log_head", "log_head has no row"),
        ("DELETE FROM events WHERE position = 33", "moved ahead"),
        (added, "added after"),
    ];
    refused(&backend, &queue, &altered).await;
    let appended = queue.append(append("after all", 1)).await.unwrap();
    assert_eq!(appended.first, position(34));
}

/// Applies each alteration, checks that an append is rejected with the given words, and undoes the
/// alteration.
async fn refused(backend: &Backend, queue: &eventstore::AppendQueue, altered: &[(&str, &str)]) {
    for table in ["events", "log_head"] {
        backend
            .execute(&format!("CREATE TABLE saved_{table} AS SELECT * FROM {table}"))
            .await;
    }
    for (sql, words) in altered {
        assert!(backend.execute(sql).await > 0, "{sql}");
        let events = backend.number("SELECT COUNT(*) FROM events").await;
        let refused = queue.append(append("refused", 1)).await;
        let Err(AppendError::Damaged(error)) = &refused else {
            panic!("{sql}: {refused:?}")
        };
        assert!(error.to_string().contains(words), "{sql}: {error}");
        let checked = backend.log.check_head().await.unwrap_err();
        assert_eq!(checked.to_string(), error.to_string(), "{sql}");
        assert_eq!(
            backend.number("SELECT COUNT(*) FROM events").await,
            events,
            "{sql}"
        );
        for table in ["events", "log_head"] {
            backend.execute(&format!("DELETE FROM {table}")).await;
            backend
                .execute(&format!("INSERT INTO {table} SELECT * FROM saved_{table}"))
                .await;
        }
        backend.log.check_head().await.unwrap();
    }
    for table in ["events", "log_head"] {
        backend.execute(&format!("DROP TABLE saved_{table}")).await;
    }
}

async fn an_event_that_a_stranger_adds_is_found_at_once(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    // The alteration is found even directly after a comparison of the head with the events.
    for n in 1..=20 {
        queue.append(append(&format!("a{n}"), 1)).await.unwrap();
    }
    backend
        .execute(
            "INSERT INTO events SELECT 21, aggregate_type, 'new', sequence, event_type, event_version, payload, \
             metadata, recorded_at, hash FROM (SELECT * FROM events) AS copied WHERE position = 7",
        )
        .await;
    let refused = queue.append(append("refused", 1)).await;
    let Err(AppendError::Damaged(error)) = &refused else {
        panic!("{refused:?}")
    };
    assert!(error.to_string().contains("added after"), "{error}");
    backend.execute("DELETE FROM events WHERE position = 21").await;
    // Two processes append alternately, so neither process knows the head.
    let other = backend.queue();
    for n in 21..=40 {
        let queue = if n % 2 == 0 { &queue } else { &other };
        let appended = queue.append(append(&format!("a{n}"), 1)).await.unwrap();
        assert_eq!(appended.first, position(n));
    }
}

async fn an_id_in_another_case_is_named_as_damage_and_harms_no_other(backend: Arc<Backend>) {
    if backend.database.dialect() == Dialect::Sqlite {
        // SQLite distinguishes the spellings.
        return;
    }
    backend.migrate().await;
    let queue = backend.queue();
    queue.append(append("a", 1)).await.unwrap();
    queue.append(append("b", 1)).await.unwrap();
    for spelled in ["A", "a "] {
        backend
            .execute(&format!(
                "UPDATE events SET aggregate_id = '{spelled}' WHERE position = 1"
            ))
            .await;
        let (damaged, other) = tokio::join!(queue.append(append("a", 2)), queue.append(append("b", 9)));
        assert!(matches!(damaged, Err(AppendError::Damaged(_))), "{damaged:?}");
        assert!(matches!(other, Err(AppendError::Conflict { .. })), "{other:?}");
    }
}
