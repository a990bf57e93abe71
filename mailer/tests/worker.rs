//! Failures that a worker handles, with a scripted SMTP server.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eventstore::{Clock, DatabaseOptions};
use mailer::{Options, Rate, Transport, schedule};
use support::{Answer, Delivery, PATIENCE, Scripted, Stage, WatchedClock};
use testkit::wait_until;
use tokio::sync::Semaphore;

/// Creates a stage with one due email, to `ana@example.com`.
async fn one_mail() -> Stage {
    let stage = Stage::sqlite().await;
    stage.register("Ana", "ana@example.com").await;
    stage.follow().await;
    stage
}

async fn the_delivery(stage: &Stage) -> Delivery {
    stage.deliveries().await.remove(0)
}

/// Makes one attempt with a server that follows `script`. Returns the state and the last error of the
/// delivery.
async fn after_one_attempt(
    script: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static,
) -> (String, String) {
    let server = Scripted::start(script).await;
    after_one_attempt_at(&server.url).await
}

async fn after_one_attempt_at(url: &str) -> (String, String) {
    let stage = one_mail().await;
    let options = Options {
        timeouts: support::timeouts(Duration::from_millis(500)),
        ..Options::default()
    };
    let worker = stage.work_with(support::smtp(url), options);
    wait_until(PATIENCE, "the attempt is recorded", async || {
        !matches!(the_delivery(&stage).await.state.as_str(), "pending" | "sending")
    })
    .await;
    worker.stop().await;
    let delivery = the_delivery(&stage).await;
    (delivery.state, delivery.last_error.unwrap_or_default())
}

