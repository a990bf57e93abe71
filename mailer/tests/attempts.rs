//! Outcomes of attempts, with a scripted SMTP server.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eventstore::Clock;
use mailer::{Options, Transport, schedule};
use support::{Answer, PATIENCE, Scripted, Stage};
use testkit::wait_until;
use tokio::sync::Semaphore;

/// Makes one attempt with a server that follows `script`. Returns the state and the last error of the
/// delivery.
async fn after_one_attempt(
    script: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static,
) -> (String, String) {
    let server = Scripted::start(script).await;
    after_one_attempt_at(&server.url).await
}

async fn after_one_attempt_at(url: &str) -> (String, String) {
    let stage = Stage::with_one_email().await;
    let options = Options {
        timeouts: support::timeouts(Duration::from_millis(500)),
        ..Options::default()
    };
    let worker = stage.work_with(support::smtp(url), options);
    wait_until(PATIENCE, "the attempt is recorded", async || {
        !matches!(stage.first_delivery().await.state.as_str(), "pending" | "sending")
    })
    .await;
    worker.stop().await;
    let delivery = stage.first_delivery().await;
    (delivery.state, delivery.last_error.unwrap_or_default())
}

fn says(
    command: &'static str,
    answer: &'static str,
) -> impl Fn(&str) -> Option<Answer> + Send + Sync + 'static {
    move |asked| asked.starts_with(command).then_some(Answer::Say(answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_failure_is_retried_by_the_schedule_until_the_email_is_dead() {
    let stage = Stage::with_one_email().await;
    let server = Scripted::start(says("RCPT", "451 4.7.1 greylisted, ana@example.com")).await;
    let worker = stage.work(support::smtp(&server.url));
    for (attempt, pause) in (1..).zip(schedule::PAUSES) {
        wait_until(PATIENCE, "the attempt has failed", async || {
            let delivery = stage.first_delivery().await;
            delivery.state == "failed" && delivery.attempts == attempt
        })
        .await;
        let delivery = stage.first_delivery().await;
        let due_in = delivery.due_at.unwrap().since(stage.clock.now());
        assert!(
            pause.mul_f64(0.8) <= due_in && due_in <= pause.mul_f64(1.2),
            "{attempt}: {due_in:?}"
        );
        assert_eq!(
            delivery.last_error.as_deref(),
            Some("RCPT: the server answered 451 4.7.1")
        );
        assert_eq!(delivery.lease, None);
        // Nothing happens until the delivery is due. Then it is tried again.
        stage
            .clock
            .advance(due_in.saturating_sub(Duration::from_millis(1)));
        worker.has_polled_again().await;
        assert_eq!(stage.first_delivery().await.attempts, attempt);
        stage.clock.advance(Duration::from_millis(1));
    }
    stage.until_all("dead").await;
    let delivery = stage.first_delivery().await;
    assert_eq!(
        (delivery.attempts, delivery.due_at, delivery.lease),
        (8, None, None)
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_that_failed_is_sent_when_the_server_accepts_it() {
    let stage = Stage::with_one_email().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let server = Scripted::start(move |line| {
        let refused = line.starts_with("RCPT") && asked.fetch_add(1, Ordering::SeqCst) == 0;
        refused.then_some(Answer::Say("450 4.2.0 try later"))
    })
    .await;
    let worker = stage.work(support::smtp(&server.url));
    stage.until_all("failed").await;
    stage.clock.advance(schedule::PAUSES[0] * 2);
    stage.until_all("sent").await;
    worker.stop().await;
    let delivery = stage.first_delivery().await;
    assert_eq!(
        (delivery.attempts, delivery.due_at, delivery.last_error),
        (2, None, None)
    );
    assert_eq!(server.mails(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permanent_failure_is_dead_after_one_attempt() {
    for (command, reply, error) in [
        (
            "RCPT",
            "550 5.1.1 <ana@example.com> unknown",
            "RCPT: the server answered 550 5.1.1",
        ),
        (
            "DATA",
            "550 5.2.1 disabled",
            "DATA: the server answered 550 5.2.1",
        ),
        (
            ".",
            "552-5.2.2 full\r\n552 ana",
            "message: the server answered 552 5.2.2",
        ),
    ] {
        let left = after_one_attempt(says(command, reply)).await;
        assert_eq!(left, ("dead".to_owned(), error.to_owned()), "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_may_be_temporary_is_retried() {
    for (command, reply, error) in [
        // The rejection may apply to all mail. Only another email can show whether it does.
        ("DATA", "554 5.6.0 no", "DATA: the server answered 554 5.6.0"),
        ("RCPT", "550 no", "RCPT: the server answered 550"),
        ("RCPT", "421 going down", "RCPT: the server answered 421"),
        (
            "RCPT",
            "421 4.2.1 too many for this mailbox",
            "RCPT: the server answered 421 4.2.1",
        ),
        (
            "DATA",
            "250 not what follows DATA",
            "DATA: the reply is not valid SMTP",
        ),
        (
            ".",
            "451 4.3.0 ana@example.com",
            "message: the server answered 451 4.3.0",
        ),
    ] {
        let left = after_one_attempt(says(command, reply)).await;
        assert_eq!(left, ("failed".to_owned(), error.to_owned()), "{command}");
    }
    for step in ["RCPT", "DATA"] {
        let left = after_one_attempt(move |asked| asked.starts_with(step).then_some(Answer::Stall)).await;
        assert_eq!(left, ("failed".to_owned(), format!("{step}: timeout")));
        let (state, error) =
            after_one_attempt(move |asked| asked.starts_with(step).then_some(Answer::Close)).await;
        assert_eq!(state, "failed");
        assert!(error.starts_with(step), "{error}");
    }
}

/// If a server stalls or disconnects after the message, it may have accepted the email.
#[tokio::test(flavor = "multi_thread")]
async fn an_email_without_a_reply_is_sent_once_more_and_is_then_dead() {
    for (stalls, fault) in [
        (true, "message: timeout"),
        (false, "message: the reply is not valid SMTP"),
    ] {
        for stage in Stage::on_every_backend().await {
            stage.register("Ana", "ana@example.com").await;
            stage.follow().await;
            let server = Scripted::start(move |asked| {
                (asked == ".").then_some(if stalls { Answer::Stall } else { Answer::Close })
            })
            .await;
            let options = Options {
                timeouts: support::timeouts(Duration::from_millis(500)),
                ..Options::default()
            };
            let worker = stage.work_with(support::smtp(&server.url), options);
            stage.until_all("failed").await;
            // The retry waits, because it may create a duplicate.
            stage
                .clock
                .advance(schedule::PAUSE_AFTER_UNKNOWN.saturating_sub(Duration::from_secs(1)));
            worker.has_polled_again().await;
            assert_eq!(server.mails(), 1, "{}", stage.name);
            stage.clock.advance(Duration::from_secs(2));
            stage.until_all("dead").await;
            stage.clock.advance(Duration::from_hours(100));
            worker.has_polled_again().await;
            worker.stop().await;
            assert_eq!(server.mails(), 2, "{}", stage.name);
            let error = |end: &str| Some(format!("{fault}; the email may have arrived{end}"));
            assert_eq!(
                stage.history(1).await,
                [
                    (1, "unknown".to_owned(), error("")),
                    (2, "unknown".to_owned(), error(", once or twice"))
                ],
                "{}",
                stage.name
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_slow_reply_to_a_message_gets_it_once() {
    let stage = Stage::with_one_email().await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let server =
        Scripted::start(move |asked| (asked == ".").then(|| Answer::Later(Arc::clone(&held), "250 ok")))
            .await;
    let send = Duration::from_millis(300);
    let options = Options {
        timeouts: mailer::Timeouts {
            connect: send,
            send,
            answer: PATIENCE,
        },
        ..Options::default()
    };
    let worker = stage.work_with(support::smtp(&server.url), options);
    wait_until(PATIENCE, "the message is at the server", async || {
        server.mails() == 1
    })
    .await;
    let since = std::time::Instant::now();
    wait_until(PATIENCE, "the time for all other steps is over", async || {
        since.elapsed() > 2 * send
    })
    .await;
    gate.add_permits(1);
    stage.until_all("sent").await;
    worker.stop().await;
    assert_eq!((server.mails(), stage.first_delivery().await.attempts), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_email_of_an_unreadable_event_is_dead_after_one_attempt() {
    let stage = Stage::sqlite().await;
    let payload = serde_json::json!({ "type": "PatientRegistered", "name": 42 });
    stage
        .append("patient", "1", 1, "PatientRegistered", payload)
        .await;
    stage.follow().await;
    let outbox = tempfile::tempdir().unwrap();
    let worker = stage.work(Transport::outbox(outbox.path()));
    stage.until_all("dead").await;
    worker.stop().await;
    assert!(
        stage
            .first_delivery()
            .await
            .last_error
            .unwrap()
            .starts_with("the event cannot be read")
    );
}
