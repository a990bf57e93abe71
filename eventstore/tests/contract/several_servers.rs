//! A database URL that lists several servers: the one that accepts writes is found and followed.

use std::time::Duration;

use eventstore::{Database, DatabaseOptions, Error, EventLog};
use testkit::wait_until;
use tokio::time::timeout;

use crate::backend::SOON;
use crate::sample::append;
use crate::switch::{Servers, append_to_the_new, on_two_servers, open, port, queue};

/// Part of the error if two servers accept writes.
const SEVERAL: &str = "several servers in the URL accept writes";

impl Servers {
    /// The database on both servers, the old server first.
    fn both(&self) -> String {
        self.behind(port(&self.old_url), port(&self.new_url))
    }

    fn behind(&self, first: u16, second: u16) -> String {
        let old = port(&self.old_url);
        self.old_url
            .replace(&format!(":{old}/"), &format!(":{first},127.0.0.1:{second}/"))
    }

    async fn promote_the_new(&self) {
        self.new.run("SET GLOBAL read_only = 0").await;
        append_to_the_new(self).await;
    }
}

/// Like [`on_two_servers`], but the new server accepts no writes yet.
async fn on_a_primary_and_a_replica(test: impl AsyncFn(Servers)) {
    on_two_servers(async |servers| {
        servers.new.run("SET GLOBAL read_only = 1").await;
        test(servers).await;
    })
    .await;
}

/// Waits until the log is read from the new server, which has one event more. Each read is given up after 2
/// s, as a health check is.
async fn until_the_new_is_read(log: &EventLog) {
    wait_until(SOON, "the new server is read", async || {
        let read = timeout(Duration::from_secs(2), log.head()).await;
        matches!(read, Ok(Ok(head)) if head.position.get() == 2)
    })
    .await;
}

#[tokio::test]
async fn reads_and_appends_follow_a_switch() {
    on_a_primary_and_a_replica(async |servers| {
        let (old, new) = (port(&servers.old_url), port(&servers.new_url));
        // The place in the URL does not matter, and nothing listens on port 9.
        for url in [servers.behind(new, old), servers.behind(9, old)] {
            let database = open(&url).await;
            assert_eq!(
                EventLog::new(database.clone())
                    .head()
                    .await
                    .unwrap()
                    .position
                    .get(),
                0
            );
            database.close().await;
        }
        let database = open(&servers.both()).await;
        let (log, queue) = (EventLog::new(database.clone()), queue(&database));
        let separate = database.with_separate_pool(2);
        queue.append(append("a", 1)).await.unwrap();
        let kept = separate.reader().await.unwrap();
        servers.replicate();

        servers.old.run("SET GLOBAL read_only = 1").await;
        assert!(matches!(log.head().await, Err(Error::ReadOnly(_))));
        servers.promote_the_new().await;
        until_the_new_is_read(&log).await;
        assert_eq!(queue.append(append("c", 1)).await.unwrap().first.get(), 3);
        assert!(!kept.may_be_kept(), "it leads to the old server");
        assert_eq!(EventLog::new(separate).head().await.unwrap().position.get(), 3);
        drop(kept);
        database.close().await;
    })
    .await;
}

#[tokio::test]
async fn reads_and_appends_follow_when_a_server_is_killed() {
    on_a_primary_and_a_replica(async |mut servers| {
        let (database, idle) = (open(&servers.both()).await, open(&servers.both()).await);
        let (log, queue) = (EventLog::new(database.clone()), queue(&database));
        queue.append(append("a", 1)).await.unwrap();
        servers.replicate();
        servers.old.kill().await;
        servers.promote_the_new().await;
        until_the_new_is_read(&log).await;
        assert_eq!(queue.append(append("c", 1)).await.unwrap().first.get(), 3);
        // This database has no open connection that could be lost.
        assert_eq!(EventLog::new(idle).head().await.unwrap().position.get(), 3);
        database.close().await;
    })
    .await;
}

#[tokio::test]
async fn reads_follow_when_a_server_no_longer_answers() {
    on_a_primary_and_a_replica(async |servers| {
        let database = open(&servers.both()).await;
        let log = EventLog::new(database.clone());
        queue(&database).append(append("a", 1)).await.unwrap();
        servers.replicate();
        servers.old.signal("STOP");
        servers.promote_the_new().await;
        until_the_new_is_read(&log).await;
        servers.old.signal("CONT");
        database.close().await;
    })
    .await;
}

#[tokio::test]
async fn two_servers_that_accept_writes_are_not_used_unless_they_are_a_cluster() {
    on_two_servers(async |servers| {
        let refused = Database::connect(&servers.both(), DatabaseOptions::default()).await;
        let said = refused.unwrap_err().to_string();
        assert!(said.contains(SEVERAL), "{said}");

        servers.new.run("SET GLOBAL read_only = 1").await;
        let database = open(&servers.both()).await;
        let log = EventLog::new(database.clone());
        queue(&database).append(append("a", 1)).await.unwrap();
        servers.replicate();
        // A switch that is not finished: for a moment, no server accepts writes, and then both do.
        servers.old.run("SET GLOBAL read_only = 1").await;
        assert!(matches!(log.head().await, Err(Error::ReadOnly(_))));
        servers.new.run("SET GLOBAL read_only = 0").await;
        servers.old.run("SET GLOBAL read_only = 0").await;
        wait_until(SOON, "the two servers are noticed", async || {
            let Err(Error::ReadOnly(error)) = log.head().await else {
                panic!("one of the two servers was read");
            };
            error.to_string().contains(SEVERAL)
        })
        .await;
        servers.old.run("SET GLOBAL read_only = 1").await;
        append_to_the_new(&servers).await;
        until_the_new_is_read(&log).await;
        database.close().await;
    })
    .await;
}
