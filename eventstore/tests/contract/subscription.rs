//! Subscriptions: every event once, in order, whatever happens.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventstore::signal::Notice;
use eventstore::subscription::failure;
use eventstore::{
    AppendQueue, Clock, EventLog, Handler, ManualClock, Position, RecordedEvent, Session, Signal,
    Subscription, SubscriptionStatus, SystemClock, Timestamp, Transaction, lease,
};
use futures::future::join_all;
use testkit::wait_until;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, SOON, position};
use crate::follower::Follower;
use crate::sample::append;

on_every_backend!(
    every_event_is_applied_once_and_in_order,
    polling_alone_is_enough,
    a_subscription_goes_on_from_its_checkpoint,
    a_handler_that_fails_after_writing_leaves_neither_its_rows_nor_the_checkpoint,
    a_failing_event_stops_the_subscription_there_and_is_tried_again,
    an_owner_that_wakes_with_an_old_checkpoint_is_rolled_back,
    a_stand_by_takes_over_at_once_when_the_owner_is_shut_down,
    a_stand_by_takes_over_after_the_lease_when_the_owner_is_gone,
    a_failure_of_an_owner_before_is_forgotten_and_of_one_that_is_none_not_noted,
    the_status_says_who_owns_it_and_what_waits,
    a_checkpoint_that_cannot_be_true_stops_the_subscription_and_is_never_no_lag,
    a_lease_or_a_failure_noted_by_a_clock_that_was_ahead_hides_nothing,
);

const NAME: &str = "follower";
/// Long enough to see that it was not the poll.
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
    // More than one batch of them waits already.
    append_all(&queue, "a", 700).await;
    let follower = Follower::default();
    let committed = follower.seen();
    backend.run(follower.subscribe(&backend, NAME, "a", &signal).with_poll(NEVER));
    for burst in 0..10 {
        append_all(&queue, &format!("burst {burst} "), 30).await;
    }
    backend.followed_up_to(NAME, position(1000)).await;
    wait_until(SOON, "it is told so", async || committed.get().len() >= 1000).await;
    assert!(committed.is_all_up_to(position(1000)));
    assert!(backend.followed().await.into_iter().eq(1..=1000));
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

/// Does what a [`Follower`] does, and then fails at one position for as long as it is told to.
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
    wait_until(SOON, "it is tried again", async || {
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
    // Those before it do not wait for it, those after it do.
    backend.followed_up_to(NAME, position(29)).await;
    let so_far = *tries.lock().unwrap();
    tried(&tries, so_far + 2).await;
    assert_eq!(backend.checkpoint(NAME).await, Some(position(29)));
    let failure = async || {
        let now = SystemClock.now();
        let status = SubscriptionStatus::of(&backend.database, NAME, now);
        status.await.unwrap().failure
    };
    wait_until(SOON, "every process is told so", async || {
        failure()
            .await
            .is_some_and(|failure| failure.position == Some(position(30)) && failure.attempts >= 2)
    })
    .await;
    let noted = failure().await.unwrap();
    assert!(noted.error.contains("stumbled"), "{}", noted.error);
    assert!(noted.since < noted.last_at && noted.last_at < noted.retry_at);
    wait_until(SOON, "it is told so", async || {
        committed.is_all_up_to(position(29))
    })
    .await;

    stumbles.store(false, Ordering::SeqCst);
    backend.followed_up_to(NAME, last).await;
    wait_until(SOON, "all are committed", async || committed.is_all_up_to(last)).await;
    wait_until(SOON, "the failure is forgotten", async || {
        failure().await.is_none()
    })
    .await;
}

/// Counts its events in a row of its own, so that two owners write at the same time without waiting for each
/// other.
struct Counting {
    row: &'static str,
    tries: Arc<Mutex<u32>>,
}

impl Handler for Counting {
    type Error = eventstore::Error;

    async fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[RecordedEvent],
    ) -> eventstore::Result<()> {
        *self.tries.lock().unwrap() += 1;
        transaction
            .query("UPDATE counted SET number = number + ? WHERE owner = ?")
            .bind(i64::try_from(events.len()).unwrap())
            .bind(self.row)
            .execute()
            .await?;
        Ok(())
    }
}

