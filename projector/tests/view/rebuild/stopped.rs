//! Tests of rebuilds that are stopped or cancelled, or that fail, on every backend.

use std::time::Duration;

use eventstore::projection::{Outcome, RebuildError, Step};
use eventstore::{Lease, Position, RebuildState, Runner, SystemClock};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::MANY;
use crate::backend::{Backend, SOON};

on_every_backend! {
    a_stopped_rebuild_resumes_from_its_checkpoint,
    a_second_rebuild_at_the_same_time_is_rejected,
    a_cancelled_rebuild_leaves_no_rows,
    a_cancelled_rebuild_writes_no_more_rows,
    an_event_that_cannot_be_projected_stops_the_rebuild_and_is_recorded,
    a_rebuild_whose_own_checkpoint_is_beyond_the_log_ends_with_an_error,
}

async fn a_stopped_rebuild_resumes_from_its_checkpoint(backend: Backend) {
    backend.register_many().await;
    backend.project().await.unwrap();
    let all = i64::try_from(MANY).unwrap();
    let rebuild = backend.request(Runner::Command).await;
    let filled = backend.fill_one_batch(&rebuild).await;
    assert!(filled > Position::BEGINNING && filled.get() < MANY as u64);
    // The active generation is complete, and the incomplete generation is not served.
    let (generation, rows, ..) = backend.served().await;
    assert_eq!((generation, rows), (1, all));

    let again = backend.request(Runner::Command).await;
    assert_eq!((again.generation, again.position), (2, Some(filled)));
    let mut first = None;
    let stop = CancellationToken::new();
    let rebuilder = backend.rebuilder("second");
    let mut progress = |step| {
        if let Step::Filled { position, .. } = step {
            first.get_or_insert(position);
        }
    };
    let outcome = rebuilder.carry_out(&again, &stop, &mut progress);
    assert_eq!(outcome.await.unwrap(), Outcome::Done);
    assert!(first.unwrap() > filled);
    assert_eq!(backend.served().await, (2, all, all, all));
}

async fn a_second_rebuild_at_the_same_time_is_rejected(backend: Backend) {
    backend.register("a").await;
    backend.project().await.unwrap();
    let rebuild = backend.request(Runner::Command).await;
    let mut lease = Lease::new(
        backend.log().database().clone(),
        SystemClock::shared(),
        rebuild.name.clone(),
        "the first".into(),
        Duration::from_secs(15),
    );
    assert!(lease.hold().await.unwrap());
    assert_eq!(backend.rebuild().await, Outcome::Taken);
    let seen = backend.request(Runner::Command).await;
    assert_eq!(seen.generation, rebuild.generation);
    assert_eq!(seen.owner.as_deref(), Some("the first"));
    assert_eq!(backend.served().await, (1, 1, 1, 1));
    lease.release().await.unwrap();
    assert_eq!(backend.rebuild().await, Outcome::Done);
    assert_eq!(backend.served().await, (2, 1, 1, 1));
}

async fn a_cancelled_rebuild_leaves_no_rows(backend: Backend) {
    backend.register_many().await;
    backend.project().await.unwrap();
    let before = backend.served().await;
    let rebuild = backend.request(Runner::Command).await;
    backend.fill_one_batch(&rebuild).await;
    assert_ne!(backend.served().await, before);
    assert!(rebuild.cancel(backend.log().database()).await.unwrap());
    assert_eq!(backend.rebuild().await, Outcome::Cancelled);
    assert_eq!(backend.served().await, before);
    let over = backend.now(&rebuild).await;
    assert_eq!((over.state, over.position), (RebuildState::Cancelled, None));
    assert!(!rebuild.cancel(backend.log().database()).await.unwrap());
    // The number of the cancelled generation is not reused.
    assert_eq!(backend.request(Runner::Command).await.generation, 3);
}

async fn a_cancelled_rebuild_writes_no_more_rows(backend: Backend) {
    backend.register_many().await;
    let rebuild = backend.request(Runner::Command).await;
    let stop = CancellationToken::new();
    let database = backend.log().database().clone();
    let runtime = tokio::runtime::Handle::current();
    let mut batches = 0;
    let rebuilder = backend.rebuilder("rebuilder");
    let mut progress = |step| {
        if let Step::Filled { .. } = step {
            batches += 1;
            let (database, rebuild) = (database.clone(), rebuild.clone());
            let called_off = runtime.spawn(async move { rebuild.cancel(&database).await.unwrap() });
            // The rebuild does not wait after it reports a step. Wait here, so that the cancellation is
            // visible before the next batch.
            while !called_off.is_finished() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    };
    let outcome = rebuilder.carry_out(&rebuild, &stop, &mut progress);
    let outcome = tokio::task::block_in_place(|| runtime.block_on(outcome));
    assert_eq!(outcome.unwrap(), Outcome::Cancelled);
    assert_eq!(batches, 1);
    assert_eq!(backend.served().await, (1, 0, 0, 0));
}

async fn an_event_that_cannot_be_projected_stops_the_rebuild_and_is_recorded(backend: Backend) {
    for id in ["a", "b"] {
        backend.register(id).await;
    }
    let moved = json!({ "type": "PatientMoved" });
    let unreadable = backend.append("c", 1, "PatientMoved", moved).await;
    backend.register("d").await;
    let rebuild = backend.request(Runner::Command).await;
    let stop = CancellationToken::new();
    let rebuilder = backend.rebuilder("rebuilder");
    for attempts in 1..=2 {
        let error = rebuilder
            .carry_out(&rebuild, &stop, &mut |_| {})
            .await
            .unwrap_err();
        assert!(
            matches!(&error, RebuildError::Stopped { position, .. } if *position == unreadable),
            "{error}"
        );
        let stopped = backend.now(&rebuild).await;
        assert_eq!(
            (stopped.state, stopped.position.map(Position::get)),
            (RebuildState::Filling, Some(2))
        );
        let failure = stopped.failure.unwrap();
        assert_eq!((failure.position, failure.attempts), (Some(unreadable), attempts));
        assert!(
            failure.error.contains("unknown event type PatientMoved"),
            "{}",
            failure.error
        );
    }
    // The new generation was never served.
    assert_eq!(backend.served().await.0, 1);
}

async fn a_rebuild_whose_own_checkpoint_is_beyond_the_log_ends_with_an_error(backend: Backend) {
    backend.register("a").await;
    backend.project().await.unwrap();
    let rebuild = backend.request(Runner::Command).await;
    let stop = CancellationToken::new();
    let sql = format!(
        "UPDATE checkpoints SET position = 99 WHERE name = '{}'",
        rebuild.name
    );
    backend.execute(&sql).await;
    let rebuilder = backend.rebuilder("rebuilder");
    let carried_out = tokio::time::timeout(SOON, rebuilder.carry_out(&rebuild, &stop, &mut |_| {})).await;
    let error = carried_out.unwrap().unwrap_err().to_string();
    assert!(error.contains("beyond the end of the log"), "{error}");
    let sql = format!("DELETE FROM checkpoints WHERE name = '{}'", rebuild.name);
    backend.execute(&sql).await;
    let carried_out = tokio::time::timeout(SOON, rebuilder.carry_out(&rebuild, &stop, &mut |_| {})).await;
    assert!(matches!(carried_out, Ok(Err(RebuildError::NoCheckpoint))));
    assert!(rebuild.cancel(backend.log().database()).await.unwrap());
    let carried_out = rebuilder.carry_out(&rebuild, &stop, &mut |_| {}).await.unwrap();
    assert_eq!(carried_out, Outcome::Cancelled);
}
