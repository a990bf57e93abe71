//! Signals through a Redis master that Sentinel replaces.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{RedisServers, Signal, SystemClock};
use testkit::{RedisSentinel, RedisServer, wait_until};

use crate::backend::{Backend, SOON, on_sqlite};
use crate::sample::append;
use crate::signal::{NEVER, WOKEN};

/// Asks a Sentinel.
async fn ask<T: redis::FromRedisValue>(sentinel: &RedisSentinel, question: &str) -> T {
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", sentinel.port())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd("SENTINEL");
    command
        .arg(question)
        .arg("main")
        .query_async(&mut connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn signals_go_through_the_master_also_after_a_failover_and_past_a_sentinel_that_hangs() {
    on_sqlite(async |backend: Arc<Backend>| {
        backend.migrate().await;
        let mut master = RedisServer::start().await;
        let replica = RedisServer::start_replica_of(&master).await;
        let (hanging, sentinel) = (
            RedisSentinel::start(&master).await,
            RedisSentinel::start(&master).await,
        );
        hanging.suspend();
        let url = format!(
            "redis+sentinel://127.0.0.1:{},127.0.0.1:{}/main",
            hanging.port(),
            sentinel.port()
        );
        let servers = RedisServers::parse(&url, None).unwrap();
        Signal::check_redis(&servers).await.unwrap();
        let signal = || {
            let (tasks, shutdown) = backend.tasks();
            Signal::redis(&servers, "sentinel", tasks, shutdown)
        };
        backend.follow(WOKEN, &signal(), NEVER);
        let queue = backend.queue_with(&signal(), SystemClock::shared());
        backend.append_until_woken(&queue, "before ").await;

        wait_until(SOON, "the Sentinel knows the replica", async || {
            ask::<Vec<redis::Value>>(&sentinel, "REPLICAS").await.len() == 1
        })
        .await;
        master.kill().await;
        wait_until(SOON, "the Sentinel names the replica as the master", async || {
            let (_, port): (String, String) = ask(&sentinel, "GET-MASTER-ADDR-BY-NAME").await;
            replica.url().ends_with(&format!(":{port}"))
        })
        .await;
        let promoted = std::time::Instant::now();
        let mut number = 0;
        wait_until(SOON, "a wake-up arrives", async || {
            number += 1;
            let appended = queue
                .append(append(&format!("between {number}"), 1))
                .await
                .unwrap();
            let reached = backend.reached(WOKEN, appended.last);
            tokio::time::timeout(Duration::from_millis(50), reached)
                .await
                .is_ok()
        })
        .await;
        println!("the signal is back {:?} after the failover", promoted.elapsed());
        backend.append_until_woken(&queue, "after ").await;
        Signal::check_redis(&servers).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn sentinels_can_require_a_password() {
    let master = RedisServer::start().await;
    let sentinel = RedisSentinel::start_with_password(&master, "p&w").await;
    let url = format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port());
    let with = RedisServers::parse(&format!("{url}?sentinel_password=p%26w"), None).unwrap();
    Signal::check_redis(&with).await.unwrap();
    for wrong in [url.clone(), format!("{url}?sentinel_password=p%26x")] {
        let servers = RedisServers::parse(&wrong, None).unwrap();
        let error = Signal::check_redis(&servers).await.unwrap_err().to_string();
        assert!(!error.contains("p&x"), "{error}");
    }
}