async fn an_owner_that_wakes_with_an_old_checkpoint_is_rolled_back(backend: Arc<Backend>) {
    backend.migrate().await;
    backend
        .execute("CREATE TABLE counted (owner VARCHAR(8) NOT NULL PRIMARY KEY, number BIGINT NOT NULL)")
        .await;
    backend
        .execute("INSERT INTO counted VALUES ('a', 0), ('b', 0)")
        .await;
    let counted = async |owner| {
        let sql = format!("SELECT number FROM counted WHERE owner = '{owner}'");
        backend.number(&sql).await
    };
    let queue = backend.queue();
    let clock = ManualClock::at(Timestamp::from_micros(1_000_000_000));
    let subscribe = async |owner, signal: &Signal, tries: &Arc<Mutex<u32>>| {
        let shared: Arc<dyn Clock> = clock.clone();
        let tries = Arc::clone(tries);
        let log = EventLog::new(backend.open().await);
        Subscription::new(NAME, owner, log, signal, shared, Counting { row: owner, tries }).with_poll(NEVER)
    };
    let (signal, tries) = (Signal::in_process(), Arc::default());
    let wake = || {
        signal.publish(vec![Notice {
            position: Position::BEGINNING,
            event_type: String::new(),
            aggregate_id: String::new(),
            sequence: 0,
        }]);
    };

    append_all(&queue, "first ", 3).await;
    // It runs only while it is polled: in between it is as a process that was stopped.
    let mut a = pin!(
        subscribe("a", &signal, &tries)
            .await
            .run(CancellationToken::new())
    );
    tokio::select! {
        () = &mut a => unreachable!(),
        () = backend.followed_up_to(NAME, position(3)) => {}
    }

    // Meanwhile its lease runs out and b goes on, until b's runs out as well.
    clock.advance(lease::DEFAULT_DURATION);
    append_all(&queue, "second ", 4).await;
    let b = subscribe("b", &Signal::in_process(), &Arc::default()).await;
    tokio::select! {
        () = b.run(CancellationToken::new()) => unreachable!(),
        () = backend.followed_up_to(NAME, position(7)) => {}
    }
    assert_eq!(counted("b").await, 4);
    clock.advance(lease::DEFAULT_DURATION);

    // Now a wakes, gets its lease again, and still believes that position 4 is the next.
    wake();
    let goes_on = async {
        tried(&tries, 2).await;
        append_all(&queue, "third ", 2).await;
        wait_until(SOON, "a has gone on", async || {
            wake();
            backend.checkpoint(NAME).await == Some(position(9))
        })
        .await;
    };
    tokio::select! {
        () = &mut a => unreachable!(),
        () = goes_on => {}
    }
    assert_eq!(counted("b").await, 4);
    assert_eq!(counted("a").await, 3 + 2, "each event counts once");
}

async fn a_stand_by_takes_over_at_once_when_the_owner_is_shut_down(backend: Arc<Backend>) {
    backend.migrate().await;
    backend.create_followed().await;
    let queue = backend.queue();
    // The clock stands still: nothing runs out.
    let clock = ManualClock::at(Timestamp::from_micros(1_000_000_000));
    let start = |owner: &str| {
        let shared: Arc<dyn Clock> = clock.clone();
        let follower = Follower::default();
        let committed = follower.seen();
        let signal = Signal::in_process();
        let subscription = Subscription::new(NAME, owner, backend.log.clone(), &signal, shared, follower);
        (backend.run(subscription.with_poll(OFTEN)), committed)
    };
    let (stop, by_owner) = start("owner");
    let last = append_all(&queue, "a", 5).await;
    backend.followed_up_to(NAME, last).await;
    let (_, by_stand_by) = start("stand-by");
    let last = append_all(&queue, "b", 5).await;
    backend.followed_up_to(NAME, last).await;
    wait_until(SOON, "the owner has done it all", async || {
        by_owner.is_all_up_to(last)
    })
    .await;
    stop.cancel();
    let last = append_all(&queue, "c", 5).await;
    backend.followed_up_to(NAME, last).await;
    wait_until(SOON, "the stand-by has done the rest", async || {
        by_stand_by.get().len() == 5
    })
    .await;
    assert!(backend.followed().await.into_iter().eq(1..=15));
}

