//! Connections that are lost at the commit, when it is unknown whether the batch was written.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use eventstore::{
    Append, AppendError, AppendOptions, AppendQueue, Database, DatabaseOptions, Signal, SystemClock,
};
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};

use crate::backend::{Backend, on_mysql, position};
use crate::proxy::{Cut, Proxy};
use crate::sample::{append, releasing, taking};

/// Returns a queue whose connections use a proxy, and the proxy, which can cut them.
async fn through_a_proxy(backend: &Backend, cut: Cut) -> (Proxy, AppendQueue) {
    queue_through_a_proxy(backend, cut, AppendOptions::default()).await
}

async fn queue_through_a_proxy(backend: &Backend, cut: Cut, options: AppendOptions) -> (Proxy, AppendQueue) {
    let server = MySqlConnectOptions::from_str(&backend.url).unwrap();
    let proxy = Proxy::start((server.get_host().to_owned(), server.get_port()), cut).await;
    let url = server
        .host("127.0.0.1")
        .port(proxy.port)
        // Without TLS, so that the proxy can read the statements.
        .ssl_mode(MySqlSslMode::Disabled)
        .to_url_lossy();
    let database = Database::connect(url.as_str(), DatabaseOptions::default())
        .await
        .unwrap();
    let queue = AppendQueue::start_with(database, Signal::in_process(), SystemClock::shared(), options);
    (proxy, queue)
}

/// Appends a batch while the connection is cut `times` times, and checks that every append has the same
/// result as without the cuts.
async fn a_batch_is_made_once(backend: &Backend, cut: Cut, times: u32) {
    backend.migrate().await;
    let (proxy, queue) = through_a_proxy(backend, cut).await;
    queue.append(taking("holder", 1, "x")).await.unwrap();
    proxy.cut_the_next(times);
    let (released, taken, alone, refused) = tokio::join!(
        queue.append(releasing("holder", 2, "x")),
        queue.append(taking("a", 1, "x")),
        queue.append(append("b", 1)),
        queue.append(taking("c", 1, "x")),
    );
    assert_eq!(proxy.left(), 0, "it was cut");
    assert_eq!(released.unwrap().first, position(2));
    assert_eq!(taken.unwrap().first, position(3));
    assert_eq!(alone.unwrap().first, position(4));
    assert!(matches!(refused, Err(AppendError::ClaimTaken)), "{refused:?}");
    assert_eq!(backend.head().await, position(4));
    assert_eq!(backend.number("SELECT COUNT(*) FROM events").await, 4);
    // Later appends succeed.
    assert_eq!(queue.append(append("d", 1)).await.unwrap().first, position(5));
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_made_again() {
    on_mysql(async |backend: Arc<Backend>| a_batch_is_made_once(&backend, Cut::BeforeCommit, 3).await).await;
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_and_not_made_again() {
    on_mysql(async |backend: Arc<Backend>| a_batch_is_made_once(&backend, Cut::AfterCommit, 1).await).await;
}

#[tokio::test]
async fn what_others_append_meanwhile_does_not_hide_it() {
    on_mysql(async |backend: Arc<Backend>| {
        backend.migrate().await;
        let others = backend.queue();
        let (proxy, queue) = through_a_proxy(&backend, Cut::AfterCommit).await;
        proxy.cut_the_next(5);
        let (ours, ()) = tokio::join!(
            async {
                let mut ours = Vec::new();
                for n in 0..5 {
                    ours.push(queue.append(append(&format!("ours {n}"), 1)).await.unwrap().first);
                }
                ours
            },
            async {
                for n in 0..100 {
                    others.append(append(&format!("other {n}"), 1)).await.unwrap();
                }
            }
        );
        assert_eq!(proxy.left(), 0, "they were cut");
        assert_eq!(backend.head().await, position(105));
        for (n, position) in ours.into_iter().enumerate() {
            let sql = format!("SELECT position FROM events WHERE aggregate_id = 'ours {n}'");
            assert_eq!(
                backend.numbers(&sql).await,
                [i64::try_from(position.get()).unwrap()]
            );
        }
    })
    .await;
}

/// Appends a batch whose commit the next look does not find, and checks that every append has the same result
/// as without the lag. The second attempt fails because of the events of the first.
async fn a_lagging_server_refuses_nobody(backend: &Backend, last: Append) {
    backend.migrate().await;
    let (proxy, queue) = through_a_proxy(backend, Cut::AfterCommit).await;
    queue.append(taking("holder", 1, "x")).await.unwrap();
    proxy.hide_the_next_looks(1);
    proxy.cut_the_next(1);
    let (released, taken, refused, last) = tokio::join!(
        queue.append(releasing("holder", 2, "x")),
        queue.append(taking("a", 1, "x")),
        queue.append(taking("c", 1, "x")),
        queue.append(last),
    );
    assert_eq!(proxy.left(), 0, "it was cut");
    assert_eq!(released.unwrap().first, position(2));
    assert_eq!(taken.unwrap().first, position(3));
    assert!(matches!(refused, Err(AppendError::ClaimTaken)), "{refused:?}");
    assert_eq!(last.unwrap().first, position(4));
    assert_eq!(backend.head().await, position(4));
}

#[tokio::test]
async fn a_conflict_with_its_own_commit_that_a_lagging_server_did_not_show_is_no_conflict() {
    on_mysql(async |backend: Arc<Backend>| a_lagging_server_refuses_nobody(&backend, append("b", 1)).await)
        .await;
}

#[tokio::test]
async fn a_unique_key_of_its_own_commit_that_a_lagging_server_did_not_show_is_no_failure() {
    on_mysql(async |backend: Arc<Backend>| {
        a_lagging_server_refuses_nobody(&backend, append("b", 1).of_new_aggregate()).await;
    })
    .await;
}

#[tokio::test]
async fn a_commit_of_a_single_append_that_a_lagging_server_did_not_show_is_found() {
    on_mysql(async |backend: Arc<Backend>| {
        backend.migrate().await;
        let (proxy, queue) = through_a_proxy(&backend, Cut::AfterCommit).await;
        queue.append(append("first", 1)).await.unwrap();
        for (number, new) in (2..).zip([
            append("a", 1).of_new_aggregate(),
            append("first", 2),
            taking("b", 1, "x"),
        ]) {
            proxy.hide_the_next_looks(1);
            proxy.cut_the_next(1);
            assert_eq!(queue.append(new).await.unwrap().first, position(number));
        }
    })
    .await;
}

#[tokio::test]
async fn an_outcome_that_cannot_be_found_in_time_is_unknown() {
    on_mysql(async |backend: Arc<Backend>| {
        backend.migrate().await;
        let options = AppendOptions {
            outcome_wait: Duration::from_millis(200),
            ..AppendOptions::default()
        };
        let (proxy, queue) = queue_through_a_proxy(&backend, Cut::AfterCommit, options).await;
        queue.append(append("before", 1)).await.unwrap();
        proxy.refuse_after_the_cut();
        let answer = queue.append(append("a", 1)).await;
        assert!(matches!(answer, Err(AppendError::InDoubt(_))), "{answer:?}");
        assert_eq!(backend.head().await, position(2));
    })
    .await;
}
