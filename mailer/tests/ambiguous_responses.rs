//! Servers that reject or defer emails. A response to some emails does not delay others, and a response to
//! all emails costs none of them an attempt.

#![expect(
    clippy::unwrap_used,
    reason = "for tests only: every failed check must fail the test"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use eventstore::Clock;
use mailer::{Ledger, Options, ServerState, SmtpOptions, Timeouts, Transport, WorkerStatus};
use support::{Answer, PATIENCE, Running, Scripted, Stage};
use testkit::wait_until;
use tokio::sync::Semaphore;

/// Creates a stage with a patient and a delivery for each address.
async fn with(addresses: impl IntoIterator<Item = String>) -> Stage {
    let stage = Stage::sqlite().await;
    for address in addresses {
        stage.register("Ana", &address).await;
    }
    stage.follow().await;
    stage
}

fn some(how_many: usize, domain: &str) -> impl Iterator<Item = String> {
    let domain = domain.to_owned();
    (0..how_many).map(move |number| format!("p{number}@{domain}"))
}

fn unrelated(how_many: usize) -> impl Iterator<Item = String> {
    (0..how_many).map(|number| format!("ana@clinic{number}.example"))
}

async fn told(stage: &Stage) -> Option<WorkerStatus> {
    let ledger = Ledger::new(stage.log.database().clone());
    ledger
        .workers(stage.clock.now())
        .await
        .unwrap()
        .into_iter()
        .next()
}

async fn until_told(stage: &Stage, expected: ServerState) -> WorkerStatus {
    let what = format!("the worker is {}", expected.name());
    wait_until(PATIENCE, &what, async || {
        told(stage).await.is_some_and(|worker| worker.state == expected)
    })
    .await;
    told(stage).await.unwrap()
}

async fn count(stage: &Stage, wanted: &str) -> usize {
    stage
        .states()
        .await
        .iter()
        .filter(|found| *found == wanted)
        .count()
}

/// Returns the numbers of attempts of the deliveries in that state.
async fn attempts(stage: &Stage, wanted: &str) -> Vec<i32> {
    let deliveries = stage.deliveries().await.into_iter();
    deliveries
        .filter(|delivery| delivery.state == wanted)
        .map(|delivery| delivery.attempts)
        .collect()
}

