use std::sync::atomic::{AtomicUsize, Ordering};

use eventstore::SystemClock;
use tokio::time::{advance, sleep};

use super::*;

#[tokio::test(start_paused = true)]
async fn simultaneous_requests_share_one_run_and_a_result_is_kept_for_a_moment() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let checks = Checks::new(move || {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            sleep(Duration::from_secs(3)).await;
            vec![
                Finding::ok("schema", format!("run {number}")),
                Finding::warning("SMTP_URL", "not set").advise("set SMTP_URL"),
            ]
        }
    });
    let clock = SystemClock::shared();
    let (one, other) = tokio::join!(checks.report(&clock), checks.report(&clock));
    assert_eq!(one, other);
    assert_eq!((one.warnings, one.errors), (1, 0));
    advance(Duration::from_secs(9)).await;
    assert_eq!(checks.report(&clock).await, one);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    advance(Duration::from_secs(1)).await;
    assert_eq!(checks.report(&clock).await.findings[0].message, "run 1");
}
