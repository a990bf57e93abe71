//! Ten thousand registrations while the mail server is down.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mailer::Options;
use support::{Answer, Scripted, Stage};
use testkit::wait_until;

const MAILS: usize = 10_000;

/// Returns the resident memory of this process in KiB, if the system is Linux.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_waits_in_the_ledger_during_an_outage_and_is_then_sent() {
    let stage = Stage::sqlite().await;
    for _ in 0..MAILS / 500 {
        stage.register_many(500).await;
    }
    stage.follow().await;
    let works = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&works);
    let server = Scripted::start(move |asked| {
        (asked == "hello" && !up.load(Ordering::SeqCst)).then_some(Answer::Say("421 down"))
    })
    .await;
    let worker = stage.work_with(support::smtp(&server.url), Options::default());
    wait_until(support::PATIENCE, "the server has been tried", async || {
        server.connections() > 0
    })
    .await;
    worker.has_polled_again().await;
    let before = resident();
    for tried in 2..=10 {
        stage.clock.advance(Duration::from_secs(40));
        wait_until(support::PATIENCE, "it is tried again", async || {
            server.connections() == tried
        })
        .await;
        worker.has_polled_again().await;
    }
    if let (Some(before), Some(after)) = (before, resident()) {
        let grown = after.saturating_sub(before);
        assert!(grown < 16 * 1024, "{grown} KiB more while all mail waits");
    }

    works.store(true, Ordering::SeqCst);
    stage.clock.advance(Duration::from_secs(40));
    wait_until(support::PATIENCE, "all mail has left", async || {
        server.mails() >= MAILS
    })
    .await;
    worker.stop().await;
    let deliveries = stage.deliveries().await;
    assert!(
        deliveries
            .iter()
            .all(|delivery| delivery.state == "sent" && delivery.attempts == 1)
    );
    assert_eq!(server.mails(), MAILS, "none twice");
    assert!(server.connections() <= 10 + Options::default().concurrency);
    if let (Some(before), Some(after)) = (before, resident()) {
        let grown = after.saturating_sub(before);
        assert!(grown < 64 * 1024, "{grown} KiB more after {MAILS} mails");
    }
}
