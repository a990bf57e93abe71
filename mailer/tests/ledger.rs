//! The ledger, on SQLite, MySQL and MariaDB alike.

mod support;

use std::collections::BTreeSet;

use eventstore::DatabaseOptions;
use mailer::{Options, Transport};
use serde_json::json;
use support::{Stage, files};

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
async fn a_deletion_cancels_what_waits_and_no_mail_leaves() {
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
async fn a_registration_and_its_deletion_read_together_send_no_mail() {
    for stage in Stage::on_every_backend().await {
        let (id, _) = stage.register("Ana", "ana@example.com").await;
        stage.delete(&id).await;
        stage.follow().await;
        assert_eq!(stage.states().await, ["cancelled"], "{}", stage.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_the_subscription_has_not_come_to_cancels_too() {
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
async fn a_row_that_a_killed_worker_left_is_taken_over_when_its_lease_has_run_out() {
    for stage in Stage::on_every_backend().await {
        stage.register("Ana", "ana@example.com").await;
        stage.follow().await;
        let stalled =
            support::Scripted::start(|asked| asked.starts_with("MAIL").then_some(support::Answer::Stall))
                .await;
        let killed = stage.work_apart(Transport::smtp(&stalled.url).unwrap()).await;
        stage.until_all("sending").await;
        killed.kill().await;

        let outbox = tempfile::tempdir().unwrap();
        let worker = stage.work(Transport::outbox(outbox.path()));
        stage.clock.advance(Options::default().send_timeout);
        worker.has_looked_again().await;
        assert_eq!(
            stage.states().await,
            ["sending"],
            "{}: the lease still holds",
            stage.name
        );
        stage.clock.advance(Options::default().send_timeout);
        stage.until_all("sent").await;
        worker.stop().await;
        let delivery = &stage.deliveries().await[0];
        assert_eq!(
            (delivery.attempts, delivery.due_at, &delivery.lease),
            (2, None, &None)
        );
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
async fn a_worker_needs_no_more_than_one_connection() {
    for stage in Stage::on_every_backend().await {
        stage.register_many(3).await;
        stage.follow().await;
        let one = DatabaseOptions {
            connections: 1,
            ..DatabaseOptions::default()
        };
        let outbox = tempfile::tempdir().unwrap();
        let worker = stage
            .work_apart_with(one, Transport::outbox(outbox.path()), Options::default())
            .await;
        stage.until_all("sent").await;
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_only_a_newer_version_knows_is_left_for_it() {
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
