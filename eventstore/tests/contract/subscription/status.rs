//! Status of a subscription: owner, lag and failures, also with wrong checkpoints and clocks.

use std::sync::Arc;
use std::time::Duration;

use eventstore::subscription::failure;
use eventstore::{Clock, Position, Signal, SubscriptionStatus, SystemClock};
use testkit::wait_until;

use crate::backend::{Backend, SOON, position};
use crate::follower::Follower;
use crate::sample::append;

use super::{NAME, OFTEN, append_all};

on_every_backend!(
    the_status_says_who_owns_it_and_what_waits,
    a_checkpoint_that_cannot_be_true_stops_the_subscription_and_is_never_no_lag,
    a_lease_or_a_failure_noted_by_a_clock_that_was_ahead_hides_nothing,
);

async fn the_status_says_who_owns_it_and_what_waits(backend: Arc<Backend>) {
    backend.migrate().await;
    backend.create_followed().await;
    let status = async || {
        let now = SystemClock.now();
        SubscriptionStatus::of(&backend.database, NAME, now)
            .await
            .unwrap()
    };
    let nothing = SubscriptionStatus {
        name: NAME.into(),
        failure: None,
        position: Position::BEGINNING,
        head: Position::BEGINNING,
        owner: None,
        waiting_since: None,
        moved_at: None,
    };
    assert_eq!(status().await, nothing);
    let queue = backend.queue();
    let first = queue.append(append("a", 1)).await.unwrap();
    queue.append(append("b", 1)).await.unwrap();
    let waiting = SubscriptionStatus {
        head: position(2),
        waiting_since: Some(first.recorded_at),
        ..nothing.clone()
    };
    assert_eq!(status().await, waiting);
    let signal = Signal::in_process();
    let stop = backend.run(
        Follower::default()
            .subscribe(&backend, NAME, "me", &signal)
            .with_poll(OFTEN),
    );
    backend.followed_up_to(NAME, position(2)).await;
    let done = SubscriptionStatus {
        name: NAME.into(),
        failure: None,
        position: position(2),
        head: position(2),
        owner: Some("me".into()),
        waiting_since: None,
        moved_at: status().await.moved_at,
    };
    assert_eq!(status().await, done);
    let now = SystemClock.now();
    let moved_at = done.moved_at.unwrap();
    assert!(now.since(moved_at) < SOON);
    // The time of the event is in the future, so the time since the last move of the checkpoint is used.
    let ahead = SubscriptionStatus {
        waiting_since: Some(now + Duration::from_hours(24)),
        ..done
    };
    let later = moved_at + Duration::from_mins(5);
    assert_eq!(ahead.waits(later), Duration::from_mins(5));
    stop.cancel();
    wait_until(SOON, "the lease is released", async || {
        status().await.owner.is_none()
    })
    .await;
}

async fn a_checkpoint_that_cannot_be_true_stops_the_subscription_and_is_never_no_lag(backend: Arc<Backend>) {
    backend.migrate().await;
    backend.create_followed().await;
    let queue = backend.queue();
    let last = append_all(&queue, "a", 3).await;
    let status = async || {
        let now = SystemClock.now();
        SubscriptionStatus::of(&backend.database, NAME, now)
            .await
            .unwrap()
    };
    let signal = Signal::in_process();
    backend.run(
        Follower::default()
            .subscribe(&backend, NAME, "me", &signal)
            .with_poll(OFTEN),
    );
    backend.followed_up_to(NAME, last).await;
    status().await.check().unwrap();
    for wrong in [4, 1000, i64::MAX, -1, i64::MIN] {
        backend
            .execute(&format!(
                "UPDATE checkpoints SET position = {wrong} WHERE name = '{NAME}'"
            ))
            .await;
        append_all(&queue, &format!("b{wrong}"), 1).await;
        let damaged = status().await;
        // After the append, the checkpoint may be within the log again.
        if !(0..=4).contains(&wrong) {
            assert!(damaged.check().is_err(), "{wrong}");
            assert_eq!(damaged.lag(), damaged.head.get(), "{wrong}");
            assert!(damaged.waiting_since.is_some(), "{wrong}");
            let noted = "the failure is recorded";
            wait_until(SOON, noted, async || {
                let failure = status().await.failure;
                failure.is_some_and(|failure| failure.error.contains("is at") && failure.position.is_none())
            })
            .await;
        }
        let head = backend.head().await;
        backend.execute("DELETE FROM followed").await;
        backend
            .execute(&format!(
                "UPDATE checkpoints SET position = {head} WHERE name = '{NAME}'"
            ))
            .await;
        wait_until(SOON, "recovers", async || status().await.failure.is_none()).await;
    }
    let last = append_all(&queue, "c", 2).await;
    backend.followed_up_to(NAME, last).await;
}

async fn a_lease_or_a_failure_noted_by_a_clock_that_was_ahead_hides_nothing(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    let last = append_all(&queue, "a", 1).await;
    let years = Duration::from_hours(24 * 365 * 10);
    let now = SystemClock.now();
    let ahead = (now + years).as_micros();
    for sql in [
        format!("INSERT INTO leases (name, owner, expires_at) VALUES ('{NAME}', 'gone', {ahead})"),
        format!("INSERT INTO checkpoints (name, position, updated_at) VALUES ('{NAME}', 0, {ahead})"),
        format!("UPDATE events SET recorded_at = {ahead} WHERE position = {last}"),
    ] {
        backend.execute(&sql).await;
    }
    failure::record(
        &backend.database,
        NAME,
        Some(last),
        "no",
        now + years,
        Duration::ZERO,
        None,
    )
    .await
    .unwrap();
    let status = async || {
        SubscriptionStatus::of(&backend.database, NAME, now)
            .await
            .unwrap()
    };
    assert_eq!(status().await.owner, None);
    failure::record(
        &backend.database,
        NAME,
        Some(last),
        "no",
        now,
        Duration::ZERO,
        None,
    )
    .await
    .unwrap();
    let minute = Duration::from_mins(1);
    assert_eq!(status().await.waits(now + minute), minute);
}
