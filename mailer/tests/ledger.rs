//! Tests of the ledger on SQLite, MySQL and MariaDB.

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use domain::PATIENT_REGISTERED;
use eventstore::{Clock, DatabaseOptions, Position, Timestamp};
use mailer::{
    DeliveriesWanted, DeliveryState, FinishedCounts, Ledger, Notices, Options, RetryResult, Transport,
};
use serde_json::json;
use support::{Answer, Stage, files};

#[tokio::test(flavor = "multi_thread")]
async fn each_registration_has_one_row_even_if_the_log_is_followed_again() {
    for stage in Stage::on_every_backend().await {
        stage.register_many(3).await;
        stage.follow().await;
        let first = stage.deliveries().await;
        assert_eq!(stage.states().await, ["pending"; 3], "{}", stage.name);
        assert!(
            first
                .iter()
                .all(|delivery| delivery.attempts == 0 && delivery.lease.is_none()),
            "{first:?}"
        );

        stage.execute("DELETE FROM checkpoints").await;
        stage.follow().await;
        assert_eq!(stage.deliveries().await, first, "{}", stage.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_other_aggregates_and_types_have_no_row() {
    for stage in Stage::on_every_backend().await {
        let payload = json!({ "type": "PatientRegistered" });
        stage.append("clinic", "1", 1, "PatientRegistered", payload).await;
        stage.append("patient", "2", 1, "PatientMoved", json!({})).await;
        stage.follow().await;
        assert_eq!(stage.deliveries().await, [], "{}", stage.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_cancels_the_waiting_deliveries() {
    for stage in Stage::on_every_backend().await {
        let (waiting, _) = stage.register("Ana", "ana@example.com").await;
        let (failed, _) = stage.register("Bea", "bea@example.com").await;
        stage.register("Carla", "carla@example.com").await;
        stage.follow().await;
        stage
            .execute("UPDATE mail_deliveries SET state = 'failed' WHERE position = 2")
            .await;
        stage.delete(&waiting).await;
        stage.delete(&failed).await;
        stage.follow().await;
        assert_eq!(
            stage.states().await,
            ["cancelled", "cancelled", "pending"],
            "{}",
            stage.name
        );
        assert_eq!(stage.deliveries().await[0].due_at, None);

        let outbox = tempfile::tempdir().unwrap();
        let worker = stage.work(Transport::outbox(outbox.path()));
        testkit::wait_until(support::PATIENCE, "the third mail left", async || {
            stage.states().await[2] == "sent"
        })
        .await;
        worker.stop().await;
        assert_eq!(
            files(outbox.path()),
            ["3-patient_registered.eml"],
            "{}",
            stage.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_confirmed_if_configured_and_cancels_the_confirmation_of_the_registration() {
    for stage in Stage::on_every_backend().await {
        let (id, _) = stage.register("Ana", "ana@example.com").await;
        stage.register("Bea", "bea@example.com").await;
        stage.delete(&id).await;
        stage
            .follow_with(Notices {
                on_delete: true,
                ..Notices::default()
            })
            .await;
        assert_eq!(
            stage.states().await,
            ["cancelled", "pending", "pending"],
            "{}",
            stage.name
        );
        let outbox = tempfile::tempdir().unwrap();
        let worker = stage.work(Transport::outbox(outbox.path()));
        testkit::wait_until(support::PATIENCE, "both mails left", async || {
            stage.states().await[1..] == ["sent", "sent"]
        })
        .await;
        worker.stop().await;
        assert_eq!(
            files(outbox.path()),
            ["2-patient_registered.eml", "3-patient_deleted.eml"],
            "{}",
            stage.name
        );
        let farewell = std::fs::read_to_string(outbox.path().join("3-patient_deleted.eml")).unwrap();
        assert!(farewell.contains("To: Ana <ana@example.com>"), "{farewell}");
        assert!(farewell.contains(&format!("Message-ID: <3.patient_deleted.{id}@miapp.com>")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_and_a_deletion_in_one_batch_cause_no_email() {
    for stage in Stage::on_every_backend().await {
        let (id, _) = stage.register("Ana", "ana@example.com").await;
        stage.delete(&id).await;
        stage.follow().await;
        assert_eq!(stage.states().await, ["cancelled"], "{}", stage.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_an_earlier_program_added_for_an_import_without_emails_is_cancelled() {
    for stage in Stage::on_every_backend().await {
        let payload = json!({
            "type": PATIENT_REGISTERED, "name": "Ana", "email": "ana@example.com", "phone": "+34600000017",
            "document_url": "https://example.com/a.jpg", "confirmation": false,
            "imported_from": {"source": "patients", "id": "17"},
        });
        let id = "00000000-0000-8000-8000-000000000017";
        stage.append("patient", id, 1, PATIENT_REGISTERED, payload).await;
        stage.follow().await;
        assert_eq!(stage.states().await, Vec::<String>::new(), "{}", stage.name);
        // The state `failed` is that of a mailer that cannot read the event, or of a retry.
        stage
            .execute(&format!(
                "INSERT INTO mail_deliveries (position, template, aggregate_id, state, due_at, created_at, updated_at) \
                 VALUES (1, 'patient_registered', '{id}', 'failed', 1, 1, 1)"
            ))
            .await;
        let outbox = tempfile::tempdir().unwrap();
        let worker = stage.work(Transport::outbox(outbox.path()));
        stage.until_all("cancelled").await;
        worker.stop().await;
        assert_eq!(files(outbox.path()), Vec::<String>::new(), "{}", stage.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_the_subscription_has_not_processed_also_cancels() {
    for stage in Stage::on_every_backend().await {
        let (id, _) = stage.register("Ana", "ana@example.com").await;
        stage.follow().await;
        stage.delete(&id).await;

        let outbox = tempfile::tempdir().unwrap();
        let worker = stage.work(Transport::outbox(outbox.path()));
        stage.until_all("cancelled").await;
        worker.stop().await;
        assert_eq!(files(outbox.path()), Vec::<String>::new(), "{}", stage.name);
        let delivery = &stage.deliveries().await[0];
        assert_eq!((delivery.attempts, delivery.due_at), (0, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_row_of_a_killed_worker_is_leased_again_when_its_lease_expires() {
    for stage in Stage::on_every_backend().await {
        stage.register("Ana", "ana@example.com").await;
        stage.follow().await;
        let stalled =
            support::Scripted::start(|asked| asked.starts_with("MAIL").then_some(support::Answer::Stall))
                .await;
        let killed = stage.work_separately(support::smtp(&stalled.url)).await;
        stage.until_all("sending").await;
        killed.kill().await;

        let outbox = tempfile::tempdir().unwrap();
        let worker = stage.work(Transport::outbox(outbox.path()));
        stage.clock.advance(Options::default().lease() / 2);
        worker.has_polled_again().await;
        assert_eq!(
            stage.states().await,
            ["sending"],
            "{}: the lease still holds",
            stage.name
        );
        stage.clock.advance(Options::default().lease() / 2);
        stage.until_all("sent").await;
        worker.stop().await;
        let delivery = &stage.deliveries().await[0];
        assert_eq!(
            (delivery.attempts, delivery.due_at, &delivery.lease),
            (2, None, &None)
        );
        let lost = "no outcome was recorded before the lease expired; the email may have arrived".to_owned();
        assert_eq!(
            stage.history(1).await,
            [(1, "lost".to_owned(), Some(lost)), (2, "sent".to_owned(), None)],
            "{}",
            stage.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_is_recorded_and_a_manual_retry_resets_the_number() {
    for stage in Stage::on_every_backend().await {
        stage.register("Ana", "ana@example.com").await;
        stage.follow().await;
        let replies = AtomicUsize::new(0);
        let server = support::Scripted::start(move |asked| {
            let replies = asked
                .starts_with("RCPT")
                .then(|| replies.fetch_add(1, Ordering::SeqCst));
            Some(Answer::Say(match replies? {
                0 => "451 4.7.1 later, ana@example.com",
                1 => "550 5.1.1 <ana@example.com> unknown",
                _ => return None,
            }))
        })
        .await;
        let worker = stage.work(support::smtp(&server.url));
        stage.until_all("failed").await;
        stage.clock.advance(mailer::schedule::PAUSES[0] * 2);
        stage.until_all("dead").await;
        let ledger = Ledger::new(stage.log.database().clone());
        let first = Position::new(1).unwrap();
        stage.clock.advance(std::time::Duration::from_secs(1));
        let retried = ledger.retry(first, stage.clock.now()).await.unwrap();
        assert_eq!(retried, RetryResult::Due(1));
        stage.until_all("sent").await;
        worker.stop().await;
        let ended = |attempt, outcome: &str, error: Option<&str>| {
            (attempt, outcome.to_owned(), error.map(str::to_owned))
        };
        assert_eq!(
            stage.history(1).await,
            [
                ended(1, "failed", Some("RCPT: the server answered 451 4.7.1")),
                ended(2, "dead", Some("RCPT: the server answered 550 5.1.1")),
                ended(1, "sent", None),
            ],
            "{}",
            stage.name
        );
        let sent = ledger.retry(first, stage.clock.now()).await.unwrap();
        assert_eq!(sent, RetryResult::NotRetryable(DeliveryState::Sent));
        let unknown = Position::new(99).unwrap();
        assert_eq!(
            ledger.retry(unknown, stage.clock.now()).await.unwrap(),
            RetryResult::NotFound
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_dead_retries_all_dead_deliveries_and_no_others() {
    for stage in Stage::on_every_backend().await {
        stage.register_many(600).await;
        stage.register_many(603).await;
        stage.follow().await;
        stage
            .execute("UPDATE mail_deliveries SET state = 'dead', due_at = NULL, attempts = 8 WHERE position <= 1200")
            .await;
        stage
            .execute("UPDATE mail_deliveries SET state = 'sent', due_at = NULL WHERE position > 1200")
            .await;
        let ledger = Ledger::new(stage.log.database().clone());
        let now = stage.clock.now();
        let dead = DeliveriesWanted {
            state: Some(DeliveryState::Dead),
            patient: None,
        };
        let page = ledger.list(&dead, Position::new(10).unwrap(), 3).await.unwrap();
        let positions: Vec<_> = page.iter().map(|row| row.position.to_string()).collect();
        assert_eq!(positions, ["11", "12", "13"]);
        assert_eq!(ledger.retry_dead(now).await.unwrap(), 1200, "{}", stage.name);
        let status = ledger.status(now).await.unwrap();
        let count = |state| status.counts.iter().find(|(of, _)| *of == state).unwrap().1;
        assert_eq!(
            (
                count(DeliveryState::Pending),
                count(DeliveryState::Dead),
                count(DeliveryState::Sent)
            ),
            (1200, 0, 3)
        );
        assert!(status.oldest_waiting.is_some());
        let delivery = &stage.deliveries().await[0];
        assert_eq!((delivery.attempts, delivery.due_at), (0, Some(now)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_two_hundred_deliveries_and_each_is_sent_once() {
    for stage in Stage::on_every_backend().await {
        stage.register_many(200).await;
        stage.follow().await;
        let outboxes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let workers = outboxes
            .each_ref()
            .map(|outbox| stage.work(Transport::outbox(outbox.path())));
        stage.until_all("sent").await;
        for worker in workers {
            worker.stop().await;
        }
        let [first, second] = outboxes.each_ref().map(|outbox| files(outbox.path()));
        assert_eq!(first.len() + second.len(), 200, "{}", stage.name);
        assert!(
            !first.is_empty() && !second.is_empty(),
            "{}: one worker did it all",
            stage.name
        );
        assert_eq!(
            first.into_iter().chain(second).collect::<BTreeSet<_>>().len(),
            200
        );
        assert!(
            stage
                .deliveries()
                .await
                .iter()
                .all(|delivery| delivery.attempts == 1)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_needs_only_one_database_connection() {
    for stage in Stage::on_every_backend().await {
        stage.register_many(3).await;
        stage.follow().await;
        let one = DatabaseOptions {
            connections: 1,
            ..DatabaseOptions::default()
        };
        let outbox = tempfile::tempdir().unwrap();
        let worker = stage
            .work_separately_with(one, Transport::outbox(outbox.path()), Options::default())
            .await;
        stage.until_all("sent").await;
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_of_a_newer_version_is_not_leased() {
    for stage in Stage::on_every_backend().await {
        stage.register_many(2).await;
        stage.follow().await;
        stage
            .execute("UPDATE mail_deliveries SET template = 'newer' WHERE position = 1")
            .await;
        let outbox = tempfile::tempdir().unwrap();
        let worker = stage.work(Transport::outbox(outbox.path()));
        testkit::wait_until(support::PATIENCE, "the second mail left", async || {
            stage.states().await[1] == "sent"
        })
        .await;
        worker.stop().await;
        assert_eq!(stage.states().await, ["pending", "sent"], "{}", stage.name);
    }
}

/// A hardware clock in local time, or a clock that was ten years ahead: rows written meanwhile are due hours
/// or years too late.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_is_due_too_late_is_counted_and_made_due() {
    for stage in Stage::on_every_backend().await {
        stage.register_many(6).await;
        stage.follow().await;
        let now = stage.clock.now();
        let hour = std::time::Duration::from_hours(1);
        for (position, state, attempts, due_in) in [
            (1, "pending", 0, hour),
            (2, "pending", 0, 87_600 * hour),
            (3, "failed", 1, hour),
            (4, "sending", 1, 4 * hour),
            // The schedule allows these due times.
            (5, "failed", 6, 5 * hour),
            (6, "sending", 1, hour / 4),
        ] {
            let due_at = (now + due_in).as_micros();
            stage
                .execute(&format!(
                    "UPDATE mail_deliveries SET state = '{state}', attempts = {attempts}, due_at = {due_at}, \
                     lease = CASE WHEN '{state}' = 'sending' THEN 'x' END WHERE position = {position}"
                ))
                .await;
        }
        let ledger = Ledger::new(stage.log.database().clone());
        assert_eq!(ledger.due_too_late(now).await.unwrap(), 4, "{}", stage.name);
        assert_eq!(ledger.status(now).await.unwrap().due_too_late, 4);
        assert_eq!(ledger.unfinished(now).await.unwrap().due_too_late, 4);
        let outbox = tempfile::tempdir().unwrap();
        let worker = stage.work(Transport::outbox(outbox.path()));
        testkit::wait_until(support::PATIENCE, "they are sent", async || {
            stage.states().await[..4] == ["sent"; 4]
        })
        .await;
        worker.stop().await;
        assert_eq!(stage.states().await[4..], ["failed", "sending"], "{}", stage.name);
        assert_eq!(ledger.due_too_late(now).await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_unsent_delivery_can_be_retried_manually() {
    for stage in Stage::on_every_backend().await {
        stage.register_many(8).await;
        stage.follow().await;
        let now = stage.clock.now();
        let years = std::time::Duration::from_hours(87_600);
        let (later, before) = ((now + years).as_micros(), now.as_micros() - 1);
        let soon = (now + std::time::Duration::from_mins(5)).as_micros();
        for (position, change) in [
            (1, format!("state = 'pending', due_at = {later}")),
            (2, format!("state = 'failed', attempts = 3, due_at = {later}")),
            (3, "state = 'dead', attempts = 8, due_at = NULL".to_owned()),
            (4, format!("state = 'sending', lease = 'x', due_at = {later}")),
            (5, format!("state = 'sending', lease = 'x', due_at = {before}")),
            (6, format!("state = 'sending', lease = 'x', due_at = {soon}")),
            (7, "state = 'sent', due_at = NULL".to_owned()),
            (8, "state = 'cancelled', due_at = NULL".to_owned()),
        ] {
            stage
                .execute(&format!(
                    "UPDATE mail_deliveries SET {change} WHERE position = {position}"
                ))
                .await;
        }
        let ledger = Ledger::new(stage.log.database().clone());
        let oldest = ledger.oldest_due(now).await.unwrap();
        assert_eq!(
            oldest.map(eventstore::Timestamp::as_micros),
            Some(before),
            "{}",
            stage.name
        );
        for (position, expected) in [
            (1, RetryResult::Due(1)),
            (2, RetryResult::Due(1)),
            (3, RetryResult::Due(1)),
            (4, RetryResult::Due(1)),
            (5, RetryResult::Due(1)),
            (6, RetryResult::NotRetryable(DeliveryState::Sending)),
            (7, RetryResult::NotRetryable(DeliveryState::Sent)),
            (8, RetryResult::NotRetryable(DeliveryState::Cancelled)),
        ] {
            let retried = ledger.retry(Position::new(position).unwrap(), now).await.unwrap();
            assert_eq!(retried, expected, "{}: {position}", stage.name);
        }
        for delivery in &stage.deliveries().await[..5] {
            let left = (
                delivery.state.as_str(),
                delivery.attempts,
                delivery.due_at,
                delivery.lease.as_deref(),
            );
            assert_eq!(left, ("pending", 0, Some(now), None), "{}", stage.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_last_update_is_in_the_future_is_not_active() {
    let stage = Stage::sqlite().await;
    let seen_at = (stage.clock.now() + std::time::Duration::from_hours(87_600)).as_micros();
    stage
        .execute(&format!(
            "INSERT INTO mail_workers (owner, place, state, since, seen_at) VALUES ('x', 'mx:25', 'ready', 1, {seen_at})"
        ))
        .await;
    let ledger = Ledger::new(stage.log.database().clone());
    assert_eq!(ledger.workers(stage.clock.now()).await.unwrap(), []);
}

/// A clock on which a second passes from one look to the next.
#[derive(Debug, Default)]
struct SlowClock(AtomicU64);

impl Clock for SlowClock {
    fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_deliveries_are_counted_again_after_49_times_the_duration_of_a_count_or_a_retry() {
    for stage in Stage::on_every_backend().await {
        stage.register_many(3).await;
        stage.follow().await;
        let finish = async |position: u64| {
            stage
                .execute(&format!(
                    "UPDATE mail_deliveries SET state = 'dead', due_at = NULL WHERE position = {position}"
                ))
                .await;
        };
        let ledger = Ledger::new(stage.log.database().clone());
        let (counts, clock) = (FinishedCounts::default(), SlowClock::default());
        let dead = async || counts.get(&ledger, &clock).await.unwrap()[1];
        finish(1).await;
        assert_eq!(dead().await, (DeliveryState::Dead, 1), "{}", stage.name);
        // This count began at second 0 and took a second.
        finish(2).await;
        for second in 2..50 {
            assert_eq!(dead().await.1, 1, "{} after {second} s", stage.name);
        }
        assert_eq!(dead().await.1, 2, "{}", stage.name);
        finish(3).await;
        assert_eq!(dead().await.1, 2, "{}", stage.name);
        counts.forget().await;
        assert_eq!(dead().await.1, 3, "{}", stage.name);
    }
}
