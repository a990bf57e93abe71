//! Ownership of a subscription: one process applies its events, and another takes over.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventstore::signal::Notice;
use eventstore::subscription::failure;
use eventstore::{
    Clock, EventLog, Handler, ManualClock, Position, RecordedEvent, Session, Signal, Subscription,
    SubscriptionStatus, Timestamp, Transaction, lease,
};
use testkit::wait_until;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, SOON, position};
use crate::follower::Follower;

use super::{NAME, NEVER, OFTEN, append_all, tried};

on_every_backend!(
    an_owner_that_wakes_with_an_old_checkpoint_is_rolled_back,
    a_stand_by_takes_over_at_once_when_the_owner_is_shut_down,
    a_stand_by_takes_over_after_the_lease_when_the_owner_is_gone,
    a_failure_of_an_owner_before_is_forgotten_and_of_one_that_is_none_not_noted,
);

/// Counts events in a separate row for each owner, so that two owners can write at the same time without
/// waiting for each other.
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
    // The future of `a` runs only while it is polled. Between polls, it behaves like a stopped process.
    let mut a = pin!(
        subscribe("a", &signal, &tries)
            .await
            .run(CancellationToken::new())
    );
    tokio::select! {
        () = &mut a => unreachable!(),
        () = backend.followed_up_to(NAME, position(3)) => {}
    }

    // While `a` is stopped, its lease expires and `b` takes over. Later the lease of `b` expires too.
    clock.advance(lease::DEFAULT_DURATION);
    append_all(&queue, "second ", 4).await;
    let b = subscribe("b", &Signal::in_process(), &Arc::default()).await;
    tokio::select! {
        () = b.run(CancellationToken::new()) => unreachable!(),
        () = backend.followed_up_to(NAME, position(7)) => {}
    }
    assert_eq!(counted("b").await, 4);
    clock.advance(lease::DEFAULT_DURATION);

    // Now `a` wakes and takes the lease again, but its checkpoint is outdated: it expects position 4 next.
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
    // The clock does not advance, so no lease expires.
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
    wait_until(SOON, "the owner has applied all events", async || {
        by_owner.is_all_up_to(last)
    })
    .await;
    stop.cancel();
    let last = append_all(&queue, "c", 5).await;
    backend.followed_up_to(NAME, last).await;
    wait_until(SOON, "the stand-by has applied the rest", async || {
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
    assert!(!noted().await, "not the owner");

    // Another process takes over, fails, and disappears.
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
        "the owner continues, and the failure is cleared",
        async || backend.checkpoint(NAME).await == Some(position(10)) && !noted().await,
    )
    .await;
}

async fn a_stand_by_takes_over_after_the_lease_when_the_owner_is_gone(backend: Arc<Backend>) {
    backend.migrate().await;
    backend.create_followed().await;
    let queue = backend.queue();
    let clock = ManualClock::at(Timestamp::from_micros(1_000_000_000));
    let start = |owner: &str, poll| {
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
        tasks.spawn(subscription.with_poll(poll).run(shutdown.clone()))
    };
    let owner = start("owner", OFTEN);
    let last = append_all(&queue, "a", 5).await;
    backend.followed_up_to(NAME, last).await;
    owner.abort();
    assert!(owner.await.unwrap_err().is_cancelled());
    // No signal reaches the stand-by either.
    let _stand_by = start("stand-by", NEVER);
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
