//! Emails after amendments: their recipients, and the events that cause them.
#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use domain::PATIENT_REGISTERED;
use mailer::{DeliveriesWanted, DeliveryState, Ledger, Notices, OnAmend, Transport};
use serde_json::json;
use support::{PATIENCE, Stage, files};
use testkit::{Mail, SmtpMode, SmtpServer, wait_until};

const OLD: &str = "old@example.com";
const NEW: &str = "new@example.org";

fn with(on_amend: OnAmend) -> Notices {
    Notices {
        on_amend,
        on_delete: true,
    }
}

/// Returns template and state of each delivery.
async fn ledger(stage: &Stage) -> Vec<(String, String)> {
    let deliveries = stage.deliveries().await;
    let line = |delivery: support::Delivery| (delivery.template, delivery.state);
    deliveries.into_iter().map(line).collect()
}

async fn templates(stage: &Stage) -> Vec<String> {
    ledger(stage)
        .await
        .into_iter()
        .map(|(template, _)| template)
        .collect()
}

/// Returns the template and the recipient of each email, sorted.
fn received(mails: &[Mail]) -> Vec<(String, String)> {
    let of = |mail: &Mail| {
        let id = mail.message_id();
        let template = id.split('.').nth(1).unwrap().to_owned();
        (template, mail.header("X-RcptTo").unwrap())
    };
    let mut received: Vec<_> = mails.iter().map(of).collect();
    received.sort();
    received
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(one, other): &(&str, &str)| ((*one).to_owned(), (*other).to_owned());
    expected.iter().map(owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_email_address_causes_one_email_to_each_address_and_does_not_reveal_the_new_one() {
    for stage in Stage::on_every_backend().await {
        let server = SmtpServer::start(SmtpMode::Plain).await;
        let (id, _) = stage.register("Ana", OLD).await;
        stage.follow().await;
        let worker = stage.work(support::smtp(&server.url()));
        stage.until_all("sent").await;
        stage
            .amend(&id, 2, json!({ "email": NEW, "name": "Ana Ruiz" }))
            .await;
        stage.follow().await;
        wait_until(PATIENCE, "three mails are sent", async || {
            let states = stage.states().await;
            states.len() == 3 && states.iter().all(|state| state == "sent")
        })
        .await;
        worker.stop().await;
        let mails = server.mails();
        let expected = [
            ("patient_amended", NEW),
            ("patient_email_changed", OLD),
            ("patient_registered", OLD),
        ];
        assert_eq!(received(&mails), pairs(&expected), "{}", stage.name);
        for mail in &mails {
            let to = mail.header("X-RcptTo").unwrap();
            // Soft line breaks of quoted-printable are removed, so that an address is in one piece.
            let content = mail.body().replace("=\r\n", "").replace("=\n", "");
            assert!(content.contains(&id), "{content}");
            let other = if to == OLD { NEW } else { OLD };
            assert!(!content.contains(other), "{content}");
            let name = mail.header("To").unwrap();
            assert_eq!(name.contains("Ana Ruiz"), to == NEW, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_only_the_case_of_the_email_address_causes_one_email() {
    let stage = Stage::sqlite().await;
    let server = SmtpServer::start(SmtpMode::Plain).await;
    let (id, _) = stage.register("Ana", OLD).await;
    stage.amend(&id, 2, json!({ "email": "Old@Example.com" })).await;
    // A full-width letter belongs to another mailbox.
    stage
        .amend(&id, 3, json!({ "email": "\u{ff2f}ld@example.com" }))
        .await;
    stage.amend(&id, 4, json!({ "email": NEW })).await;
    stage.follow().await;
    let worker = stage.work(support::smtp(&server.url()));
    wait_until(PATIENCE, "no mail is due", async || {
        let states = stage.states().await;
        states
            .iter()
            .all(|state| ["sent", "cancelled", "dead"].contains(&state.as_str()))
    })
    .await;
    worker.stop().await;
    let ledger = ledger(&stage).await;
    let cancelled: Vec<_> = ledger.iter().filter(|(_, state)| state == "cancelled").collect();
    let notice = ("patient_email_changed".to_owned(), "cancelled".to_owned());
    assert_eq!(cancelled, [&notice], "{ledger:?}");
    let received = received(&server.mails());
    let of_change = |(template, _): &&(String, String)| template == "patient_email_changed";
    let first = received.iter().find(of_change).unwrap();
    assert_eq!(first.1, "Old@Example.com", "{received:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amendment_of_the_phone_number_causes_an_email_only_with_all() {
    for (on_amend, expected) in [
        (OnAmend::Email, vec!["patient_registered"]),
        (OnAmend::All, vec!["patient_registered", "patient_amended"]),
        (OnAmend::Off, vec!["patient_registered"]),
    ] {
        let stage = Stage::sqlite().await;
        let (id, _) = stage.register("Ana", OLD).await;
        stage.amend(&id, 2, json!({ "phone": "+15557654321" })).await;
        stage.follow_with(with(on_amend)).await;
        assert_eq!(templates(&stage).await, expected, "{on_amend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_email_address_causes_no_email_with_off() {
    for (on_amend, deliveries) in [(OnAmend::Email, 3), (OnAmend::All, 3), (OnAmend::Off, 1)] {
        let stage = Stage::sqlite().await;
        let (id, _) = stage.register("Ana", OLD).await;
        stage.amend(&id, 2, json!({ "email": NEW })).await;
        stage.follow_with(with(on_amend)).await;
        assert_eq!(templates(&stage).await.len(), deliveries, "{on_amend:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_emails_go_to_the_newest_address_and_each_notice_of_a_change_to_the_previous_address() {
    let stage = Stage::sqlite().await;
    let server = SmtpServer::start(SmtpMode::Plain).await;
    let (id, _) = stage.register("Ana", OLD).await;
    stage.amend(&id, 2, json!({ "email": "typo@example.net" })).await;
    stage.amend(&id, 3, json!({ "email": NEW })).await;
    stage.follow().await;
    let worker = stage.work(support::smtp(&server.url()));
    stage.until_all("sent").await;
    worker.stop().await;
    let expected = [
        ("patient_amended", NEW),
        ("patient_amended", NEW),
        ("patient_email_changed", OLD),
        ("patient_email_changed", "typo@example.net"),
        ("patient_registered", NEW),
    ];
    assert_eq!(received(&server.mails()), pairs(&expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_cancels_the_notice_to_the_patient_but_not_the_notice_to_the_previous_address() {
    for stage in Stage::on_every_backend().await {
        let (id, _) = stage.register("Ana", OLD).await;
        stage.amend(&id, 2, json!({ "email": NEW })).await;
        stage.delete_at(&id, 3).await;
        stage.follow_with(with(OnAmend::Email)).await;
        let expected = [
            ("patient_registered", "cancelled"),
            ("patient_amended", "cancelled"),
            ("patient_email_changed", "pending"),
            ("patient_deleted", "pending"),
        ];
        assert_eq!(ledger(&stage).await, pairs(&expected), "{}", stage.name);
        let server = SmtpServer::start(SmtpMode::Plain).await;
        let worker = stage.work(support::smtp(&server.url()));
        wait_until(PATIENCE, "the others are sent", async || {
            stage.states().await[2..] == ["sent", "sent"]
        })
        .await;
        worker.stop().await;
        let expected = [("patient_deleted", NEW), ("patient_email_changed", OLD)];
        assert_eq!(received(&server.mails()), pairs(&expected), "{}", stage.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_the_subscription_has_not_processed_cancels_the_notice_to_the_patient() {
    let stage = Stage::sqlite().await;
    let (id, _) = stage.register("Ana", OLD).await;
    stage.amend(&id, 2, json!({ "email": NEW })).await;
    stage.follow().await;
    stage.delete_at(&id, 3).await;
    let outbox = tempfile::tempdir().unwrap();
    let worker = stage.work(Transport::outbox(outbox.path()));
    wait_until(PATIENCE, "the warning is sent", async || {
        stage.states().await == ["cancelled", "cancelled", "sent"]
    })
    .await;
    worker.stop().await;
    assert_eq!(files(outbox.path()), ["2-patient_email_changed.eml"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_of_several_pages_is_read_to_its_end() {
    for stage in Stage::on_every_backend().await {
        let server = SmtpServer::start(SmtpMode::Plain).await;
        let (id, _) = stage.register("Ana", OLD).await;
        for sequence in 2..1100 {
            let phone = format!("+1555{sequence:07}");
            stage.amend(&id, sequence, json!({ "phone": phone })).await;
        }
        stage.amend(&id, 1100, json!({ "email": NEW })).await;
        stage.follow().await;
        let worker = stage.work(support::smtp(&server.url()));
        stage.until_all("sent").await;
        worker.stop().await;
        let expected = [
            ("patient_amended", NEW),
            ("patient_email_changed", OLD),
            ("patient_registered", NEW),
        ];
        assert_eq!(received(&server.mails()), pairs(&expected), "{}", stage.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_event_stops_only_the_emails_that_depend_on_it() {
    let stage = Stage::sqlite().await;
    let (id, _) = stage.register("Ana", OLD).await;
    stage.amend(&id, 2, json!({ "email": NEW })).await;
    stage.append("patient", &id, 3, "PatientMoved", json!({})).await;
    stage.register("Bea", "bea@example.com").await;
    stage
        .append("patient", "x", 1, PATIENT_REGISTERED, json!({}))
        .await;
    stage.follow().await;
    let outbox = tempfile::tempdir().unwrap();
    let worker = stage.work(Transport::outbox(outbox.path()));
    wait_until(PATIENCE, "every mail is sent or dead", async || {
        stage.states().await == ["dead", "dead", "sent", "sent", "dead"]
    })
    .await;
    worker.stop().await;
    let error = stage.deliveries().await[0].last_error.clone().unwrap();
    assert_eq!(error, "the event cannot be read: unknown event type PatientMoved");
}

/// Two emails about one event have the same position in the list.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_list_contains_both_emails_about_its_last_event() {
    for stage in Stage::on_every_backend().await {
        let (id, _) = stage.register("Ana", OLD).await;
        let (_, amended) = (&id, stage.amend(&id, 2, json!({ "email": NEW })).await);
        stage.register("Bea", "bea@example.com").await;
        stage.follow().await;
        let ledger = Ledger::new(stage.log.database().clone());
        let page = async |state, after, limit| -> Vec<(u64, String)> {
            let wanted = DeliveriesWanted { state, patient: None };
            let page = ledger.list(&wanted, after, limit).await.unwrap();
            page.into_iter()
                .map(|row| (row.position.get(), row.template))
                .collect()
        };
        let beginning = eventstore::Position::BEGINNING;
        let both = [
            (2, "patient_amended".to_owned()),
            (2, "patient_email_changed".to_owned()),
        ];
        let first = page(None, beginning, 2).await;
        assert_eq!(first[1..], both, "{}", stage.name);
        let second = page(None, amended, 2).await;
        assert_eq!(second, [(3, "patient_registered".to_owned())], "{}", stage.name);
        stage
            .execute("UPDATE mail_deliveries SET state = 'dead' WHERE template = 'patient_amended'")
            .await;
        assert_eq!(page(Some(DeliveryState::Dead), beginning, 1).await, both[..1]);
        let wanted = DeliveriesWanted {
            state: None,
            patient: Some(id),
        };
        let of_ana = ledger.list(&wanted, beginning, 2).await.unwrap();
        let positions: Vec<_> = of_ana.iter().map(|row| row.position.get()).collect();
        assert_eq!(positions, [1, 2, 2], "{}", stage.name);
    }
}