fn rcpt_to(domain: &'static str, reply: &'static str) -> impl Fn(&str) -> Option<Answer> + Send + Sync {
    move |asked| (asked.starts_with("RCPT") && asked.contains(domain)).then_some(Answer::Say(reply))
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_recipients_in_one_domain_delay_no_other_email_and_each_attempt_counts() {
    for reply in [
        "550 5.7.1 no",
        "554 no",
        "421 4.7.0 try later",
        "421 go away",
        "451 4.3.0 later",
    ] {
        for how_many in [1, 6, 30] {
            let stage = with(some(how_many, "evil.example").chain(unrelated(16))).await;
            let server = Scripted::start(rcpt_to("@evil.example", reply)).await;
            let worker = stage.work(support::smtp(&server.url));
            // The clock does not advance until all other emails are sent.
            wait_until(PATIENCE, "all others are sent", async || {
                count(&stage, "sent").await == 16
            })
            .await;
            until_told(&stage, ServerState::Ready).await;
            wait_until(PATIENCE, "each that was turned down is counted", async || {
                attempts(&stage, "failed").await == vec![1; how_many]
            })
            .await;
            // The rejected emails end as dead, because emails to other domains show that the server works.
            let mut others = 0;
            wait_until(PATIENCE, "they are given up", async || {
                stage.register("Ana", &format!("ana@later{others}.example")).await;
                stage.follow().await;
                others += 1;
                stage.pass(Duration::from_hours(1)).await;
                count(&stage, "dead").await == how_many
            })
            .await;
            worker.stop().await;
        }
    }
}

/// Starts a server that answers `command` with `reply` until the returned flag is set.
async fn answering(command: &'static str, reply: &'static str) -> (Scripted, Arc<AtomicBool>) {
    let works = Arc::new(AtomicBool::new(false));
    let accepts = Arc::clone(&works);
    let server = Scripted::start(move |asked| {
        (!accepts.load(Ordering::SeqCst) && asked.starts_with(command)).then_some(Answer::Say(reply))
    })
    .await;
    (server, works)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_sender_stops_the_queue_with_an_error_and_no_email_is_lost() {
    for (command, reply) in [
        (
            "RCPT",
            "504 5.5.2 <1f0c9d>: Helo command rejected: need fully-qualified hostname",
        ),
        ("RCPT", "550 Invalid HELO"),
        (".", "550 5.4.5 Daily user sending limit exceeded"),
        (
            "DATA",
            "550 The from address does not match a verified Sender Identity",
        ),
        (".", "554 Message rejected: Email address is not verified"),
        (".", "554 5.2.252 SendAsDenied"),
        ("RCPT", "550 relay not permitted"),
        ("RCPT", "554 5.7.1 <ana@example.com>: Relay access denied"),
    ] {
        for addresses in [
            some(20, "example.com").collect::<Vec<_>>(),
            unrelated(20).collect(),
        ] {
            let stage = with(addresses).await;
            let (server, works) = answering(command, reply).await;
            let worker = stage.work(support::smtp(&server.url));
            let told = until_told(&stage, ServerState::Refused).await;
            assert!(told.error.unwrap().contains(&reply[..3]), "{reply}");
            // No number of tries makes a delivery dead.
            for _ in 0..20 {
                stage.clock.advance(Duration::from_hours(1));
                worker.has_polled_again().await;
            }
            assert_eq!(count(&stage, "dead").await, 0, "{reply}");
            let failed = attempts(&stage, "failed").await;
            assert!(
                failed.len() <= 4 && failed.iter().all(|attempts| *attempts == 1),
                "{failed:?}"
            );
            works.store(true, Ordering::SeqCst);
            stage.pass(Duration::from_mins(3)).await;
            stage.until_all("sent").await;
            until_told(&stage, ServerState::Ready).await;
            worker.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deferrals_of_all_mail_slow_the_queue_down_and_no_attempt_counts() {
    for (command, reply) in [
        ("MAIL", "450 4.1.8 sender domain not found"),
        ("MAIL", "421 4.7.0 slow down"),
        ("RCPT", "450 4.1.8 sender domain not found"),
        ("RCPT", "450 4.7.1 too much mail"),
        ("RCPT", "454 Throttling failure: maximum sending rate exceeded"),
        ("DATA", "432 4.3.2 throttled"),
        (".", "452 4.3.1 insufficient system storage"),
        ("RCPT", "421 too many messages in this session"),
    ] {
        for addresses in [
            some(30, "example.com").collect::<Vec<_>>(),
            unrelated(30).collect(),
        ] {
            let stage = with(addresses).await;
            let (server, works) = answering(command, reply).await;
            let worker = stage.work(support::smtp(&server.url));
            let told = until_told(&stage, ServerState::Down).await;
            assert!(told.error.unwrap().contains(&reply[..3]), "{reply}");
            for _ in 0..50 {
                stage.clock.advance(Duration::from_mins(1));
                worker.has_polled_again().await;
            }
            let burnt: i32 = stage
                .deliveries()
                .await
                .iter()
                .map(|delivery| delivery.attempts)
                .sum();
            assert!(burnt <= 3, "{reply}: {burnt} attempts");
            works.store(true, Ordering::SeqCst);
            wait_until(PATIENCE, "all are sent", async || {
                stage.pass(Duration::from_secs(10)).await;
                count(&stage, "sent").await == 30
            })
            .await;
            worker.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn greylisting_delays_each_email_alone() {
    for reply in [
        "450 4.2.0 <ana@example.com>: Recipient address rejected: Greylisted",
        "451 4.7.1 Greylisting in action, please come back later",
    ] {
        let stage = with(unrelated(40)).await;
        let seen = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&seen);
        let server = Scripted::start(move |asked| {
            let is_new = asked.starts_with("RCPT") && counted.fetch_add(1, Ordering::SeqCst) < 40;
            is_new.then_some(Answer::Say(reply))
        })
        .await;
        let worker = stage.work(support::smtp(&server.url));
        stage.until_all("failed").await;
        assert_eq!(attempts(&stage, "failed").await, [1; 40], "{reply}");
        assert_eq!(until_told(&stage, ServerState::Ready).await.error, None);
        stage.clock.advance(Duration::from_secs(10));
        stage.until_all("sent").await;
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_accepts_two_connections_gets_two() {
    let stage = with(unrelated(50)).await;
    let server = Scripted::allowing(2, |_| None).await;
    let worker = stage.work(support::smtp(&server.url));
    stage.until_all("sent").await;
    let told = until_told(&stage, ServerState::Ready).await;
    worker.stop().await;
    assert_eq!(attempts(&stage, "sent").await, [1; 50]);
    assert!(server.connections() <= 12, "{} connections", server.connections());
    let error = told.error.unwrap_or_default();
    assert!(
        error.is_empty() || error.contains("accepts no more connections"),
        "{error}"
    );
}

/// Some servers delay the greeting on purpose, for longer than the timeouts of the later steps.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_slow_greeting_gets_its_email_under_a_renewed_lease() {
    let stage = with(unrelated(1)).await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let server = Scripted::start(move |asked| {
        (asked == "hello").then(|| Answer::Later(Arc::clone(&held), "220 at last"))
    })
    .await;
    let options = Options {
        timeouts: Timeouts {
            connect: PATIENCE,
            send: Duration::from_secs(1),
            answer: Duration::from_secs(1),
        },
        ..Options::default()
    };
    let begun = std::time::Instant::now();
    let worker = stage.work_with(support::smtp(&server.url), options);
    wait_until(PATIENCE, "it waits for the greeting", async || {
        server.connections() == 1
    })
    .await;
    let other = stage.work_with(support::smtp(&server.url), options);
    // Advances the clock past the duration of a lease, in steps. The lease is renewed at each step.
    let due = async || stage.deliveries().await[0].due_at.unwrap();
    for _ in 0..10 {
        let before = due().await;
        stage.clock.advance(Duration::from_secs(11));
        wait_until(PATIENCE, "the lease is renewed", async || due().await > before).await;
    }
    wait_until(PATIENCE, "the time for all else is over", async || {
        begun.elapsed() > Duration::from_secs(2)
    })
    .await;
    gate.add_permits(10);
    stage.until_all("sent").await;
    worker.stop().await;
    other.stop().await;
    assert_eq!((server.connections(), server.mails()), (1, 1));
    assert_eq!(attempts(&stage, "sent").await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_does_not_wait_for_a_silent_server() {
    for command in ["hello", "RCPT"] {
        let stage = with(unrelated(1)).await;
        let stalled = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&stalled);
        let server = Scripted::start(move |asked| {
            asked.starts_with(command).then(|| {
                counted.fetch_add(1, Ordering::SeqCst);
                Answer::Stall
            })
        })
        .await;
        let worker: Running = stage.work(support::smtp(&server.url));
        wait_until(PATIENCE, "it is being sent", async || {
            stalled.load(Ordering::SeqCst) == 1
        })
        .await;
        worker.stop().await;
        let delivery = stage.deliveries().await.remove(0);
        assert_eq!((delivery.state.as_str(), delivery.attempts), ("pending", 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ehlo_name_contains_a_dot() {
    for (ehlo, path, expected) in [
        (
            mailer::EhloName::of_machine(Some("1f0c9d3a5b77"), "miapp.com"),
            "",
            "EHLO miapp.com",
        ),
        (
            mailer::EhloName::of_machine(Some("clinic"), "localhost"),
            "",
            "EHLO [127.0.0.1]",
        ),
        (
            "mail.clinic.example".parse().unwrap(),
            "",
            "EHLO mail.clinic.example",
        ),
        (
            "mail.clinic.example".parse().unwrap(),
            "/other.example",
            "EHLO other.example",
        ),
    ] {
        let stage = with(unrelated(1)).await;
        let server = Scripted::start(move |asked| {
            (asked.starts_with("EHLO") && asked != expected)
                .then_some(Answer::Say("504 5.5.2 need a fully-qualified hostname"))
        })
        .await;
        let options = SmtpOptions {
            ehlo,
            ..SmtpOptions::default()
        };
        let url = format!("{}{path}", server.url);
        let worker = stage.work(Transport::smtp(&url, &options).unwrap());
        stage.until_all("sent").await;
        worker.stop().await;
    }
}
