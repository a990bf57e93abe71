//! A follower process that is killed at any moment.

use std::sync::Arc;
use std::time::Duration;

use eventstore::AppendQueue;
use futures::future::join_all;
use testkit::wait_until;

use crate::backend::{Backend, SOON, position};
use crate::program;
use crate::sample::append;

on_every_backend!(a_follower_killed_at_any_moment_loses_and_doubles_nothing);

const KILLS: u32 = 10;
/// Number of events that are appended around each kill.
const EVENTS: u32 = 500;
const WRITERS: u32 = 16;
const NAME: &str = "follower";

async fn a_follower_killed_at_any_moment_loses_and_doubles_nothing(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    // The follower restarts with the same owner name, so it does not wait for its own lease.
    let mut follower = program::start("follower", &[&backend.url, NAME, "the only one"]);
    for kill in 1..=KILLS {
        let before = backend.checkpoint(NAME).await;
        tokio::join!(append_some(&queue, kill), async {
            let what = format!("the follower gets on before kill {kill}");
            wait_until(SOON, &what, async || backend.checkpoint(NAME).await > before).await;
            // Varies the moment of the kill.
            tokio::time::sleep(Duration::from_micros(u64::from(kill) * 7_919 % 30_000)).await;
            assert!(follower.is_running());
            follower.kill9().await;
        });
        follower.restart().await;
    }
    let last = position(u64::from(KILLS * EVENTS));
    assert_eq!(backend.head().await, last);
    backend.followed_up_to(NAME, last).await;
    assert_eq!(backend.checkpoint(NAME).await, Some(last));
    assert!(
        backend
            .followed()
            .await
            .into_iter()
            .eq(1..=i64::from(KILLS * EVENTS))
    );
}

async fn append_some(queue: &AppendQueue, kill: u32) {
    let writers = (0..WRITERS).map(async |writer| {
        for n in (writer..EVENTS).step_by(WRITERS as usize) {
            queue.append(append(&format!("{kill}-{n}"), 1)).await.unwrap();
        }
    });
    join_all(writers).await;
}
