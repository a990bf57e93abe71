//! Leases: at most one owner at a time.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{
    Clock, Database, DatabaseOptions, Error, Lease, ManualClock, SystemClock, Timestamp, schema,
};
use futures::future::join_all;
use testkit::Proxy;

use crate::backend::Backend;

on_every_backend!(
    a_lease_has_one_owner_at_a_time,
    of_many_that_race_for_a_free_lease_one_gets_it,
    an_owner_that_renews_in_time_keeps_the_lease,
    an_expired_lease_passes_on_and_its_owner_notices,
    a_released_lease_passes_on_at_once,
    a_lease_of_a_clock_that_was_set_back_does_not_hold,
    leases_of_different_names_are_apart,
);

const FOR: Duration = Duration::from_secs(10);

fn clock() -> Arc<ManualClock> {
    ManualClock::at(Timestamp::from_micros(1_000_000_000))
}

fn lease(database: &Database, clock: &Arc<ManualClock>, name: &str, owner: &str) -> Lease {
    let clock: Arc<dyn Clock> = clock.clone();
    Lease::new(database.clone(), clock, name.into(), owner.into(), FOR)
}

/// Returns a clock, and two leases on the same role from two processes that share the clock.
async fn two(backend: &Backend) -> (Arc<ManualClock>, Lease, Lease) {
    backend.migrate().await;
    let clock = clock();
    let a = lease(&backend.database, &clock, "role", "a");
    let b = lease(&backend.open().await, &clock, "role", "b");
    (clock, a, b)
}

async fn a_lease_has_one_owner_at_a_time(backend: Arc<Backend>) {
    let (_, mut a, mut b) = two(&backend).await;
    assert!(a.hold().await.unwrap());
    assert!(!b.hold().await.unwrap());
    assert!(a.hold().await.unwrap());
    assert!(!b.hold().await.unwrap());
}

async fn a_lease_of_a_clock_that_was_set_back_does_not_hold(backend: Arc<Backend>) {
    let (clock, mut a, mut b) = two(&backend).await;
    let right = clock.now();
    clock.advance(Duration::from_hours(2));
    assert!(a.hold().await.unwrap());
    // The lease is valid if the clocks differ by at most the accepted difference.
    clock.set(right + Duration::from_hours(2) - Duration::from_secs(15));
    assert!(!b.hold().await.unwrap());
    clock.set(right);
    assert!(
        b.hold().await.unwrap(),
        "the owner may be gone, and waiting 2 h is too long"
    );
    assert!(
        !a.hold().await.unwrap(),
        "the expiry that it remembers is from the wrong time"
    );
}

async fn of_many_that_race_for_a_free_lease_one_gets_it(backend: Arc<Backend>) {
    backend.migrate().await;
    let clock = clock();
    for round in 0..5 {
        let role = format!("role {round}");
        let mut leases: Vec<_> = (0..8)
            .map(|n| lease(&backend.database, &clock, &role, &format!("owner {n}")))
            .collect();
        let race = async |leases: &mut Vec<Lease>| {
            let held = join_all(leases.iter_mut().map(Lease::hold)).await;
            held.into_iter().filter(|held| *held.as_ref().unwrap()).count()
        };
        assert_eq!(race(&mut leases).await, 1, "new lease");
        clock.advance(FOR);
        assert_eq!(race(&mut leases).await, 1, "expired lease");
    }
}

async fn an_owner_that_renews_in_time_keeps_the_lease(backend: Arc<Backend>) {
    let (clock, mut a, mut b) = two(&backend).await;
    assert!(a.hold().await.unwrap());
    for _ in 0..10 {
        clock.advance(FOR * 6 / 10);
        assert!(a.hold().await.unwrap());
        assert!(!b.hold().await.unwrap());
    }
}

async fn an_expired_lease_passes_on_and_its_owner_notices(backend: Arc<Backend>) {
    let (clock, mut a, mut b) = two(&backend).await;
    assert!(a.hold().await.unwrap());
    let end = clock.now() + FOR;
    clock.set(end - Duration::from_micros(1));
    assert!(!b.hold().await.unwrap(), "not a microsecond early");
    clock.set(end);
    assert!(b.hold().await.unwrap());
    assert!(!a.hold().await.unwrap());
    // Releasing a lease that `a` no longer holds does not affect the new owner.
    a.release().await.unwrap();
    assert!(!a.hold().await.unwrap());
    assert!(b.hold().await.unwrap());
}

async fn a_released_lease_passes_on_at_once(backend: Arc<Backend>) {
    let (_, mut a, mut b) = two(&backend).await;
    assert!(a.hold().await.unwrap());
    a.release().await.unwrap();
    assert!(b.hold().await.unwrap());
    assert!(!a.hold().await.unwrap());
    b.release().await.unwrap();
    assert!(a.hold().await.unwrap());
}

async fn leases_of_different_names_are_apart(backend: Arc<Backend>) {
    backend.migrate().await;
    let clock = clock();
    let mut one = lease(&backend.database, &clock, "one", "a");
    let mut two = lease(&backend.database, &clock, "two", "b");
    assert!(one.hold().await.unwrap());
    assert!(two.hold().await.unwrap());
    one.release().await.unwrap();
    let mut other = lease(&backend.database, &clock, "two", "c");
    assert!(!other.hold().await.unwrap());
}

#[tokio::test]
async fn releasing_a_lease_takes_no_longer_than_the_lease() {
    let duration = Duration::from_millis(300);
    for server in testkit::mysql_servers() {
        let test = server.create_database().await;
        let (before, name) = test.url.rsplit_once('/').unwrap();
        let (before, port) = before.rsplit_once(':').unwrap();
        let proxy = Proxy::start(port.parse().unwrap()).await;
        let url = format!("{before}:{}/{name}", proxy.port());
        let database = Database::connect(&url, DatabaseOptions::default()).await.unwrap();
        schema::migrate(&database, SystemClock::shared(), "test", &[])
            .await
            .unwrap();
        let mut lease = Lease::new(database, clock(), "role".into(), "a".into(), duration);
        assert!(lease.hold().await.unwrap());
        // No answer arrives any more.
        proxy.delay(Duration::from_hours(1));
        let released = lease.release().await;
        assert!(
            matches!(released, Err(Error::Timeout(limit)) if limit == duration),
            "{released:?}"
        );
    }
}
