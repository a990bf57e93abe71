//! Known cases in which Celery on Redis loses a task or runs it twice, and tests that the mailer does not
//! share them. A third case, a worker that consumes no more tasks after Redis was unavailable (celery#10205),
//! needs the whole program and is tested in `tests/e2e/mail.rs`.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use eventstore::DatabaseOptions;
use mailer::Options;
use support::{Answer, PATIENCE, Scripted, Stage};
use testkit::{SmtpMode, SmtpServer, wait_until};
use tokio::sync::Semaphore;

/// celery#3270: a task that waits or runs for longer than the visibility timeout is given to a second worker.
/// In the mailer, a waiting email has no lease, and a worker abandons an email before its lease expires.
#[tokio::test(flavor = "multi_thread")]
async fn emails_that_wait_longer_than_a_lease_are_sent_once() {
    for stage in Stage::on_every_backend().await {
        const MAILS: usize = 20;
        stage.register_many(MAILS).await;
        stage.follow().await;
        let gate = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&gate);
        let server =
            Scripted::start(move |asked| (asked == ".").then(|| Answer::Later(Arc::clone(&held), "250 ok")))
                .await;
        let options = Options {
            concurrency: 2,
            ..Options::default()
        };
        let workers = [
            stage.work_with(support::smtp(&server.url), options),
            stage.work_with(support::smtp(&server.url), options),
        ];
        // According to the ledger's clock, each email is at the server for less than one lease, and the last
        // emails wait for two leases.
        for done in 0..MAILS {
            let what = format!("{}: mail {done} is at the server", stage.name);
            wait_until(PATIENCE, &what, async || server.mails() > done).await;
            stage.clock.advance(options.lease() / 10);
            gate.add_permits(1);
            wait_until(PATIENCE, "it is recorded", async || {
                let states = stage.states().await;
                states.iter().filter(|state| *state == "sent").count() > done
            })
            .await;
        }
        for worker in workers {
            worker.stop().await;
        }
        assert_eq!(server.mails(), MAILS, "{}: one was sent twice", stage.name);
        let deliveries = stage.deliveries().await;
        assert!(
            deliveries.iter().all(|delivery| delivery.attempts == 1),
            "{}",
            stage.name
        );
    }
}

/// celery#1789: tasks that a worker has fetched are lost if the worker dies. In the mailer, another worker
/// takes over the deliveries of a killed worker. Only the emails that it was sending may arrive twice, with
/// the same Message-ID, and the history shows which emails these are.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_killed_repeatedly_lose_no_email() {
    const MAILS: usize = 200;
    for stage in Stage::on_every_backend().await {
        stage.register_many(MAILS).await;
        stage.follow().await;
        let server = SmtpServer::start(SmtpMode::Plain).await;
        for round in 1..=5 {
            let transport = support::smtp(&server.url());
            let worker = stage
                .work_separately_with(DatabaseOptions::default(), transport, Options::default())
                .await;
            wait_until(PATIENCE, "some more have arrived", async || {
                server.mails().len() >= round * 25
            })
            .await;
            worker.kill().await;
            stage.clock.advance(Options::default().lease());
        }
        let worker = stage.work(support::smtp(&server.url()));
        stage.until_all("sent").await;
        worker.stop().await;

        let mut copies: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for mail in server.mails() {
            copies.entry(mail.to()).or_default().push(mail.message_id());
        }
        assert_eq!(copies.len(), MAILS, "{}: each patient has a mail", stage.name);
        let mut lost = 0;
        for position in 1..=MAILS as u64 {
            let history = stage.history(position).await;
            lost += history.iter().filter(|(_, outcome, _)| outcome == "lost").count();
        }
        let twice = copies.values().map(|ids| ids.len() - 1).sum::<usize>();
        assert!(
            twice <= lost,
            "{}: {twice} came twice, {lost} were lost track of",
            stage.name
        );
        assert!(
            lost <= 5 * Options::default().concurrency,
            "{}: {lost}",
            stage.name
        );
        for ids in copies.values_mut() {
            ids.dedup();
            assert_eq!(ids.len(), 1, "{}: copies carry the same Message-ID", stage.name);
        }
    }
}
