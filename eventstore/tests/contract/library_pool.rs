//! Reads of mysql-es and sqlite-es, which take connections from their own pool.

use std::sync::Arc;
use std::time::Duration;

use cqrs_es::persist::PersistedEventRepository;
use eventstore::claim::NoClaims;
use eventstore::{AppendQueue, Database, DatabaseOptions, EventLog, EventRepository};
use futures::future::join_all;
use testkit::Proxy;
use tokio::time::{Instant, timeout};

use crate::backend::{Backend, SOON, on_mysql};
use crate::repository::Ticket;
use crate::sample::append;

async fn behind_a_proxy(backend: &Backend) -> (Proxy, Database) {
    let (_, place) = backend.url.split_once('@').unwrap();
    let (server, name) = place.split_once('/').unwrap();
    let port = server.rsplit(':').next().unwrap().parse().unwrap();
    let proxy = Proxy::start(port).await;
    let url = format!("mysql://root@127.0.0.1:{}/{name}", proxy.port());
    let database = Database::connect(&url, DatabaseOptions::default()).await.unwrap();
    (proxy, database)
}

fn repository(database: &Database, queue: &AppendQueue) -> EventRepository {
    EventRepository::new(
        EventLog::new(database.clone()),
        queue.clone(),
        Arc::new(NoClaims),
        false,
    )
}

#[tokio::test]
async fn a_read_of_an_aggregate_ends_when_the_server_says_nothing() {
    on_mysql(async |backend: Arc<Backend>| {
        backend.migrate().await;
        let queue = backend.queue();
        queue.append(append("t", 1)).await.unwrap();
        let (proxy, database) = behind_a_proxy(&backend).await;
        let repository = repository(&database, &queue);
        assert!(repository.get_events::<Ticket>("t").await.unwrap().is_empty());
        proxy.delay(Duration::from_hours(1));
        let began = Instant::now();
        let read = timeout(2 * SOON, repository.get_events::<Ticket>("t")).await;
        let said = read.expect("ended").unwrap_err().to_string();
        assert!(began.elapsed() >= Duration::from_secs(4), "{said}");
        proxy.delay(Duration::ZERO);
        // A late response to the stalled connection affects no other read.
        let read = timeout(SOON, repository.get_events::<Ticket>("t")).await;
        assert!(read.expect("answered").unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn reads_of_an_aggregate_that_are_dropped_leave_no_connection_unfinished() {
    on_mysql(async |backend: Arc<Backend>| {
        backend.migrate().await;
        let queue = backend.queue();
        queue.append(append("t", 1)).await.unwrap();
        let (proxy, database) = behind_a_proxy(&backend).await;
        for round in 0..20 {
            let (database, queue) = (database.clone(), queue.clone());
            let reading = tokio::spawn(async move {
                let repository = repository(&database, &queue);
                repository.get_events::<Ticket>("t").await.unwrap();
                std::future::pending::<()>().await;
            });
            if round % 2 == 0 {
                proxy.delay(Duration::from_mins(1));
            }
            tokio::time::sleep(Duration::from_millis(round)).await;
            reading.abort();
            drop(reading.await);
            proxy.delay(Duration::ZERO);
        }
        // More simultaneous reads than connections.
        let reads = (0..8).map(async |_| {
            let repository = repository(&database, &queue);
            timeout(SOON, repository.get_events::<Ticket>("t")).await
        });
        for read in join_all(reads).await {
            read.expect("answered").unwrap();
        }
    })
    .await;
}
