//! `patients claims unique`: changes the rule for emails while clients register.

use std::process::Command;

use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection, MySqlConnection};
use testkit::mysql_servers;

use crate::client::{Client, id_of};
use crate::rebuild::{json, run};
use crate::rig::Production;

async fn register(client: &Client, name: &str, email: &str) -> (StatusCode, Value) {
    let body = json!({ "name": name, "email": email, "phone": "+34600000000", "document_url": "https://example.com/a.jpg" });
    let answer = client.post_json("/register", &body).await;
    (answer.status(), answer.json().await.unwrap())
}

async fn execute(production: &Production, sql: &str) {
    let mut connection = MySqlConnection::connect(&production.database.url).await.unwrap();
    let done = sqlx::query(sql).execute(&mut connection).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
    connection.close().await.unwrap();
}

fn unique(production: &Production, arguments: &[&str]) -> Command {
    let mut command = production.command("claims");
    command.arg("unique").args(arguments);
    command
}

#[tokio::test]
async fn the_rule_is_changed_while_the_service_runs_and_the_older_patient_keeps_the_claim() {
    for server in mysql_servers() {
        let production = Production::on(server).await;
        let (_api, client) = production.api().await;
        let (_, first) = register(&client, "Ana", "a@example.com").await;
        assert_eq!(
            register(&client, "Eva", "a@example.com").await.0,
            StatusCode::CONFLICT
        );
        assert_eq!(
            json(&mut unique(&production, &[])),
            json!({ "rule": "email", "changing_to": null })
        );
        let (done, said) = run(&mut unique(&production, &["name"]));
        assert!(
            !done && said.contains("expected email, email+name or off"),
            "{said}"
        );

        // Searches by email need the column that an earlier version did not have.
        let insert = "INSERT INTO patient_view (generation, id, name, email, phone, document_url, sequence, registered_at) \
                      SELECT active_generation, 'x', 'Eva', 'e@example.com', '123', 'https://example.com', 1, 1 FROM projections \
                      WHERE name = 'patient_view'";
        execute(&production, insert).await;
        let (done, said) = run(&mut unique(&production, &["off"]));
        assert!(!done && said.contains("rebuild patient_view"), "{said}");
        execute(&production, "DELETE FROM patient_view WHERE id = 'x'").await;

        // The running API notices each change.
        let (done, said) = run(&mut unique(&production, &["email+name"]));
        assert!(
            done && said.contains("email+name applies to 1 patients"),
            "{said}"
        );
        let (status, eva) = register(&client, "Eva", "a@example.com").await;
        assert_eq!(status, StatusCode::CREATED);
        assert_eq!(
            register(&client, "ána", "A@example.com").await.0,
            StatusCode::CONFLICT
        );
        assert_eq!(production.count("claims").await, 2);
        let (done, said) = run(&mut unique(&production, &["off"]));
        assert!(done, "{said}");
        assert_eq!(production.count("claims").await, 0);
        let (status, twin) = register(&client, "Ana", "a@example.com").await;
        assert_eq!(status, StatusCode::CREATED);

        // A stricter rule lists the conflicts first.
        let (done, said) = run(&mut unique(&production, &["email+name"]));
        assert!(
            !done && said.contains("conflicts: 1") && said.contains(id_of(&twin)),
            "{said}"
        );
        assert!(said.contains(id_of(&first)), "{said}");
        assert_eq!(
            json(&mut unique(&production, &[])),
            json!({ "rule": "off", "changing_to": "email+name" })
        );
        // Both rules apply to new values.
        let (status, _) = register(&client, "Ana", "a@example.com").await;
        assert_eq!(status, StatusCode::CONFLICT);
        let (done, said) = run(&mut unique(&production, &["email"]));
        assert!(
            !done && said.contains("a change to email+name is under way"),
            "{said}"
        );
        // It can be cancelled, and repeated after a correction.
        let (done, said) = run(&mut unique(&production, &["off"]));
        assert!(done && said.contains("off applies"), "{said}");
        assert_eq!(production.count("claims").await, 0);
        let (status, triplet) = register(&client, "Ana", "a@example.com").await;
        assert_eq!(status, StatusCode::CREATED);
        let (done, said) = run(&mut unique(&production, &["email+name"]));
        assert!(!done && said.contains("conflicts: 2"), "{said}");
        client.delete(id_of(&triplet)).await.unwrap();
        let (done, _) = run(&mut unique(&production, &["email+name"]));
        assert!(!done);

        // The first patient keeps the claim, in spite of the order of the ids.
        let (done, said) = run(&mut unique(&production, &["email+name", "--keep-conflicts"]));
        assert!(done && said.contains("patients without a claim: 1"), "{said}");
        assert_eq!(
            register(&client, "Ana", "a@example.com").await.0,
            StatusCode::CONFLICT
        );
        let holders = production
            .count(&format!("claims WHERE aggregate_id = '{}'", id_of(&first)))
            .await;
        assert_eq!(holders, 1);
        assert_eq!(production.count("claims").await, 2, "of Ana and of Eva");
        // When the first patient is gone, the other patient can have the claim.
        let (fits, said) = run(production.command("claims").arg("verify"));
        assert!(!fits && said.contains("has the same value"), "{said}");
        client.delete(id_of(&first)).await.unwrap();
        let (done, said) = run(production.command("claims").arg("rebuild"));
        assert!(done, "{said}");
        assert_eq!(
            register(&client, "Ana", "a@example.com").await.0,
            StatusCode::CONFLICT
        );
        let (fits, said) = run(production.command("claims").arg("verify"));
        assert!(fits, "{said}");

        // An erasure releases all claims of the patient, also of a change that was not finished.
        let (done, _) = run(&mut unique(&production, &["email"]));
        assert!(!done);
        for patient in [&twin, &eva] {
            let path = format!("/patients/{}/erasure", id_of(patient));
            let answer = client.post_json(&path, &json!({ "reason": "request" })).await;
            assert!(answer.status().is_success());
        }
        assert_eq!(production.count("claims").await, 0);
    }
}

