//! A switch of the database server that leaves the connections open, as a change of a DNS name does.
//!
//! The new server has the same events as the old server and more: the tests copy the database of the old
//! server.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use eventstore::{
    AppendError, AppendQueue, Database, DatabaseOptions, Error, EventLog, RedisServers, Signal, SystemClock,
    schema,
};
use testkit::{MysqlClient, PrivateMysql, Proxy, RedisServer, installed_flavours, wait_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::SOON;
use crate::sample::{append, releasing, taking};
use crate::sealing::sealing_of_a_new_log;

/// Two servers, and a proxy that leads to the old server first.
pub(crate) struct Servers {
    pub(crate) old: PrivateMysql,
    pub(crate) new: PrivateMysql,
    proxy: Proxy,
    /// The database on the old server.
    pub(crate) old_url: String,
    /// The database over the proxy.
    url: String,
    /// The database on the new server.
    pub(crate) new_url: String,
}

pub(crate) fn port(url: &str) -> u16 {
    let (_, place) = url.rsplit_once('@').unwrap();
    let (_, port) = place.split('/').next().unwrap().split_once(':').unwrap();
    port.parse().unwrap()
}

impl Servers {
    /// Replaces the database on the new server by a copy of the database on the old server.
    /// Works also while the new server accepts no writes of ordinary users.
    pub(crate) fn replicate(&self) {
        let mut dump = self.old.server().client(MysqlClient::Dump, "root", "");
        let dump = dump.args(["--single-transaction", "log"]).stderr(Stdio::null());
        let dumped = dump.output().unwrap();
        assert!(dumped.status.success());
        let mut shell = self.new.server().client(MysqlClient::Shell, "root", "");
        let mut shell = shell
            .arg("log")
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(&dumped.stdout).unwrap();
        assert!(shell.wait().unwrap().success());
    }

    /// Makes the old server read-only, and leads new connections to the new server.
    async fn switch(&self) {
        self.old.run("SET GLOBAL read_only = 1").await;
        self.proxy.redirect(port(&self.new_url));
    }
}

pub(crate) async fn on_two_servers(test: impl AsyncFn(Servers)) {
    for flavour in installed_flavours() {
        let (old, new) = tokio::join!(PrivateMysql::start(flavour), PrivateMysql::start(flavour));
        let mut urls = Vec::new();
        for server in [&old, &new] {
            server.run("CREATE DATABASE log CHARACTER SET utf8mb4").await;
            let url = server.ordinary_user("log").await;
            let database = Database::connect(&url, DatabaseOptions::default()).await.unwrap();
            schema::migrate(&database, SystemClock::shared(), "test", &[])
                .await
                .unwrap();
            database.close().await;
            urls.push(url);
        }
        let proxy = Proxy::start(port(&urls[0])).await;
        let url = urls[0].replace(&format!(":{}/", port(&urls[0])), &format!(":{}/", proxy.port()));
        println!("on {flavour}");
        test(Servers {
            old,
            new,
            proxy,
            url,
            new_url: urls.remove(1),
            old_url: urls.remove(0),
        })
        .await;
    }
}

pub(crate) async fn open(url: &str) -> Database {
    Database::connect(url, DatabaseOptions::default()).await.unwrap()
}

pub(crate) fn queue(database: &Database) -> AppendQueue {
    queue_with(database, Signal::in_process())
}

fn queue_with(database: &Database, signal: Signal) -> AppendQueue {
    AppendQueue::start(database.clone(), signal, SystemClock::shared(), 16, 16)
}

/// Appends an event to the new server.
pub(crate) async fn append_to_the_new(servers: &Servers) {
    let queue = queue(&open(&servers.new_url).await);
    queue.append(append("b", 1)).await.unwrap();
    queue.shutdown().await;
}

#[tokio::test]
async fn reads_follow_a_switch_although_their_connections_stay_open() {
    on_two_servers(async |servers| {
        let database = open(&servers.url).await;
        let log = EventLog::new(database.clone());
        queue(&database).append(append("a", 1)).await.unwrap();
        let kept = database.reader().await.unwrap();
        assert_eq!(log.head().await.unwrap().position.get(), 1);
        assert!(kept.may_be_kept());
        servers.replicate();

        servers.switch().await;
        append_to_the_new(&servers).await;
        assert_eq!(
            log.head().await.unwrap().position.get(),
            2,
            "it read the old server"
        );
        assert!(!kept.may_be_kept());
        assert!(log.is_writable().await.unwrap());
        drop(kept);
        database.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_append_follows_a_switch_and_renews_every_connection() {
    on_two_servers(async |servers| {
        let database = open(&servers.url).await;
        let queue = queue(&database);
        queue.append(append("a", 1)).await.unwrap();
        let kept = database.reader().await.unwrap();
        servers.replicate();

        servers.switch().await;
        append_to_the_new(&servers).await;
        assert_eq!(queue.append(append("c", 1)).await.unwrap().first.get(), 3);
        assert!(!kept.may_be_kept(), "it leads to the old server");
        let reader = database.reader().await.unwrap();
        assert!(reader.may_be_kept());
        drop((kept, reader));
        database.close().await;
    })
    .await;
}

/// A server with `read_only` lets a privileged user lock the head and write.
#[tokio::test]
async fn an_append_of_a_privileged_user_does_not_believe_the_old_server() {
    on_two_servers(async |servers| {
        let privileged = format!("mysql://root@127.0.0.1:{}/log", servers.proxy.port());
        let database = open(&privileged).await;
        let queue = queue(&database);
        queue.append(taking("a", 1, "value")).await.unwrap();
        servers.replicate();

        servers.switch().await;
        let other = self::queue(&open(&servers.new_url).await);
        other.append(releasing("a", 2, "value")).await.unwrap();
        other.shutdown().await;
        let appended = queue.append(taking("b", 1, "value")).await.unwrap();
        assert_eq!(appended.first.get(), 3);
        database.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_lost_connection_of_an_append_renews_every_connection() {
    on_two_servers(async |servers| {
        let database = open(&servers.url).await;
        let queue = queue(&database);
        queue.append(append("a", 1)).await.unwrap();
        servers.replicate();
        servers.proxy.redirect(port(&servers.new_url));
        append_to_the_new(&servers).await;
        servers.proxy.reset();
        let kept = database.reader().await.unwrap();
        assert_eq!(queue.append(append("c", 1)).await.unwrap().first.get(), 3);
        assert!(!kept.may_be_kept());
        drop(kept);
        database.close().await;
    })
    .await;
}

#[tokio::test]
async fn one_slow_answer_does_not_replace_every_connection() {
    for flavour in installed_flavours() {
        let server = PrivateMysql::start(flavour).await;
        let test = server.server().create_database().await;
        let own = port(&test.url);
        let proxy = Proxy::start(own).await;
        let url = test
            .url
            .replace(&format!(":{own}/"), &format!(":{}/", proxy.port()));
        let database = open(&url).await;
        let kept = database.reader().await.unwrap();
        drop(database.reader().await.unwrap());
        wait_until(SOON, "a connection is back in the pool", async || {
            database.connections() == [("mysql", 1, 2)]
        })
        .await;
        // The connection in the pool answers too late, and a new connection is not open in time.
        proxy.delay(Duration::from_millis(1500));
        assert!(database.reader().await.is_err());
        assert!(kept.may_be_kept());
        proxy.delay(Duration::ZERO);
        drop(kept);
        database.close().await;
    }
}

#[tokio::test]
async fn without_a_server_that_accepts_writes_nothing_is_read_until_there_is_one() {
    on_two_servers(async |servers| {
        let database = open(&servers.url).await;
        let log = EventLog::new(database.clone());
        let queue = queue(&database);
        queue.append(append("a", 1)).await.unwrap();
        servers.old.run("SET GLOBAL read_only = 1").await;
        assert!(matches!(log.head().await, Err(Error::ReadOnly(_))));
        assert!(!log.is_writable().await.unwrap());
        servers.new.run("SET GLOBAL read_only = 1").await;
        servers.proxy.redirect(port(&servers.new_url));
        assert!(matches!(log.head().await, Err(Error::ReadOnly(_))));
        servers.new.run("SET GLOBAL read_only = 0").await;
        wait_until(SOON, "the new server is used", async || {
            log.is_writable().await.unwrap()
        })
        .await;
        database.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_has_reached_its_age_is_not_kept() {
    for flavour in installed_flavours() {
        let server = PrivateMysql::start(flavour).await;
        let test = server.server().create_database().await;
        let options = DatabaseOptions {
            max_age: Duration::from_millis(200),
            ..DatabaseOptions::default()
        };
        let database = Database::connect(&test.url, options).await.unwrap();
        let kept = database.reader().await.unwrap();
        assert!(kept.may_be_kept());
        wait_until(SOON, "it is too old", async || !kept.may_be_kept()).await;
        drop(kept);
        database.close().await;
    }
}

/// A replica that is made the primary may lack what the old primary has acknowledged.
#[tokio::test]
async fn a_log_that_lacks_acknowledged_events_gets_no_more() {
    on_two_servers(async |servers| {
        let database = open(&servers.url).await;
        let queue = queue(&database);
        queue.append(append("a", 1)).await.unwrap();
        servers.replicate();
        queue.append(append("b", 1)).await.unwrap();

        servers.switch().await;
        let lost = |answer| matches!(answer, Err(AppendError::Damaged(_)));
        assert!(lost(queue.append(append("c", 1)).await), "the log is shorter");
        let other = self::queue(&open(&servers.new_url).await);
        other.append(append("d", 1)).await.unwrap();
        assert!(
            lost(queue.append(append("c", 1)).await),
            "another event has the position"
        );
        other.append(append("e", 1)).await.unwrap();
        assert!(
            lost(queue.append(append("c", 1)).await),
            "the log has become longer"
        );
        other.shutdown().await;

        // The old server has everything that was acknowledged.
        servers.old.run("SET GLOBAL read_only = 0").await;
        servers.new.run("SET GLOBAL read_only = 1").await;
        servers.proxy.redirect(port(&servers.old_url));
        assert_eq!(queue.append(append("c", 1)).await.unwrap().first.get(), 3);
        database.close().await;
    })
    .await;
}

/// Another process may have acknowledged what the new primary lacks.
#[tokio::test]
async fn a_log_that_lacks_what_another_process_has_acknowledged_gets_no_more() {
    let redis = RedisServer::start().await;
    let redis = RedisServers::parse(redis.url(), None).unwrap();
    on_two_servers(async |servers| {
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let sealing = sealing_of_a_new_log();
        let signal = || {
            let signal = Signal::redis(&redis, "things.events", &tasks, &shutdown);
            signal.share_heads(sealing.head_key());
            signal
        };
        let (here, elsewhere) = (signal(), signal());
        let database = open(&servers.url).await;
        let queue = queue_with(&database, here.clone());
        let other = queue_with(&database, elsewhere);
        other.append(append("a", 1)).await.unwrap();
        servers.replicate();
        // The first messages may precede the connection of the listener.
        let mut number = 0;
        wait_until(SOON, "the process hears of an acknowledged event", async || {
            number += 1;
            let id = format!("b{number}");
            let last = other.append(append(&id, 1)).await.unwrap().last;
            let is_heard = async || here.heard_head().is_some_and(|head| head.position == last);
            let heard = wait_until(SOON, "the message arrives", is_heard);
            tokio::time::timeout(Duration::from_secs(1), heard).await.is_ok()
        })
        .await;

        servers.switch().await;
        let outcome = queue.append(append("c", 1)).await;
        assert!(matches!(outcome, Err(AppendError::Damaged(_))), "{outcome:?}");
        shutdown.cancel();
        database.close().await;
    })
    .await;
}
