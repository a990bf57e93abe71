//! A server that is unreachable or rejects all mail. The worker probes it at intervals, no delivery loses an
//! attempt, all emails are sent when the server recovers, and operators can see the outage.

#![expect(
    clippy::unwrap_used,
    reason = "for tests only: every failed check must fail the test"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use eventstore::{Clock, Timestamp};
use mailer::{Ledger, Options, ServerState, WorkerStatus};
use support::{Answer, PATIENCE, Scripted, Stage};
use testkit::{SmtpMode, SmtpServer, wait_until};
use tokio::sync::Semaphore;

fn options() -> Options {
    Options {
        timeouts: support::timeouts(Duration::from_millis(500)),
        ..Options::default()
    }
}

/// Returns the published status of the stage's workers.
async fn told(stage: &Stage) -> Vec<WorkerStatus> {
    let ledger = Ledger::new(stage.log.database().clone());
    ledger.workers(stage.clock.now()).await.unwrap()
}

async fn until_told(stage: &Stage, expected: ServerState) -> WorkerStatus {
    let what = format!("{}: the worker is {}", stage.name, expected.name());
    wait_until(PATIENCE, &what, async || {
        told(stage)
            .await
            .first()
            .is_some_and(|worker| worker.state == expected)
    })
    .await;
    told(stage).await.remove(0)
}

