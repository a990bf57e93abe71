//! Processes killed at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use testkit::wait_until;

use crate::rig::{Production, SOON};

const PATIENTS: usize = 200;

/// Kill -9 of each role in turn while 200 patients are registered: 200 events, 200 rows, 200 mails. A mail may come twice
/// only if the mailer was killed between the server's acceptance and the record of it, and then both say so.
#[tokio::test]
async fn kill_9_of_any_role_loses_and_doubles_nothing() {
    Production::on_each(async |production| {
        let (mut api, client) = production.api().await;
        let mut projector = production.start("projector");
        // A short lease, so that what a killed mailer held is soon taken over.
        let mut mailer = testkit::Program::start(production.command("mailer").env("MAIL_SEND_TIMEOUT", "2s"));

        let registering = tokio::spawn({
            let client = client.clone();
            async move {
                let mut ids = BTreeSet::new();
                for chunk in 0..PATIENTS / 10 {
                    let mut together = Vec::new();
                    for number in chunk * 10..chunk * 10 + 10 {
                        let client = client.clone();
                        together.push(tokio::spawn(async move {
                            client.register_for_sure(&format!("p{number}@example.com")).await
                        }));
                    }
                    for registered in together {
                        ids.insert(registered.await.unwrap()["id"].as_str().unwrap().to_owned());
                    }
                }
                ids
            }
        });
        for kill in 1..=3 {
            let enough = i64::try_from(PATIENTS / 4 * kill).unwrap();
            wait_until(SOON, "registrations go on", async || {
                production.count("events").await >= enough
            })
            .await;
            projector.kill9().await;
            mailer.kill9().await;
            api.kill9().await;
            api.restart().await;
            projector.restart().await;
            mailer.restart().await;
        }
        let ids = registering.await.unwrap();
        assert_eq!(ids.len(), PATIENTS);

        wait_until(Duration::from_mins(1), "all are projected", async || {
            client.ready().await && client.list().await.len() == PATIENTS
        })
        .await;
        let listed: BTreeSet<String> = client
            .list()
            .await
            .iter()
            .map(|patient| patient["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(listed, ids);
        assert_eq!(production.count("events").await, 200);
        assert_eq!(production.count("patient_view").await, 200);
        assert_eq!(production.count("mail_deliveries").await, 200);

        // A row that a killed mailer was sending is taken over when its lease has run out.
        wait_until(Duration::from_mins(2), "all mail is sent", async || {
            production.count("mail_deliveries WHERE state = 'sent'").await == 200
        })
        .await;
        let mut by_message_id: BTreeMap<String, usize> = BTreeMap::new();
        let mut recipients = BTreeSet::new();
        for mail in production.smtp.mails() {
            *by_message_id.entry(mail.message_id()).or_default() += 1;
            recipients.insert(mail.to());
        }
        assert_eq!(recipients.len(), PATIENTS);
        assert_eq!(
            by_message_id.len(),
            PATIENTS,
            "two mails of one event carry the same Message-ID"
        );
        let doubled: usize = by_message_id.values().map(|times| times - 1).sum();
        println!("mails doubled in the window that is named: {doubled}");
        // Three kills, each with at most MAIL_CONCURRENCY mails between acceptance and record.
        assert!(doubled <= 3 * 8, "{doubled} mails came twice");
    })
    .await;
}
