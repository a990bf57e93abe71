//! Subscriptions process every event exactly once and in order, even after failures.

mod ownership;
mod status;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventstore::{
    AppendQueue, Clock, Handler, Position, RecordedEvent, Signal, Subscription, SubscriptionStatus,
    SystemClock, Transaction,
};
use futures::future::join_all;
use testkit::wait_until;

use crate::backend::{Backend, SOON, position};
use crate::follower::Follower;
use crate::sample::append;

on_every_backend!(
    every_event_is_applied_once_and_in_order,
    subscriptions_that_share_their_reads_get_the_events_of_the_log,
    polling_alone_is_enough,
    a_subscription_goes_on_from_its_checkpoint,
    a_handler_that_fails_after_writing_leaves_neither_its_rows_nor_the_checkpoint,
    a_failing_event_stops_the_subscription_there_and_is_tried_again,
);

const NAME: &str = "follower";
/// A poll interval longer than any test, so that only the signal can wake the subscription.
const NEVER: Duration = Duration::from_hours(1);
const OFTEN: Duration = Duration::from_millis(20);

async fn append_all(queue: &AppendQueue, prefix: &str, number: usize) -> Position {
    let appends = (0..number).map(|n| queue.append(append(&format!("{prefix}{n}"), 1)));
    let appended = join_all(appends).await;
    appended
        .into_iter()
        .map(|appended| appended.unwrap().last)
        .max()
        .unwrap()
}

async fn every_event_is_applied_once_and_in_order(backend: Arc<Backend>) {
    backend.migrate().await;
    backend.create_followed().await;
    let signal = Signal::in_process();
    let queue = backend.queue_with(&signal, SystemClock::shared());
    // The waiting events fill more than one batch.
    append_all(&queue, "a", 700).await;
    let follower = Follower::default();
    let committed = follower.seen();
    backend.run(follower.subscribe(&backend, NAME, "a", &signal).with_poll(NEVER));
    for burst in 0..10 {
        append_all(&queue, &format!("burst {burst} "), 30).await;
    }
    backend.followed_up_to(NAME, position(1000)).await;
    wait_until(SOON, "it is notified", async || committed.get().len() >= 1000).await;
    assert!(committed.is_all_up_to(position(1000)));
    assert!(backend.followed().await.into_iter().eq(1..=1000));
}

/// Keeps the events, and pauses in every call, so that it is sometimes behind the other subscriptions.
#[derive(Clone, Default)]
struct Recording {
    events: Arc<Mutex<Vec<RecordedEvent>>>,
    pause: Duration,
}

impl Handler for Recording {
    type Error = eventstore::Error;

    async fn apply(&mut self, _: &mut Transaction<'_>, events: &[RecordedEvent]) -> eventstore::Result<()> {
        tokio::time::sleep(self.pause).await;
        self.events.lock().unwrap().extend_from_slice(events);
        Ok(())
    }
}

async fn subscriptions_that_share_their_reads_get_the_events_of_the_log(backend: Arc<Backend>) {
    backend.migrate().await;
    let signal = Signal::in_process();
    let queue = backend.queue_with(&signal, SystemClock::shared());
    append_all(&queue, "before", 20).await;
    let recordings: Vec<_> = [0, 1, 40, 700]
        .map(Duration::from_millis)
        .map(|pause| Recording {
            pause,
            ..Recording::default()
        })
        .into();
    for (number, recording) in recordings.iter().enumerate() {
        let (name, log) = (format!("recording {number}"), backend.log.clone());
        let clock = SystemClock::shared();
        backend.run(Subscription::new(&name, "a", log, &signal, clock, recording.clone()).with_poll(OFTEN));
    }
    for burst in 0..10 {
        append_all(&queue, &format!("burst {burst} "), 20).await;
    }
    let log = backend.log.stored_feed(Position::BEGINNING, 500).await.unwrap();
    for recording in recordings {
        wait_until(SOON, "all events are recorded", async || {
            recording.events.lock().unwrap().len() >= log.len()
        })
        .await;
        assert_eq!(*recording.events.lock().unwrap(), log);
    }
}

async fn polling_alone_is_enough(backend: Arc<Backend>) {
    backend.migrate().await;
    backend.create_followed().await;
    let deaf = Signal::in_process();
    let follower = Follower::default();
    backend.run(follower.subscribe(&backend, NAME, "a", &deaf).with_poll(OFTEN));
    let queue = backend.queue();
    for n in 1..=3 {
        queue.append(append(&format!("a{n}"), 1)).await.unwrap();
        backend.followed_up_to(NAME, position(n)).await;
    }
}