fn says(
    command: &'static str,
    answer: &'static str,
) -> impl Fn(&str) -> Option<Answer> + Send + Sync + 'static {
    move |asked| asked.starts_with(command).then_some(Answer::Say(answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_for_now_is_tried_again_by_the_schedule_until_the_mail_is_dead() {
    let stage = one_mail().await;
    let server = Scripted::start(says("RCPT", "451 4.7.1 greylisted, ana@example.com")).await;
    let worker = stage.work(support::smtp(&server.url));
    for (attempt, pause) in (1..).zip(schedule::PAUSES) {
        wait_until(PATIENCE, "the attempt has failed", async || {
            let delivery = the_delivery(&stage).await;
            delivery.state == "failed" && delivery.attempts == attempt
        })
        .await;
        let delivery = the_delivery(&stage).await;
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
        worker.has_looked_again().await;
        assert_eq!(the_delivery(&stage).await.attempts, attempt);
        stage.clock.advance(Duration::from_millis(1));
    }
    stage.until_all("dead").await;
    let delivery = the_delivery(&stage).await;
    assert_eq!(
        (delivery.attempts, delivery.due_at, delivery.lease),
        (8, None, None)
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_failed_is_sent_when_the_server_takes_it_again() {
    let stage = one_mail().await;
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
    let delivery = the_delivery(&stage).await;
    assert_eq!(
        (delivery.attempts, delivery.due_at, delivery.last_error),
        (2, None, None)
    );
    assert_eq!(server.mails(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_for_good_is_dead_at_once() {
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
async fn what_may_pass_is_tried_again() {
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
async fn a_mail_that_nobody_answered_for_is_sent_once_more_and_then_left_for_a_person() {
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
            worker.has_looked_again().await;
            assert_eq!(server.mails(), 1, "{}", stage.name);
            stage.clock.advance(Duration::from_secs(2));
            stage.until_all("dead").await;
            stage.clock.advance(Duration::from_hours(100));
            worker.has_looked_again().await;
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
async fn a_server_that_is_slow_to_answer_for_a_message_gets_it_once() {
    let stage = one_mail().await;
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
    assert_eq!((server.mails(), the_delivery(&stage).await.attempts), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_read_is_dead_at_once() {
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
        the_delivery(&stage)
            .await
            .last_error
            .unwrap()
            .starts_with("the event cannot be read")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_lease_has_passed_on_records_nothing() {
    let stage = one_mail().await;
    let answer = Arc::new(Semaphore::new(0));
    let late = Arc::clone(&answer);
    let server = Scripted::start(move |asked| {
        asked
            .starts_with("RCPT")
            .then(|| Answer::Later(Arc::clone(&late), "550 5.1.1 no"))
    })
    .await;
    // With a free slot, this worker could take its own row again after the lease has expired.
    let options = Options {
        concurrency: 1,
        ..Options::default()
    };
    let slow = stage.work_with(support::smtp(&server.url), options);
    stage.until_all("sending").await;
    wait_until(PATIENCE, "the slow worker is at it", async || {
        server.connections() == 1
    })
    .await;
    // The monotonic time does not advance. Otherwise the slow worker might renew its lease first.
    stage.clock.set(stage.clock.now() + Options::default().lease());
    let outbox = tempfile::tempdir().unwrap();
    let other = stage.work(Transport::outbox(outbox.path()));
    stage.until_all("sent").await;
    let before = the_delivery(&stage).await;
    answer.add_permits(1);
    slow.stop().await;
    other.stop().await;
    assert_eq!(the_delivery(&stage).await, before);
    assert_eq!((before.attempts, before.last_error), (2, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_finishes_what_it_is_sending_and_takes_no_more() {
    let stage = Stage::sqlite().await;
    stage.register_many(3).await;
    stage.follow().await;
    let answers = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&answers);
    let server =
        Scripted::start(move |asked| (asked == ".").then(|| Answer::Later(Arc::clone(&gate), "250 taken")))
            .await;
    let options = Options {
        concurrency: 2,
        ..Options::default()
    };
    let worker = stage.work_with(support::smtp(&server.url), options);
    wait_until(PATIENCE, "two mails are being sent", async || server.mails() == 2).await;
    worker.ask_to_stop();
    // When the first email is recorded, a slot is free for the third.
    answers.add_permits(1);
    wait_until(PATIENCE, "the first is recorded", async || {
        stage.states().await.contains(&"sent".to_owned())
    })
    .await;
    assert!(!worker.has_stopped());
    answers.add_permits(1);
    worker.stop().await;
    assert_eq!(stage.states().await, ["sent", "sent", "pending"]);
    assert_eq!(server.mails(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_many_mails_and_no_more_are_opened_than_are_allowed() {
    let stage = Stage::sqlite().await;
    stage.register_many(20).await;
    stage.follow().await;
    let server = Scripted::start(|_| None).await;
    let options = Options {
        concurrency: 2,
        ..Options::default()
    };
    let worker = stage.work_with(support::smtp(&server.url), options);
    stage.until_all("sent").await;
    worker.stop().await;
    assert_eq!(server.mails(), 20);
    assert!(server.connections() <= 2, "{} connections", server.connections());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_leave_than_the_rate_allows() {
    let stage = Stage::sqlite().await;
    stage.register_many(5).await;
    stage.follow().await;
    let server = Scripted::start(|_| None).await;
    let options = Options {
        rate: Some(Rate::new(1, Duration::from_hours(1)).unwrap()),
        ..Options::default()
    };
    let worker = stage.work_with(support::smtp(&server.url), options);
    wait_until(PATIENCE, "one is sent", async || {
        stage.states().await.contains(&"sent".to_owned())
    })
    .await;
    worker.has_looked_again().await;
    worker.stop().await;
    let mut states = stage.states().await;
    states.sort();
    assert_eq!(states, ["pending", "pending", "pending", "pending", "sent"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_given_up_half_way_carries_no_other_mail() {
    let stage = Stage::sqlite().await;
    stage.register_many(2).await;
    stage.follow().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let first_only = Arc::clone(&asked);
    let server = Scripted::start(move |line| {
        let stalls = line == "." && first_only.fetch_add(1, Ordering::SeqCst) == 0;
        stalls.then_some(Answer::Stall)
    })
    .await;
    let options = Options {
        concurrency: 1,
        timeouts: support::timeouts(Duration::from_millis(300)),
        ..Options::default()
    };
    let worker = stage.work_with(support::smtp(&server.url), options);
    wait_until(PATIENCE, "the first has been tried", async || {
        stage.states().await.contains(&"failed".to_owned())
    })
    .await;
    stage.clock.advance(Duration::from_secs(2));
    wait_until(PATIENCE, "both have been tried", async || {
        stage.states().await == ["failed", "sent"]
    })
    .await;
    worker.stop().await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_closes_after_each_mail_loses_none() {
    let stage = Stage::sqlite().await;
    stage.register_many(10).await;
    stage.follow().await;
    let server = Scripted::start(|asked| asked.starts_with("RSET").then_some(Answer::Close)).await;
    let worker = stage.work(support::smtp(&server.url));
    stage.until_all("sent").await;
    worker.stop().await;
    assert_eq!(server.mails(), 10);
}

/// A firewall has dropped the connections without notice, so that a check of each idle session would time
/// out.
#[tokio::test(flavor = "multi_thread")]
async fn kept_sessions_that_have_died_do_not_use_up_the_time_of_the_next_mail() {
    let stage = Stage::sqlite().await;
    stage.register_many(8).await;
    stage.follow().await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let server = Scripted::start(move |asked| match asked {
        "." => Some(Answer::Later(Arc::clone(&held), "250 ok")),
        "RSET" => Some(Answer::Stall),
        _ => None,
    })
    .await;
    let options = Options {
        timeouts: mailer::Timeouts {
            connect: Duration::from_secs(15),
            send: Duration::from_secs(2),
            answer: PATIENCE,
        },
        ..Options::default()
    };
    let worker = stage.work_with(support::smtp(&server.url), options);
    wait_until(PATIENCE, "eight sessions are open", async || server.mails() == 8).await;
    gate.add_permits(100);
    stage.until_all("sent").await;
    stage.register_many(1).await;
    stage.follow().await;
    stage.until_all("sent").await;
    worker.stop().await;
    let deliveries = stage.deliveries().await;
    assert!(deliveries.iter().all(|delivery| delivery.attempts == 1));
    assert_eq!(stage.history(9).await, [(1, "sent".to_owned(), None)]);
    assert_eq!(server.connections(), 9, "no other session was tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_wakes_the_worker_of_its_process() {
    use eventstore::{Signal, Subscription, SystemClock};
    let stage = Stage::sqlite().await;
    let outbox = tempfile::tempdir().unwrap();
    let (handler, wake) = mailer::handler(stage.clock.clone(), mailer::Notices::default());
    let options = Options {
        // The poll interval exceeds the test's limit, so only the wake-up can start the attempt in time.
        poll: PATIENCE * 2,
        ..Options::default()
    };
    let composer = mailer::Composer::new(
        mailer::Templates::built_in().unwrap(),
        mailer::Languages::default(),
        mailer::Sender::default(),
    );
    let transport = Transport::outbox(outbox.path());
    let clock = Arc::new(WatchedClock::new(stage.clock.clone()));
    let worker = mailer::Worker::new(
        stage.log.clone(),
        clock.clone(),
        composer,
        transport,
        options,
        wake,
    );
    let signal = Signal::in_process();
    let subscription = Subscription::new(
        mailer::SUBSCRIPTION,
        "test",
        stage.log.clone(),
        &signal,
        SystemClock::shared(),
        handler,
    )
    .with_poll(Duration::from_millis(20));
    let shutdown = tokio_util::sync::CancellationToken::new();
    let tasks = [
        tokio::spawn(worker.run(shutdown.clone())),
        tokio::spawn(subscription.run(shutdown.clone())),
    ];
    // The worker has found no delivery and waits. The next line waits until it has returned the only write
    // connection.
    clock.until_asked(1).await;
    drop(stage.log.database().writer().await.unwrap());
    stage.register("Ana", "ana@example.com").await;
    stage.until_all("sent").await;
    shutdown.cancel();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_and_comes_back_loses_no_mail() {
    let flavour = testkit::installed_flavours().pop().expect(
        "a MySQL server to kill: install one, such as with `apt-get install mariadb-server-core` or \
         `apt-get install mysql-server-core`",
    );
    let mut server = testkit::PrivateMysql::start(flavour).await;
    let schema = server.server().create_database().await;
    let url = schema.url.clone();
    let stage = Stage::on(flavour.to_string(), &url, Box::new(schema)).await;
    stage.register_many(100).await;
    stage.follow().await;

    // The server accepts the first ten emails immediately, and the others when the gate permits.
    let gate = Arc::new(Semaphore::new(0));
    let (mails, held) = (AtomicUsize::new(0), Arc::clone(&gate));
    let smtp = Scripted::start(move |asked| {
        (asked == "." && mails.fetch_add(1, Ordering::SeqCst) >= 10)
            .then(|| Answer::Later(Arc::clone(&held), "250 ok"))
    })
    .await;
    let impatient = DatabaseOptions {
        acquire_timeout: Duration::from_millis(500),
        ..DatabaseOptions::default()
    };
    let options = Options::default();
    let transport = support::smtp(&smtp.url);
    let worker = stage.work_apart_with(impatient, transport, options).await;
    let in_flight = 10 + options.concurrency;
    wait_until(PATIENCE, "as many mails as may be are at the gate", async || {
        smtp.mails() == in_flight
    })
    .await;
    server.kill().await;
    let asked = worker.clock.asked();
    gate.add_permits(100);
    // The attempts at the gate end. Then two transactions begin: when the second begins, the first has
    // failed.
    worker
        .clock
        .until_asked(asked + options.concurrency as u64 + 2)
        .await;
    assert_eq!(
        smtp.mails(),
        in_flight,
        "without its ledger a worker sends nothing new"
    );
    server.restart().await;
    // A transaction whose reply was lost may have leased rows. They are due again when their leases expire.
    stage.clock.advance(options.lease());
    stage.until_all("sent").await;
    worker.stop().await;
    // Outcomes that could not be recorded were kept until the database was back, so no email was sent twice.
    assert_eq!(smtp.mails(), 100);
}
