//! Waiting for a moment that will come.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Asks `predicate` every 20 ms until it says yes.
///
/// # Panics
/// With `what`, the moment waited for, if it has not come after `deadline`; also if `predicate` itself hangs.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # use std::time::Duration;
/// # let started = std::time::Instant::now();
/// testkit::wait_until(Duration::from_secs(5), "30 ms have passed", async || {
///     started.elapsed() > Duration::from_millis(30)
/// })
/// .await;
/// # }
/// ```
pub async fn wait_until(deadline: Duration, what: &str, mut predicate: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !predicate().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(
        timeout(deadline, asking).await.is_ok(),
        "after {deadline:?} still not: {what}"
    );
}

/// Runs a future on a thread of its own: for places that cannot wait, whether in a runtime or not.
pub(crate) fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be built").block_on(future)
    };
    std::thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