async fn a_subscription_goes_on_from_its_checkpoint(backend: Arc<Backend>) {
    backend.migrate().await;
    backend.create_followed().await;
    let signal = Signal::in_process();
    let queue = backend.queue_with(&signal, SystemClock::shared());
    let mut last = Position::BEGINNING;
    for round in 0..3 {
        last = append_all(&queue, &format!("round {round} "), 5).await;
        let owner = format!("process {round}");
        let stop = backend.run(
            Follower::default()
                .subscribe(&backend, NAME, &owner, &signal)
                .with_poll(OFTEN),
        );
        backend.followed_up_to(NAME, last).await;
        stop.cancel();
    }
    assert_eq!(last, position(15));
    assert!(backend.followed().await.into_iter().eq(1..=15));
}

/// Works like a [`Follower`], but fails after writing if `stumbles` is set and the events include position
/// `at`.
struct Stumbling {
    follower: Follower,
    at: Position,
    stumbles: Arc<AtomicBool>,
    tries: Arc<Mutex<u32>>,
}

#[derive(Debug, thiserror::Error)]
enum Stumbled {
    #[error(transparent)]
    Store(#[from] eventstore::Error),
    #[error("stumbled")]
    Stumbled,
}

impl Handler for Stumbling {
    type Error = Stumbled;

    async fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[RecordedEvent],
    ) -> Result<(), Stumbled> {
        self.follower.apply(transaction, events).await?;
        if self.stumbles.load(Ordering::SeqCst) && events.iter().any(|event| event.position == self.at) {
            *self.tries.lock().unwrap() += 1;
            return Err(Stumbled::Stumbled);
        }
        Ok(())
    }

    fn committed(&mut self) {
        self.follower.committed();
    }
}

impl Stumbling {
    fn at(at: Position) -> Self {
        Self {
            follower: Follower::default(),
            at,
            stumbles: Arc::new(AtomicBool::new(true)),
            tries: Arc::default(),
        }
    }

    fn subscribe(self, backend: &Backend) -> Subscription<Self> {
        let signal = Signal::in_process();
        Subscription::new(
            NAME,
            "a",
            backend.log.clone(),
            &signal,
            SystemClock::shared(),
            self,
        )
        .with_poll(OFTEN)
    }
}

async fn tried(tries: &Mutex<u32>, times: u32) {
    wait_until(SOON, "another attempt is made", async || {
        *tries.lock().unwrap() >= times
    })
    .await;
}

async fn a_handler_that_fails_after_writing_leaves_neither_its_rows_nor_the_checkpoint(
    backend: Arc<Backend>,
) {
    backend.migrate().await;
    backend.create_followed().await;
    let queue = backend.queue();
    queue.append(append("a", 1)).await.unwrap();
    let stumbling = Stumbling::at(position(1));
    let tries = stumbling.tries.clone();
    let stop = backend.run(stumbling.subscribe(&backend));
    tried(&tries, 2).await;
    stop.cancel();
    assert!(backend.followed().await.is_empty());
    assert_eq!(backend.checkpoint(NAME).await, Some(Position::BEGINNING));
}

async fn a_failing_event_stops_the_subscription_there_and_is_tried_again(backend: Arc<Backend>) {
    backend.migrate().await;
    backend.create_followed().await;
    let last = append_all(&backend.queue(), "a", 40).await;
    let stumbling = Stumbling::at(position(30));
    let (tries, stumbles) = (stumbling.tries.clone(), stumbling.stumbles.clone());
    let committed = stumbling.follower.seen();
    backend.run(stumbling.subscribe(&backend));
    // The events before the faulty event are applied, and the events after it wait.
    backend.followed_up_to(NAME, position(29)).await;
    let so_far = *tries.lock().unwrap();
    tried(&tries, so_far + 2).await;
    assert_eq!(backend.checkpoint(NAME).await, Some(position(29)));
    let failure = async || {
        let now = SystemClock.now();
        let status = SubscriptionStatus::of(&backend.database, NAME, now);
        status.await.unwrap().failure
    };
    wait_until(SOON, "the failure is recorded", async || {
        failure()
            .await
            .is_some_and(|failure| failure.position == Some(position(30)) && failure.attempts >= 2)
    })
    .await;
    let noted = failure().await.unwrap();
    assert!(noted.error.contains("stumbled"), "{}", noted.error);
    assert!(noted.since < noted.last_at && noted.last_at < noted.retry_at);
    wait_until(SOON, "it is notified", async || {
        committed.is_all_up_to(position(29))
    })
    .await;

    stumbles.store(false, Ordering::SeqCst);
    backend.followed_up_to(NAME, last).await;
    wait_until(SOON, "all are committed", async || committed.is_all_up_to(last)).await;
    wait_until(SOON, "the failure record is deleted", async || {
        failure().await.is_none()
    })
    .await;
}
