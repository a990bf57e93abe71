//! Waiting appends are committed together, and each append gets its own answer.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use eventstore::append::MAX_EVENT_BYTES;
use eventstore::{Append, AppendError, AppendQueue, Signal, SystemClock};
use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::json;
use tokio::time::timeout;

use crate::backend::{Backend, SOON, position};
use crate::sample::{append, event, taking};

on_every_backend!(
    appends_that_wait_are_committed_together,
    a_conflict_and_a_taken_claim_in_the_middle_of_a_batch_fail_alone,
    what_only_the_database_refuses_fails_alone,
    large_appends_that_wait_are_all_made,
    a_full_queue_answers_overloaded_at_once,
    shutdown_finishes_what_was_accepted,
);

/// Queues `appends` while commits are blocked, then unblocks commits. Returns the answers in the same order.
async fn waiting_together(
    backend: &Backend,
    queue: &AppendQueue,
    appends: Vec<Append>,
) -> Vec<Result<eventstore::Appended, AppendError>> {
    let held = backend.hold_the_log().await;
    let answers = join_all(appends.into_iter().map(|append| queue.append(append)));
    // All appends are queued at the first poll, before the log is unlocked.
    let (answers, ()) = tokio::join!(answers, async { held.rollback().await.unwrap() });
    answers
}

async fn appends_that_wait_are_committed_together(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    let appends: Vec<_> = (1..=200).map(|n| append(&format!("a{n}"), 1)).collect();
    let answers = waiting_together(&backend, &queue, appends).await;
    for (number, answer) in (1..).zip(&answers) {
        assert_eq!(
            answer.as_ref().unwrap().first,
            position(number),
            "each append has its own position"
        );
    }
    let transactions: HashSet<_> = answers
        .iter()
        .map(|answer| answer.as_ref().unwrap().recorded_at)
        .collect();
    // The worker may take the first appends before the others are queued.
    assert!(transactions.len() <= 2, "{} transactions", transactions.len());
}

async fn a_conflict_and_a_taken_claim_in_the_middle_of_a_batch_fail_alone(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    queue.append(taking("holder", 1, "held")).await.unwrap();
    let appends = vec![
        append("first", 1),
        taking("a", 1, "free"),
        append("holder", 7),
        append("b", 1),
        taking("c", 1, "held"),
        taking("d", 1, "free"),
        append("e", 1),
    ];
    let answers = waiting_together(&backend, &queue, appends).await;
    assert_eq!(answers[0].as_ref().unwrap().first, position(2));
    assert_eq!(answers[1].as_ref().unwrap().first, position(3));
    assert!(matches!(
        answers[2],
        Err(AppendError::Conflict {
            expected: 6,
            actual: 1
        })
    ));
    assert_eq!(answers[3].as_ref().unwrap().first, position(4));
    assert!(matches!(answers[4], Err(AppendError::ClaimTaken)));
    assert!(matches!(answers[5], Err(AppendError::ClaimTaken)));
    assert_eq!(answers[6].as_ref().unwrap().first, position(5));
    assert_eq!(backend.head().await, position(5));
}

async fn what_only_the_database_refuses_fails_alone(backend: Arc<Backend>) {
    backend.migrate().await;
    // A rule of the database that the queue does not know.
    backend
        .execute("CREATE UNIQUE INDEX one_event_a_version ON events (event_version)")
        .await;
    let of = |id: &str, version: &str| {
        let mut event = event(id, 1);
        event.event_version = version.into();
        Append::new(vec![event], Vec::new()).unwrap()
    };
    let queue = backend.queue();
    queue.append(of("a", "1")).await.unwrap();
    let appends = vec![
        of("b", "2"),
        of("c", "3"),
        of("d", "1"),
        of("e", "4"),
        of("f", "5"),
    ];
    let answers = waiting_together(&backend, &queue, appends).await;
    for (answer, number) in answers.iter().zip([Some(2), Some(3), None, Some(4), Some(5)]) {
        match (answer, number) {
            (Ok(appended), Some(number)) => assert_eq!(appended.first, position(number)),
            (Err(AppendError::Unavailable(_)), None) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(backend.head().await, position(5));
}

async fn large_appends_that_wait_are_all_made(backend: Arc<Backend>) {
    backend.migrate().await;
    let of = |id: String, events: u64, bytes: usize| {
        let events = (1..=events).map(|sequence| {
            let mut event = event(&id, sequence);
            event.payload = json!({"text": "x".repeat(bytes)});
            event
        });
        Append::new(events.collect(), Vec::new()).unwrap()
    };
    let queue = backend.queue();
    // 30 MB in total, of which one append has 20 MB. MariaDB accepts 16 MiB in one packet by default.
    let large = MAX_EVENT_BYTES - 1024;
    let mut appends: Vec<_> = (0..40).map(|n| of(format!("a{n}"), 1, large)).collect();
    appends.insert(20, of("many".into(), 80, large));
    // These appends also contain more events than one statement can insert.
    appends.extend((0..80).map(|n| of(format!("b{n}"), 100, 1)));
    let number = appends.len();
    let answers = waiting_together(&backend, &queue, appends).await;
    let transactions: HashSet<_> = answers
        .iter()
        .map(|answer| answer.as_ref().unwrap().recorded_at)
        .collect();
    assert!(transactions.len() <= 2, "{} transactions", transactions.len());
    assert_eq!(answers.len(), number);
    assert_eq!(backend.head().await, position(40 + 80 + 8_000));
}

async fn a_full_queue_answers_overloaded_at_once(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = AppendQueue::start(
        backend.database.clone(),
        Signal::in_process(),
        SystemClock::shared(),
        2,
        1,
    );
    let held = backend.hold_the_log().await;
    // Two appends wait, and the worker has taken at most one append.
    let mut answers: FuturesUnordered<_> = (0..4)
        .map(|n| queue.append(append(&format!("a{n}"), 1)))
        .collect();
    let first = timeout(Duration::from_secs(1), answers.next()).await.unwrap();
    assert!(matches!(first, Some(Err(AppendError::Overloaded))), "{first:?}");

    held.rollback().await.unwrap();
    let rest: Vec<_> = timeout(SOON, answers.collect()).await.unwrap();
    let overloaded = rest
        .iter()
        .filter(|answer| matches!(answer, Err(AppendError::Overloaded)))
        .count();
    assert!(overloaded <= 1);
    assert_eq!(
        rest.iter().flatten().count(),
        3 - overloaded,
        "the waiting appends succeed"
    );
    assert_eq!(
        backend.head().await.get(),
        3 - overloaded as u64,
        "the rejected appends are not written"
    );
    assert!(!queue.is_full());
}

async fn shutdown_finishes_what_was_accepted(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    let held = backend.hold_the_log().await;
    let accepted = join_all((0..50).map(|n| queue.append(append(&format!("a{n}"), 1))));
    let (accepted, (), ()) = tokio::join!(accepted, queue.shutdown(), async {
        let late = queue.append(append("late", 1)).await;
        assert!(matches!(late, Err(AppendError::ShutDown)), "{late:?}");
        held.rollback().await.unwrap();
    });
    assert!(accepted.iter().all(Result::is_ok));
    assert_eq!(backend.head().await, position(50));
    assert!(matches!(
        queue.append(append("later", 1)).await,
        Err(AppendError::ShutDown)
    ));
}