/// Starts a server that follows `script` until `works` is set, and accepts everything from then on.
async fn broken(
    script: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static,
    works: &Arc<AtomicBool>,
) -> Scripted {
    let works = Arc::clone(works);
    Scripted::start(move |asked| {
        if works.load(Ordering::SeqCst) {
            None
        } else {
            script(asked)
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_gets_one_probe_and_no_attempt_counts() {
    for stage in Stage::on_every_backend().await {
        stage.register_many(100).await;
        stage.follow().await;
        let works = Arc::new(AtomicBool::new(false));
        let server = broken(
            |asked| (asked == "hello").then_some(Answer::Say("421 4.3.2 down")),
            &works,
        )
        .await;
        let worker = stage.work_with(support::smtp(&server.url), options());
        let status = until_told(&stage, ServerState::Down).await;
        assert_eq!(
            status.error.as_deref(),
            Some("EHLO: the server answered 421 4.3.2")
        );
        assert_eq!(status.since, stage.clock.now());
        worker.has_polled_again().await;
        assert_eq!(server.connections(), 1, "{}", stage.name);

        // After each pause, the worker opens exactly one more connection.
        for tried in 2..=4 {
            stage.clock.advance(Duration::from_secs(40));
            wait_until(PATIENCE, "it is tried", async || server.connections() == tried).await;
            wait_until(PATIENCE, "that is recorded", async || {
                !stage.states().await.contains(&"sending".to_owned())
            })
            .await;
            worker.has_polled_again().await;
            assert_eq!(server.connections(), tried, "{}", stage.name);
        }
        let deliveries = stage.deliveries().await;
        assert!(
            deliveries
                .iter()
                .all(|delivery| delivery.state == "pending" && delivery.attempts == 0),
            "{deliveries:?}"
        );

        works.store(true, Ordering::SeqCst);
        stage.pass(Duration::from_secs(40)).await;
        stage.until_all("sent").await;
        assert_eq!(until_told(&stage, ServerState::Ready).await.error, None);
        worker.stop().await;
        assert_eq!(server.mails(), 100, "{}", stage.name);
        assert_one_attempt_each(&stage).await;
        assert_eq!(
            told(&stage).await,
            [],
            "{}: one that has stopped is gone",
            stage.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outages_that_need_intervention_are_distinguished_from_others() {
    use ServerState::{Down, Refused};
    for (command, reply, state, error) in [
        (
            "hello",
            "554 5.3.2 closed",
            Refused,
            "EHLO: the server answered 554 5.3.2",
        ),
        ("hello", "421 busy", Down, "EHLO: the server answered 421"),
        (
            "hello",
            "SSH-2.0-OpenSSH_9.6",
            Down,
            "EHLO: the reply is not valid SMTP",
        ),
        // lettre panics at the second line of this reply.
        (
            "EHLO",
            "250-scripted\r\n250-  \r\n250 SIZE",
            Down,
            "EHLO: the reply is not valid SMTP",
        ),
        (
            "EHLO",
            "250-scripted\r\n250 AUTH GSSAPI",
            Refused,
            "AUTH: the server offers no supported authentication mechanism",
        ),
        (
            "AUTH",
            "535 5.7.8 bad credentials of user",
            Refused,
            "AUTH: the server answered 535 5.7.8",
        ),
        (
            "AUTH",
            "454 4.7.0 try later",
            Down,
            "AUTH: the server answered 454 4.7.0",
        ),
        (
            "MAIL",
            "530 5.7.0 authenticate",
            Refused,
            "MAIL: the server answered 530 5.7.0",
        ),
        (
            "MAIL",
            "553 5.7.1 not your sender",
            Refused,
            "MAIL: the server answered 553 5.7.1",
        ),
        (
            "MAIL",
            "421 4.3.2 going down",
            Down,
            "MAIL: the server answered 421 4.3.2",
        ),
        (
            "MAIL",
            "451 4.3.0 try later",
            Down,
            "MAIL: the server answered 451 4.3.0",
        ),
        (
            "RCPT",
            "550 5.1.8 no such domain: miapp.com",
            Refused,
            "RCPT: the server answered 550 5.1.8",
        ),
        (
            ".",
            "550-5.7.26 unauthenticated\r\n550 5.7.26 see SPF and DKIM",
            Refused,
            "message: the server answered 550 5.7.26",
        ),
    ] {
        let stage = Stage::sqlite().await;
        stage.register_many(3).await;
        stage.follow().await;
        let works = Arc::new(AtomicBool::new(false));
        let server = broken(
            move |asked| asked.starts_with(command).then_some(Answer::Say(reply)),
            &works,
        )
        .await;
        let url = server.url.replace("smtp://", "smtp://user:hunter2@");
        let worker = stage.work_with(support::smtp(&url), options());
        let status = until_told(&stage, state).await;
        assert_eq!(status.error.as_deref(), Some(error), "{reply}");
        assert!(!format!("{status:?}").contains("hunter2"), "{status:?}");
        worker.has_polled_again().await;
        let left = stage.states().await;
        assert!(!left.contains(&"dead".to_owned()), "{reply}: {left:?}");
        works.store(true, Ordering::SeqCst);
        stage.pass(Duration::from_mins(1)).await;
        stage.until_all("sent").await;
        worker.stop().await;
        assert_one_attempt_each(&stage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_that_a_policy_rejects_does_not_delay_other_emails() {
    let stage = Stage::sqlite().await;
    stage.register_many(30).await;
    stage.follow().await;
    let server = Scripted::start(|asked| {
        (asked.starts_with("RCPT") && asked.contains("<p7@example.com>"))
            .then_some(Answer::Say("554 5.7.1 blocked"))
    })
    .await;
    let worker = stage.work_with(support::smtp(&server.url), options());
    wait_until(PATIENCE, "all others are sent", async || {
        stage.pass(Duration::from_millis(100)).await;
        let states = stage.states().await;
        states.iter().filter(|state| *state == "sent").count() == 29
    })
    .await;
    wait_until(PATIENCE, "it is given up in the end", async || {
        stage.pass(Duration::from_mins(10)).await;
        stage.states().await.contains(&"dead".to_owned())
    })
    .await;
    worker.stop().await;
    let refused = stage
        .deliveries()
        .await
        .into_iter()
        .find(|one| one.state == "dead");
    assert_eq!(refused.unwrap().attempts, 8);
}

/// A password was changed while a session was open. The open session still works, but no new session can be
/// opened. When a new session is rejected, the open session either is sending an email or is idle.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_session_does_not_cause_further_logins_with_a_wrong_password() {
    for busy in [true, false] {
        let stage = Stage::sqlite().await;
        stage.register_many(4).await;
        stage.follow().await;
        let (sending, refusing) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        if busy {
            refusing.add_permits(100);
        }
        let tried = Arc::new(AtomicUsize::new(0));
        let (sends, refuses, auths) = (Arc::clone(&sending), Arc::clone(&refusing), Arc::clone(&tried));
        let server = Scripted::start(move |asked| match asked {
            "." => Some(Answer::Later(Arc::clone(&sends), "250 ok")),
            _ if asked.starts_with("AUTH") => (auths.fetch_add(1, Ordering::SeqCst) > 0)
                .then(|| Answer::Later(Arc::clone(&refuses), "535 5.7.8 no")),
            _ => None,
        })
        .await;
        let url = server.url.replace("smtp://", "smtp://user:hunter2@");
        let options = Options {
            concurrency: 2,
            ..Options::default()
        };
        let worker = stage.work_with(support::smtp(&url), options);
        let sent = async || {
            let states = stage.states().await;
            states.iter().filter(|state| *state == "sent").count()
        };
        wait_until(PATIENCE, "a second session is begun", async || {
            tried.load(Ordering::SeqCst) == 2
        })
        .await;
        if busy {
            until_told(&stage, ServerState::Refused).await;
            sending.add_permits(100);
            wait_until(PATIENCE, "what was on its way is sent", async || {
                sent().await == 1
            })
            .await;
        } else {
            sending.add_permits(100);
            wait_until(PATIENCE, "all others are sent", async || sent().await == 3).await;
            refusing.add_permits(100);
        }
        until_told(&stage, ServerState::Refused).await;
        worker.has_polled_again().await;
        assert_eq!(tried.load(Ordering::SeqCst), 2, "nobody has tried it again");
        // The next try authenticates again, although the first session is still open.
        stage.clock.advance(Duration::from_secs(40));
        wait_until(PATIENCE, "it is tried", async || {
            tried.load(Ordering::SeqCst) == 3
        })
        .await;
        until_told(&stage, ServerState::Refused).await;
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_a_long_poll_interval_still_publishes_its_status() {
    let stage = Stage::sqlite().await;
    let outbox = tempfile::tempdir().unwrap();
    let options = Options {
        poll: Duration::from_hours(1),
        ..Options::default()
    };
    let worker = stage.work_with(mailer::Transport::outbox(outbox.path()), options);
    let first = until_told(&stage, ServerState::Ready).await;
    stage.clock.advance(Duration::from_secs(1));
    wait_until(PATIENCE, "it says so again", async || {
        told(&stage).await[0].seen_at > first.seen_at
    })
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stalls_disconnects_or_does_not_exist_is_down() {
    for command in ["hello", "EHLO"] {
        for answer in ["stall", "close"] {
            let stage = Stage::sqlite().await;
            stage.register_many(3).await;
            stage.follow().await;
            let server = Scripted::start(move |asked| {
                asked.starts_with(command).then_some(match answer {
                    "stall" => Answer::Stall,
                    _ => Answer::Close,
                })
            })
            .await;
            let worker = stage.work_with(support::smtp(&server.url), options());
            until_told(&stage, ServerState::Down).await;
            worker.stop().await;
        }
    }
    let nobody = format!("smtp://127.0.0.1:{}", testkit::free_port());
    for (url, errors) in [
        (
            nobody.as_str(),
            ["connect: connection failed (connection refused)"].as_slice(),
        ),
        (
            "smtp://no-such-host.invalid?tls=required",
            &["resolve: the host name cannot be resolved", "resolve: timeout"],
        ),
    ] {
        let stage = Stage::sqlite().await;
        stage.register_many(3).await;
        stage.follow().await;
        let worker = stage.work_with(support::smtp(url), options());
        let error = until_told(&stage, ServerState::Down).await.error.unwrap();
        assert!(errors.contains(&error.as_str()), "{error}");
        worker.stop().await;
    }
}

async fn assert_one_attempt_each(stage: &Stage) {
    let deliveries = stage.deliveries().await;
    let attempts: Vec<_> = deliveries.iter().map(|delivery| delivery.attempts).collect();
    assert_eq!(attempts, vec![1; deliveries.len()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_gets_all_mail_with_one_attempt_each() {
    let stage = Stage::sqlite().await;
    stage.register_many(200).await;
    stage.follow().await;
    let mut server = SmtpServer::start(SmtpMode::Plain).await;
    server.kill().await;
    let worker = stage.work(support::smtp(&server.url()));
    until_told(&stage, ServerState::Down).await;
    server.restart().await;
    stage.clock.advance(Duration::from_secs(2));
    stage.until_all("sent").await;
    worker.stop().await;
    assert_eq!(server.mails().len(), 200);
    assert_one_attempt_each(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_does_not_count_while_the_outbox_cannot_be_written() {
    let stage = Stage::sqlite().await;
    stage.register_many(3).await;
    stage.follow().await;
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("outbox");
    std::fs::write(&blocked, "a file where the folder should be").unwrap();
    let worker = stage.work(mailer::Transport::outbox(&blocked));
    until_told(&stage, ServerState::Down).await;
    stage.clock.advance(Duration::from_secs(2));
    worker.has_polled_again().await;
    for delivery in stage.deliveries().await {
        assert_eq!((delivery.state.as_str(), delivery.attempts), ("pending", 0));
        assert_eq!(stage.history(delivery.position.get()).await, []);
    }
    std::fs::remove_file(&blocked).unwrap();
    stage.clock.advance(Duration::from_secs(4));
    stage.until_all("sent").await;
    worker.stop().await;
    assert_eq!(support::files(&blocked).len(), 3);
    assert_one_attempt_each(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_recent_updates_is_not_active() {
    let stage = Stage::sqlite().await;
    let outbox = tempfile::tempdir().unwrap();
    let worker = stage
        .work_separately(mailer::Transport::outbox(outbox.path()))
        .await;
    until_told(&stage, ServerState::Ready).await;
    worker.kill().await;
    assert_eq!(told(&stage).await.len(), 1);
    let later: Timestamp = stage.clock.now() + Duration::from_mins(1);
    let ledger = Ledger::new(stage.log.database().clone());
    assert_eq!(ledger.workers(later).await.unwrap(), []);
}
