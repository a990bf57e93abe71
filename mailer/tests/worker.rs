//! Leases, connections, limits and outages of a worker, with a scripted SMTP server.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eventstore::{Clock, DatabaseOptions};
use mailer::{Options, Rate, Transport};
use support::{Answer, PATIENCE, Scripted, Stage, WatchedClock};
use testkit::wait_until;
use tokio::sync::Semaphore;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_has_lost_its_lease_records_nothing() {
    let stage = Stage::with_one_email().await;
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
    let before = stage.first_delivery().await;
    answer.add_permits(1);
    slow.stop().await;
    other.stop().await;
    assert_eq!(stage.first_delivery().await, before);
    assert_eq!((before.attempts, before.last_error), (2, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_finishes_its_attempts_and_starts_no_more() {
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
async fn connections_are_reused_and_never_exceed_the_concurrency() {
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
async fn the_rate_limits_the_number_of_sent_emails() {
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
    worker.has_polled_again().await;
    worker.stop().await;
    let mut states = stage.states().await;
    states.sort();
    assert_eq!(states, ["pending", "pending", "pending", "pending", "sent"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_with_an_abandoned_send_is_not_reused() {
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
async fn no_email_is_lost_if_the_server_disconnects_after_each_email() {
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
async fn dead_idle_sessions_do_not_use_up_the_timeout_of_the_next_email() {
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
async fn a_registration_wakes_the_worker_in_the_same_process() {
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
async fn no_email_is_lost_or_repeated_if_the_database_is_restarted() {
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
    let worker = stage.work_separately_with(impatient, transport, options).await;
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