async fn a_failure_of_an_owner_before_is_forgotten_and_of_one_that_is_none_not_noted(backend: Arc<Backend>) {
    backend.migrate().await;
    backend.create_followed().await;
    let queue = backend.queue();
    let clock = ManualClock::at(Timestamp::from_micros(1_000_000_000));
    let shared: Arc<dyn Clock> = clock.clone();
    let signal = Signal::in_process();
    let (log, follower) = (backend.log.clone(), Follower::default());
    let subscription = Subscription::new(NAME, "owner", log.clone(), &signal, Arc::clone(&shared), follower);
    backend.run(subscription.with_poll(OFTEN));
    backend
        .followed_up_to(NAME, append_all(&queue, "a", 5).await)
        .await;

    let noted = async || {
        let mut connection = log.database().reader().await.unwrap();
        let query = connection.query("SELECT error FROM subscription_failures");
        query.fetch_optional().await.unwrap().is_some()
    };
    let fail_as = async |owner: &str| {
        let (now, pause) = (shared.now(), Duration::from_secs(1));
        failure::record(log.database(), NAME, None, "away", now, pause, Some(owner))
            .await
            .unwrap();
    };
    fail_as("nobody").await;
    assert!(!noted().await, "it is not in charge");

    // Another has taken over, fails, and is gone.
    let set = async |owner: &str, expires_at: Timestamp| {
        let mut connection = log.database().writer().await.unwrap();
        let query = connection.query("UPDATE leases SET owner = ?, expires_at = ? WHERE name = ?");
        let query = query.bind(owner).bind(expires_at).bind(NAME);
        assert_eq!(query.execute().await.unwrap(), 1);
    };
    set("other", shared.now() + lease::DEFAULT_DURATION * 2).await;
    clock.advance(lease::DEFAULT_DURATION);
    append_all(&queue, "b", 5).await;
    fail_as("other").await;
    assert!(noted().await);
    set("other", Timestamp::from_micros(0)).await;
    wait_until(
        SOON,
        "the owner goes on, and nothing is noted any more",
        async || backend.checkpoint(NAME).await == Some(position(10)) && !noted().await,
    )
    .await;
}

async fn a_stand_by_takes_over_after_the_lease_when_the_owner_is_gone(backend: Arc<Backend>) {
    backend.migrate().await;
    backend.create_followed().await;
    let queue = backend.queue();
    let clock = ManualClock::at(Timestamp::from_micros(1_000_000_000));
    let start = |owner: &str| {
        let shared: Arc<dyn Clock> = clock.clone();
        let signal = Signal::in_process();
        let subscription = Subscription::new(
            NAME,
            owner,
            backend.log.clone(),
            &signal,
            shared,
            Follower::default(),
        );
        let (tasks, shutdown) = backend.tasks();
        tasks.spawn(subscription.with_poll(OFTEN).run(shutdown.clone()))
    };
    let owner = start("owner");
    let last = append_all(&queue, "a", 5).await;
    backend.followed_up_to(NAME, last).await;
    owner.abort();
    assert!(owner.await.unwrap_err().is_cancelled());
    let _stand_by = start("stand-by");
    let last = append_all(&queue, "b", 5).await;
    let status = async || {
        SubscriptionStatus::of(&backend.database, NAME, clock.now())
            .await
            .unwrap()
    };
    assert_eq!(status().await.owner.as_deref(), Some("owner"));
    clock.advance(lease::DEFAULT_DURATION);
    backend.followed_up_to(NAME, last).await;
    assert_eq!(status().await.owner.as_deref(), Some("stand-by"));
    assert!(backend.followed().await.into_iter().eq(1..=10));
}

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
    // The log's time is ahead: the checkpoint tells how long nothing has moved.
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
        // What was appended has made it possible again.
        if !(0..=4).contains(&wrong) {
            assert!(damaged.check().is_err(), "{wrong}");
            assert_eq!(damaged.lag(), damaged.head.get(), "{wrong}");
            assert!(damaged.waiting_since.is_some(), "{wrong}");
            let noted = "it says that it has stopped, and why";
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
        wait_until(SOON, "it goes on", async || status().await.failure.is_none()).await;
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
