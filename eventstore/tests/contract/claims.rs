//! Claims: at most one aggregate holds a claim at a time.

use std::sync::Arc;

use eventstore::{Append, AppendError, AppendQueue, Claim, ClaimChange, Signal, SystemClock};

use crate::backend::Backend;
use crate::sample::{append, event, releasing, taking};

on_every_backend!(
    a_claim_is_held_until_it_is_released,
    an_aggregate_may_take_again_what_it_holds,
    a_release_gives_up_the_named_claim_of_its_aggregate_and_nothing_else,
    of_two_processes_that_race_for_a_claim_exactly_one_gets_it,
);

async fn a_claim_is_held_until_it_is_released(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    queue.append(taking("a", 1, "x")).await.unwrap();
    for id in ["b", "c"] {
        let refused = queue.append(taking(id, 1, "x")).await;
        assert!(matches!(refused, Err(AppendError::ClaimTaken)), "{refused:?}");
    }
    // An append that fails with a conflict releases no claim.
    queue.append(releasing("a", 9, "x")).await.unwrap_err();
    queue.append(taking("b", 1, "x")).await.unwrap_err();

    queue.append(releasing("a", 2, "x")).await.unwrap();
    queue.append(taking("b", 1, "x")).await.unwrap();
    let refused = queue.append(taking("a", 3, "x")).await;
    assert!(matches!(refused, Err(AppendError::ClaimTaken)), "{refused:?}");
    assert_eq!(backend.number("SELECT COUNT(*) FROM claims").await, 1);
    assert_eq!(backend.number("SELECT COUNT(*) FROM events").await, 3);
}

async fn an_aggregate_may_take_again_what_it_holds(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    queue.append(taking("a", 1, "x")).await.unwrap();
    queue.append(taking("a", 2, "x")).await.unwrap();
    // One append can release a claim and take it again.
    let swap = vec![
        ClaimChange::Release(Claim::on("value", "x")),
        ClaimChange::Take(Claim::on("value", "x")),
        ClaimChange::Take(Claim::on("value", "y")),
    ];
    queue
        .append(Append::new(vec![event("a", 3)], swap).unwrap())
        .await
        .unwrap();
    assert_eq!(backend.number("SELECT COUNT(*) FROM claims").await, 2);
}

async fn a_release_gives_up_the_named_claim_of_its_aggregate_and_nothing_else(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    queue.append(taking("a", 1, "x")).await.unwrap();
    queue.append(taking("a", 2, "y")).await.unwrap();
    queue.append(taking("b", 1, "z")).await.unwrap();
    queue.append(append("c", 1)).await.unwrap();
    queue.append(releasing("a", 3, "x")).await.unwrap();
    queue.append(releasing("a", 4, "z")).await.unwrap();
    queue.append(taking("c", 2, "x")).await.unwrap();
    for of_another in ["y", "z"] {
        let refused = queue.append(taking("c", 3, of_another)).await;
        assert!(matches!(refused, Err(AppendError::ClaimTaken)), "{refused:?}");
    }
}

async fn of_two_processes_that_race_for_a_claim_exactly_one_gets_it(backend: Arc<Backend>) {
    backend.migrate().await;
    let a = backend.queue();
    let b = AppendQueue::start(
        backend.open().await,
        Signal::in_process(),
        SystemClock::shared(),
        1024,
        256,
    );
    for round in 0..30 {
        let value = format!("value {round}");
        let (a, b) = tokio::join!(
            a.append(taking(&format!("a{round}"), 1, &value)),
            b.append(taking(&format!("b{round}"), 1, &value)),
        );
        match (&a, &b) {
            (Ok(_), Err(AppendError::ClaimTaken)) | (Err(AppendError::ClaimTaken), Ok(_)) => {}
            both => panic!("{both:?}"),
        }
    }
    assert_eq!(backend.number("SELECT COUNT(*) FROM claims").await, 30);
}
