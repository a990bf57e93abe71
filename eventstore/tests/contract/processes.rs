//! Several processes append while another process follows the log.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{EventLog, Session, Signal};
use testkit::wait_until;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, position};
use crate::follower::Follower;
use crate::program;

on_every_backend!(two_processes_append_20_000_events_and_a_subscriber_misses_and_doubles_none);

const EACH: u64 = 10_000;
const DEADLINE: Duration = Duration::from_mins(1);
const NAME: &str = "follower";

async fn two_processes_append_20_000_events_and_a_subscriber_misses_and_doubles_none(backend: Arc<Backend>) {
    backend.migrate().await;
    backend.create_followed().await;
    // The follower receives no signal, so it reads only when it polls.
    let follower = Follower::default();
    let committed = follower.seen();
    let subscription = follower.subscribe(&backend, NAME, "test", &Signal::in_process());
    backend.run(subscription.with_poll(Duration::from_millis(5)));
    let watching = CancellationToken::new();
    let watch = tokio::spawn(watch_for_gaps(backend.log.clone(), watching.clone()));

    let appenders = ["a", "b"].map(|prefix| {
        let number = EACH.to_string();
        program::start("appender", &[&backend.url, prefix, &number, "64"])
    });
    for appender in &appenders {
        assert_eq!(appender.wait(DEADLINE).await, 0, "{}", appender.log());
    }
    watching.cancel();
    let moments = watch.await.unwrap();
    assert!(moments > 10, "only {moments} reads found events");

    let last = position(2 * EACH);
    assert_eq!(backend.head().await, last);
    wait_until(DEADLINE, "the subscriber has followed", async || {
        backend.checkpoint(NAME).await == Some(last)
    })
    .await;
    wait_until(DEADLINE, "it is notified", async || {
        committed.get().len() >= 20_000
    })
    .await;
    assert!(committed.is_all_up_to(last), "once and in order");
    assert!(backend.followed().await.into_iter().eq(1..=20_000));
    // Each writer's events are in the order in which they were appended.
    let out_of_order = "SELECT COUNT(*) FROM events one JOIN events next \
                        ON next.aggregate_id = one.aggregate_id AND next.aggregate_type = one.aggregate_type \
                        AND next.sequence = one.sequence + 1 AND next.position < one.position";
    assert_eq!(backend.number(out_of_order).await, 0);
    assert_eq!(
        backend
            .number("SELECT COUNT(DISTINCT aggregate_id) FROM events")
            .await,
        128
    );
}

/// Repeatedly reads the table and checks that no position is visible before a smaller position. Returns the
/// number of reads that found new events.
async fn watch_for_gaps(log: EventLog, stop: CancellationToken) -> u32 {
    let (mut seen, mut moments) = (0_i64, 0);
    let mut connection = log.database().reader().await.unwrap();
    while !stop.is_cancelled() {
        let row = connection
            .query("SELECT COUNT(*), COALESCE(MAX(position), 0) FROM events WHERE position > ?")
            .bind(seen)
            .fetch_optional()
            .await
            .unwrap()
            .unwrap();
        let (count, last): (i64, i64) = (row.get(0).unwrap(), row.get(1).unwrap());
        if count > 0 {
            assert_eq!(
                count,
                last - seen,
                "a position after {seen} was seen before a smaller one"
            );
            seen = last;
            moments += 1;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    moments
}
