//! Waiting for a condition.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Calls `predicate` every 20 ms until it returns true.
///
/// # Panics
/// If the condition is not true after `deadline`, or if `predicate` itself hangs. The message contains
/// `what`.
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
        "after {deadline:?}, this is still not true: {what}"
    );
}

/// Runs a future on a separate thread, for callers that cannot await, inside or outside a runtime.
pub(crate) fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be built").block_on(future)
    };
    std::thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