/// The registrations get their claims, whichever rule they began under.
#[tokio::test]
async fn clients_that_register_during_a_change_lose_nothing() {
    let production = Production::on(&mysql_servers()[0]).await;
    let (_api, client) = production.api().await;
    let (done, said) = run(&mut unique(&production, &["off"]));
    assert!(done, "{said}");
    for number in 0..50 {
        let (status, _) = register(&client, "Ana", &format!("before-{number}@example.com")).await;
        assert_eq!(status, StatusCode::CREATED);
    }
    let registering = async {
        let mut registered = 0;
        for number in 0..150 {
            let (status, body) = register(&client, "Ana", &format!("during-{number}@example.com")).await;
            assert_eq!(status, StatusCode::CREATED, "{body}");
            registered += 1;
        }
        registered
    };
    let mut command = unique(&production, &["email"]);
    let changing = tokio::task::spawn_blocking(move || run(&mut command));
    let (registered, changed) = tokio::join!(registering, changing);
    let (done, said) = changed.unwrap();
    assert!(done, "{said}");
    assert_eq!(production.count("claims").await, 50 + registered);
    for email in [
        "before-7@example.com",
        "during-0@example.com",
        "during-149@example.com",
    ] {
        assert_eq!(
            register(&client, "Eva", email).await.0,
            StatusCode::CONFLICT,
            "{email}"
        );
    }
    let (fits, said) = run(production.command("claims").arg("verify"));
    assert!(fits, "{said}");
}

/// The setting is for new logs; it never changes an existing log.
#[tokio::test]
async fn a_new_log_gets_the_rule_of_the_setting_and_keeps_it() {
    let production = Production::without_schema_on(&mysql_servers()[0]).await;
    let migrated = production
        .command("migrate")
        .env("EMAIL_UNIQUE", "email+name")
        .output()
        .unwrap();
    assert!(migrated.status.success());
    let shown = unique(&production, &[])
        .env("EMAIL_UNIQUE", "off")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), "email+name");
    let warning = String::from_utf8_lossy(&shown.stderr);
    assert!(warning.contains("EMAIL_UNIQUE=off has no effect"), "{warning}");
}
