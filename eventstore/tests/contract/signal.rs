//! The signal over Redis: a hint that usually arrives but is never required.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{
    Append, AppendQueue, Error, EventLog, Handler, Position, RecordedEvent, RedisServers, Signal,
    Subscription, SystemClock, Transaction,
};
use futures::StreamExt;
use serde_json::{Value, json};
use testkit::{RedisServer, wait_until};
use tokio::time::timeout;

use crate::backend::{Backend, SOON, on_sqlite};
use crate::sample::{append, event};

/// A poll interval longer than any test, so that only the signal can wake the subscription.
pub(crate) const NEVER: Duration = Duration::from_hours(1);
const OFTEN: Duration = Duration::from_millis(20);
/// Maximum delay of a wake-up on a busy machine, far below [`NEVER`].
const WAKE: Duration = Duration::from_secs(2);

const CHANNEL: &str = "things.events";

/// Names of two subscriptions, each like a subscription in another process. `WOKEN` relies on the signal
/// alone, and `POLLING` also polls.
pub(crate) const WOKEN: &str = "woken";
const POLLING: &str = "polling";

/// A handler without effects, so only the checkpoint advances.
struct Idle;

impl Handler for Idle {
    type Error = Error;

    async fn apply(&mut self, _: &mut Transaction<'_>, _: &[RecordedEvent]) -> Result<(), Error> {
        Ok(())
    }
}

impl Backend {
    /// Creates a separate signal, because each process has its own.
    fn signal(&self, redis: &RedisServer) -> Signal {
        self.signal_on(redis, CHANNEL)
    }

    fn signal_on(&self, redis: &RedisServer, channel: &str) -> Signal {
        let (tasks, shutdown) = self.tasks();
        Signal::redis(
            &RedisServers::parse(redis.url(), None).unwrap(),
            channel,
            tasks,
            shutdown,
        )
    }

    pub(crate) fn follow(&self, name: &str, signal: &Signal, poll: Duration) {
        let subscription = Subscription::new(
            name,
            "test",
            // Subscriptions of different processes share no reads.
            EventLog::new(self.database.clone()),
            signal,
            SystemClock::shared(),
            Idle,
        );
        self.run(subscription.with_poll(poll));
    }

    /// Appends until three wake-ups in a row arrive. The first appends may precede the connection of the
    /// listener, and one wake-up may come from the listener itself when it connects.
    pub(crate) async fn append_until_woken(&self, queue: &AppendQueue, prefix: &str) {
        let (mut number, mut woken) = (0, 0);
        wait_until(SOON, "wake-ups arrive", async || {
            number += 1;
            let id = format!("{prefix}{number}");
            let appended = queue.append(append(&id, 1)).await.unwrap();
            let reached = timeout(WAKE, self.reached(WOKEN, appended.last)).await;
            woken = if reached.is_ok() { woken + 1 } else { 0 };
            woken == 3
        })
        .await;
    }

