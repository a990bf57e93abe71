//! What Celery on Redis is known to lose or to send twice, and why that cannot happen here. The third of
//! these, a worker that consumes nothing more after Redis was away (celery#10205), needs the whole program:
//! `tests/e2e/mail.rs`.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use eventstore::DatabaseOptions;
use mailer::Options;
use support::{Answer, PATIENCE, Scripted, Stage};
use testkit::{SmtpMode, SmtpServer, wait_until};
use tokio::sync::Semaphore;

/// celery#3270: a task that waits or runs for longer than the visibility timeout is given to a second worker.
/// Here a mail that waits is leased by nobody, and one that is being sent is given up before its lease ends.
#[tokio::test(flavor = "multi_thread")]
async fn mails_that_wait_for_longer_than_a_lease_are_sent_once() {
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
        // By the ledger's clock a mail is at the server for less than a lease, and the last ones wait for
        // two.
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

/// celery#1789: tasks that a worker has fetched are lost with it. Here what a killed worker held is taken
/// over; only what it was sending at that moment may come twice, with the same Message-ID, and the history
/// says which.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_killed_again_and_again_lose_nothing() {
    const MAILS: usize = 200;
    for stage in Stage::on_every_backend().await {
        stage.register_many(MAILS).await;
        stage.follow().await;
        let server = SmtpServer::start(SmtpMode::Plain).await;
        for round in 1..=5 {
            let transport = support::smtp(&server.url());
            let worker = stage
                .work_apart_with(DatabaseOptions::default(), transport, Options::default())
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
