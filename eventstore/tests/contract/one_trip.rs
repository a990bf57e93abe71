//! Appends in one round trip: whatever the process assumes about the log, the transaction checks it.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{
    Append, AppendError, AppendQueue, Appended, Clock as _, ManualClock, Signal, SystemClock, verify,
};
use futures::future::join_all;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use testkit::wait_until;
use uuid::Uuid;

use crate::backend::{Backend, SOON, on_mysql, position};
use crate::sample::{append, event, taking};

/// Batches tried in one round trip: committed, and rejected.
#[derive(Debug, PartialEq, Eq)]
struct Tries(u64, u64);

fn tries(backend: &Backend) -> Tries {
    let mut registry = Registry::default();
    backend.database.metrics().register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let of = |outcome: &str| {
        let name = format!("append_one_round_trip_total{{outcome=\"{outcome}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(name.as_str()));
        line.map_or(0, |number| number.parse().unwrap())
    };
    Tries(of("committed"), of("rejected"))
}

/// Migrates, and appends until the queue has seen the log and appends in one round trip.
async fn warm(backend: &Backend, queue: &AppendQueue) -> Tries {
    backend.migrate().await;
    warmed(backend, queue).await
}

async fn warmed(backend: &Backend, queue: &AppendQueue) -> Tries {
    for _ in 0..20 {
        let before = tries(backend);
        queue
            .append(append(&Uuid::from_u128(fastrand::u128(..)).to_string(), 1))
            .await
            .unwrap();
        let after = tries(backend);
        if after.0 > before.0 {
            return after;
        }
    }
    panic!("no append was made in one round trip: {:?}", tries(backend));
}

/// Appends after a change that another process made meanwhile. Checks that an attempt in one round trip was
/// rejected, and that the log has no event of an append that was answered with an error.
async fn append_after(backend: &Backend, queue: &AppendQueue, next: Append) -> Result<Appended, AppendError> {
    let before = tries(backend);
    let events = backend.number("SELECT COUNT(*) FROM events").await;
    let answer = queue.append(next).await;
    assert_eq!(tries(backend), Tries(before.0, before.1 + 1), "{answer:?}");
    let appended = i64::from(answer.is_ok());
    assert_eq!(
        backend.number("SELECT COUNT(*) FROM events").await,
        events + appended
    );
    answer
}

#[tokio::test]
async fn new_aggregates_and_their_claims_are_appended_in_one_round_trip() {
    on_mysql(async |backend: Arc<Backend>| {
        let queue = backend.queue();
        let before = warm(&backend, &queue).await;
        let head = backend.head().await;
        let mut pair = event("pair", 2);
        pair.payload = serde_json::json!({"n": 2});
        let lock = backend.hold_the_log().await;
        let appends = [
            taking("a", 1, "x"),
            taking("b", 1, "x"),
            Append::new(vec![event("pair", 1), pair], Vec::new()).unwrap(),
        ];
        let answers = join_all(appends.into_iter().map(|append| queue.append(append)));
        let (answers, ()) = tokio::join!(answers, async { lock.rollback().await.unwrap() });
        assert_eq!(answers[0].as_ref().unwrap().first, head.next());
        assert!(matches!(answers[1], Err(AppendError::ClaimTaken)), "{answers:?}");
        assert_eq!(answers[2].as_ref().unwrap().last, position(head.get() + 3));
        assert!(tries(&backend).0 > before.0, "{:?}", tries(&backend));
        verify(&backend.log, Vec::new(), |_| {}).await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_event_of_another_process_is_followed() {
    on_mysql(async |backend: Arc<Backend>| {
        let queue = backend.queue();
        warm(&backend, &queue).await;
        let others = AppendQueue::start(
            backend.open().await,
            Signal::in_process(),
            SystemClock::shared(),
            64,
            64,
        );
        let other = others.append(append("other", 1)).await.unwrap();
        let next = append_after(&backend, &queue, append("next", 1)).await.unwrap();
        assert_eq!(next.first, other.last.next());
        assert_eq!(backend.head().await, next.last);
    })
    .await;
}

#[tokio::test]
async fn an_aggregate_that_exists_is_a_conflict_and_a_claim_that_is_held_is_taken() {
    on_mysql(async |backend: Arc<Backend>| {
        let queue = backend.queue();
        backend.migrate().await;
        queue.append(taking("holder", 1, "x")).await.unwrap();
        warmed(&backend, &queue).await;
        let again = append_after(&backend, &queue, append("holder", 1)).await;
        let is_conflict = |answer: &Result<_, _>| {
            matches!(
                answer,
                Err(AppendError::Conflict {
                    expected: 0,
                    actual: 1
                })
            )
        };
        assert!(is_conflict(&again), "{again:?}");
        warmed(&backend, &queue).await;
        let new = append_after(&backend, &queue, append("holder", 1).of_new_aggregate()).await;
        assert!(is_conflict(&new), "{new:?}");
        warmed(&backend, &queue).await;
        let taken = append_after(&backend, &queue, taking("b", 1, "x")).await;
        assert!(matches!(taken, Err(AppendError::ClaimTaken)), "{taken:?}");
    })
    .await;
}

/// Checks that an append is rejected with an error that contains `expected` after `change` was made to the
/// database.
async fn is_rejected_after(change: &str, expected: &str) {
    on_mysql(async |backend: Arc<Backend>| {
        let queue = backend.queue();
        warm(&backend, &queue).await;
        backend.execute(change).await;
        let answer = append_after(&backend, &queue, append("next", 1).by_claim_rules(Some(1))).await;
        let error = answer.unwrap_err().to_string();
        assert!(error.contains(expected), "after {change}: {error}");
    })
    .await;
}

#[tokio::test]
async fn a_changed_rule_of_the_log_is_noticed() {
    let to = "UPDATE log_format SET";
    is_rejected_after(&format!("{to} claims = 2"), "claim rules").await;
    let sealed = format!("{to} format = 2, log_id = REPEAT(X'07', 16)");
    is_rejected_after(&sealed, "format").await;
}

#[tokio::test]
async fn a_missing_head_or_format_is_noticed() {
    is_rejected_after("DELETE FROM log_head", "log_head").await;
    is_rejected_after("DELETE FROM log_format", "log_head").await;
}

#[tokio::test]
async fn a_head_and_a_last_event_that_differ_are_noticed() {
    let position = "(SELECT position FROM log_head)";
    is_rejected_after("UPDATE log_head SET recorded_at = recorded_at - 1", "times").await;
    is_rejected_after("UPDATE log_head SET hash = REPEAT(X'07', 32)", "hashes").await;
    is_rejected_after("UPDATE log_head SET position = position + 1", "moved ahead").await;
    is_rejected_after("UPDATE log_head SET position = position - 1", "moved back").await;
    is_rejected_after(
        &format!("DELETE FROM events WHERE position = {position}"),
        "moved ahead",
    )
    .await;
    let hash = format!("UPDATE events SET hash = REPEAT(X'07', 32) WHERE position = {position}");
    is_rejected_after(&hash, "hashes").await;
    let time = format!("UPDATE events SET recorded_at = recorded_at - 1 WHERE position = {position}");
    is_rejected_after(&time, "times").await;
    let behind = format!(
        "INSERT INTO events SELECT position + 1, aggregate_type, 'behind', sequence, event_type, event_version, payload, \
         metadata, recorded_at, hash FROM events WHERE position = {position}"
    );
    is_rejected_after(&behind, "log").await;
}

#[tokio::test]
async fn a_clock_that_is_set_wrong_is_noticed() {
    on_mysql(async |backend: Arc<Backend>| {
        let clock = ManualClock::at(SystemClock.now());
        let queue = backend.queue_with(&Signal::in_process(), clock.clone());
        backend.migrate().await;
        warmed(&backend, &queue).await;
        clock.advance(Duration::from_mins(6));
        let answer = append_after(&backend, &queue, append("next", 1)).await;
        assert!(matches!(answer, Err(AppendError::ClockWrong(_))), "{answer:?}");
    })
    .await;
}

#[tokio::test]
async fn attempts_become_rare_while_assumptions_are_wrong() {
    on_mysql(async |backend: Arc<Backend>| {
        let queue = backend.queue();
        backend.migrate().await;
        queue.append(taking("holder", 1, "x")).await.unwrap();
        let before = warmed(&backend, &queue).await;
        for number in 0..60 {
            let taken = queue.append(taking(&format!("a{number}"), 1, "x")).await;
            assert!(matches!(taken, Err(AppendError::ClaimTaken)), "{taken:?}");
        }
        let after = tries(&backend);
        assert_eq!(after.0, before.0);
        let rejected = after.1 - before.1;
        assert!((2..=6).contains(&rejected), "{rejected} of 60 attempts");
    })
    .await;
}

#[tokio::test]
async fn an_event_far_behind_the_head_is_noticed_while_appends_go_on() {
    on_mysql(async |backend: Arc<Backend>| {
        let queue = backend.queue();
        warm(&backend, &queue).await;
        backend
            .execute(
                "INSERT INTO events SELECT position + 1000, aggregate_type, 'behind', sequence, event_type, event_version, \
                 payload, metadata, recorded_at, hash FROM events WHERE position = (SELECT position FROM log_head)",
            )
            .await;
        wait_until(SOON, "the event is noticed", async || {
            let next = append(&Uuid::from_u128(fastrand::u128(..)).to_string(), 1);
            match queue.append(next).await {
                Ok(_) => false,
                Err(AppendError::Damaged(_)) => true,
                Err(error) => panic!("{error}"),
            }
        })
        .await;
        let appended = backend.number("SELECT position FROM log_head").await;
        assert!(appended < 1000, "{appended}");
    })
    .await;
}