    pub(crate) async fn reached(&self, name: &str, position: Position) {
        while self.checkpoint(name).await < Some(position) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn a_wake_up_arrives_from_another_process_long_before_the_poll() {
    on_sqlite(async |backend: Arc<Backend>| {
        backend.migrate().await;
        let redis = RedisServer::start().await;
        backend.follow(WOKEN, &backend.signal(&redis), NEVER);
        let queue = backend.queue_with(&backend.signal(&redis), SystemClock::shared());
        backend.append_until_woken(&queue, "warm up ").await;
        for n in 0..20 {
            let appended = queue.append(append(&format!("a{n}"), 1)).await.unwrap();
            timeout(WAKE, backend.reached(WOKEN, appended.last))
                .await
                .unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn without_redis_appends_go_on_and_subscriptions_poll_and_when_it_is_back_wake_ups_are_too() {
    on_sqlite(async |backend: Arc<Backend>| {
        backend.migrate().await;
        let mut redis = RedisServer::start().await;
        let theirs = backend.signal(&redis);
        backend.follow(WOKEN, &theirs, NEVER);
        backend.follow(POLLING, &theirs, OFTEN);
        let queue = backend.queue_with(&backend.signal(&redis), SystemClock::shared());
        backend.append_until_woken(&queue, "before ").await;

        redis.kill().await;
        for n in 0..20 {
            let id = format!("without {n}");
            let appended = timeout(WAKE, queue.append(append(&id, 1)))
                .await
                .unwrap()
                .unwrap();
            timeout(WAKE, backend.reached(POLLING, appended.last))
                .await
                .unwrap();
        }
        // The subscription may continue for a while, because it reads again at once after a read that found
        // events.
        let mut more = 0;
        wait_until(WAKE, "it falls behind", async || {
            more += 1;
            queue.append(append(&format!("more {more}"), 1)).await.unwrap();
            backend.checkpoint(WOKEN).await < Some(backend.head().await)
        })
        .await;

        redis.restart().await;
        // The listener wakes the subscription when it reconnects, because Redis does not repeat the missed
        // messages.
        backend.followed_up_to(WOKEN, backend.head().await).await;
        backend.append_until_woken(&queue, "after ").await;
    })
    .await;
}

#[tokio::test]
async fn a_process_may_start_while_redis_is_away() {
    on_sqlite(async |backend: Arc<Backend>| {
        backend.migrate().await;
        let mut redis = RedisServer::start().await;
        redis.kill().await;
        backend.follow(WOKEN, &backend.signal(&redis), NEVER);
        let queue = backend.queue_with(&backend.signal(&redis), SystemClock::shared());
        queue.append(append("a", 1)).await.unwrap();
        redis.restart().await;
        backend.append_until_woken(&queue, "after ").await;
    })
    .await;
}

#[tokio::test]
async fn a_message_says_what_was_appended_and_nothing_of_its_content() {
    on_sqlite(async |backend: Arc<Backend>| {
        backend.migrate().await;
        let redis = RedisServer::start().await;
        let client = redis::Client::open(redis.url()).unwrap();
        let mut listener = client.get_async_pubsub().await.unwrap();
        listener.subscribe(CHANNEL).await.unwrap();
        let queue = backend.queue_with(&backend.signal(&redis), SystemClock::shared());
        let both = vec![event("a", 1), event("a", 2)];
        queue
            .append(Append::new(both, Vec::new()).unwrap())
            .await
            .unwrap();
        queue.append(append("a", 2)).await.unwrap_err();
        queue.append(append("b", 1)).await.unwrap();

        let mut messages = listener.on_message();
        for (position, id, sequence) in [(1, "a", 1), (2, "a", 2), (3, "b", 1)] {
            let message = timeout(SOON, messages.next()).await.unwrap().unwrap();
            let message: Value = serde_json::from_slice(message.get_payload_bytes()).unwrap();
            let expected = json!({
                "position": position, "event_type": "ThingHappened", "aggregate_id": id, "sequence": sequence,
            });
            assert_eq!(message, expected);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_message_of_ours_wakes_and_breaks_nothing() {
    on_sqlite(async |backend: Arc<Backend>| {
        backend.migrate().await;
        let redis = RedisServer::start().await;
        backend.follow(WOKEN, &backend.signal(&redis), NEVER);
        let ours = backend.queue_with(&backend.signal(&redis), SystemClock::shared());
        backend.append_until_woken(&ours, "before ").await;
        // Appends without a message, and then publishes a malformed message.
        let silent = backend.queue();
        let appended = silent.append(append("silent", 1)).await.unwrap();
        assert!(listeners(&redis, CHANNEL).await > 0);
        timeout(WAKE, backend.reached(WOKEN, appended.last))
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test]
async fn signals_on_two_channels_of_one_server_do_not_wake_each_other() {
    on_sqlite(async |backend: Arc<Backend>| {
        const OTHER: &str = "other.events";
        backend.migrate().await;
        let redis = RedisServer::start().await;
        backend.follow(WOKEN, &backend.signal(&redis), NEVER);
        backend.follow(OTHER, &backend.signal_on(&redis, OTHER), NEVER);
        let ours = backend.queue_with(&backend.signal(&redis), SystemClock::shared());
        backend.append_until_woken(&ours, "before ").await;
        wait_until(SOON, "the other subscription listens", async || {
            listeners(&redis, OTHER).await > 0
        })
        .await;
        let mut number = 0;
        wait_until(SOON, "the other subscription stays where it is", async || {
            let before = backend.checkpoint(OTHER).await;
            for _ in 0..10 {
                number += 1;
                let appended = ours.append(append(&format!("a{number}"), 1)).await.unwrap();
                timeout(WAKE, backend.reached(WOKEN, appended.last))
                    .await
                    .unwrap();
            }
            backend.checkpoint(OTHER).await == before
        })
        .await;
        let theirs = backend.queue_with(&backend.signal_on(&redis, OTHER), SystemClock::shared());
        let appended = theirs.append(append("theirs", 1)).await.unwrap();
        timeout(WAKE, backend.reached(OTHER, appended.last))
            .await
            .unwrap();
    })
    .await;
}

/// Publishes a malformed message. Returns the number of its listeners.
async fn listeners(redis: &RedisServer, channel: &str) -> i64 {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("PUBLISH")
        .arg(channel)
        .arg("not \u{0} JSON")
        .query_async(&mut connection)
        .await
        .unwrap()
}
