//! Retention and holds on the command line.

use std::process::Command;

use serde_json::{Value, json};
use sqlx::{Connection, MySqlConnection};
use tempfile::TempDir;
use testkit::{Program, free_port, mysql_servers, wait_until};

use crate::client::{Client, id_of};
use crate::rebuild::{json, run};
use crate::rig::{Production, SOON, patients, sqlite};

async fn deleted_patient(client: &Client, email: &str) -> String {
    let body = json!({ "name": "Ana", "email": email, "phone": "+34600000000", "document_url": "https://example.com/a.jpg" });
    let registered: Value = client.post_json("/register", &body).await.json().await.unwrap();
    let id = id_of(&registered).to_owned();
    client.delete(&id).await.unwrap();
    id
}

fn command(production: &Production, name: &str, arguments: &[&str]) -> Command {
    let mut command = production.command(name);
    command.args(arguments).env("RETENTION", "5y");
    command
}

/// Moves the deletions of these patients, and all events before them, six years into the past.
async fn age(production: &Production, ids: &[&str]) {
    let ids: Vec<_> = ids.iter().map(|id| format!("'{id}'")).collect();
    let micros = 6_u64 * 365 * 24 * 3_600_000_000;
    let mut connection = MySqlConnection::connect(&production.database.url).await.unwrap();
    let sql = format!(
        "UPDATE events SET recorded_at = recorded_at - {micros} WHERE position <= (SELECT position FROM \
         (SELECT MAX(position) AS position FROM events WHERE event_type = 'PatientDeleted' AND aggregate_id IN ({})) last)",
        ids.join(", ")
    );
    let aged = sqlx::query(&sql).execute(&mut connection).await.unwrap();
    assert_eq!(
        aged.rows_affected(),
        2 * ids.len() as u64,
        "registrations and deletions"
    );
    connection.close().await.unwrap();
}

#[tokio::test]
async fn the_patients_whose_period_has_ended_are_erased_except_held_patients() {
    for server in mysql_servers() {
        let production = Production::on(server).await;
        let (_api, client) = production.api().await;
        let old = deleted_patient(&client, "old@example.com").await;
        let held = deleted_patient(&client, "held@example.com").await;
        let recent = deleted_patient(&client, "recent@example.com").await;
        // The last event must keep its time, because appends verify it.
        client.register_for_sure("last@example.com").await;
        age(&production, &[&old, &held]).await;

        let (done, said) = run(&mut command(
            &production,
            "hold",
            &[&held, "--until", "2001-01-01", "--reason", "research"],
        ));
        assert!(!done && said.contains("today or later"), "{said}");
        let recorded = json(&mut command(
            &production,
            "hold",
            &[&held, "--until", "2999-12-31", "--reason", "legal_claim"],
        ));
        assert_eq!(
            (&recorded["until"], &recorded["reason"]),
            (&json!("2999-12-31"), &json!("legal_claim"))
        );

        let status = json(&mut command(&production, "retention", &["status"]));
        assert_eq!(
            (
                &status["period"],
                &status["kept"],
                &status["due"],
                &status["held"]
            ),
            (&json!("5y"), &json!(1), &json!(1), &json!(1))
        );
        let (done, said) = run(&mut command(
            &production,
            "erase",
            &[&recent, "--reason", "error"],
        ));
        assert!(
            !done && said.contains(status["next_due"].as_str().unwrap()),
            "{said}"
        );
        let (done, said) = run(&mut command(
            &production,
            "erase",
            &[&held, "--reason", "request"],
        ));
        assert!(!done && said.contains("because it has a hold"), "{said}");

        // Without a period, no patient is due.
        let (done, said) = run(command(&production, "erase", &["--due"]).env("RETENTION", "off"));
        assert!(!done && said.contains("RETENTION is off"), "{said}");
        let due = json(&mut command(&production, "erase", &["--due"]));
        assert_eq!((&due["erased"], &due["held"]), (&json!(1), &json!(1)));
        let again = json(&mut command(&production, "erase", &["--due"]));
        assert_eq!((&again["erased"], &again["held"]), (&json!(0), &json!(1)));
        let (_, said) = run(&mut command(&production, "audit", &["history", &old]));
        assert!(said.contains("PatientErased"), "{said}");

        let (done, said) = run(&mut command(&production, "release", &[&held]));
        assert!(done && said.contains("no hold"), "{said}");
        let due = json(&mut command(&production, "erase", &["--due"]));
        assert_eq!((&due["erased"], &due["held"]), (&json!(1), &json!(0)));
        let status = json(&mut command(&production, "retention", &["status"]));
        assert_eq!(
            (&status["kept"], &status["due"], &status["held"]),
            (&json!(1), &json!(0), &json!(0))
        );
        let (done, said) = run(&mut command(&production, "erase", &["--replay"]));
        assert!(done, "a replay does not depend on the period: {said}");
    }
}

#[tokio::test]
async fn on_sqlite_a_clock_long_after_the_last_event_requires_the_date() {
    let folder = TempDir::new().unwrap();
    let in_folder = |name: &str, arguments: &[&str]| {
        let mut command = patients(name);
        command
            .args(arguments)
            .current_dir(folder.path())
            .env_remove("KEYRING_FILE")
            .env("RETENTION", "30d");
        command
    };
    let port = free_port();
    let program = Program::start(in_folder("serve", &[]).env("HTTP_ADDR", format!("127.0.0.1:{port}")));
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    deleted_patient(&client, "old@example.com").await;
    program.terminate();
    assert_eq!(program.wait(SOON).await, 0);
    let due = json(&mut in_folder("erase", &["--due"]));
    assert_eq!(due["erased"], 0, "the last event is recent");

    let micros = 40_u64 * 24 * 3_600_000_000;
    sqlite(
        &folder.path().join("data/patients.db"),
        &format!(
            "UPDATE events SET recorded_at = recorded_at - {micros}; UPDATE log_head SET recorded_at = recorded_at - {micros};"
        ),
    );
    let (done, said) = run(&mut in_folder("erase", &["--due"]));
    assert!(!done && said.contains("40 days after the last event"), "{said}");
    let today = said.rsplit("--today ").next().unwrap()[.."2026-11-28".len()].to_owned();
    let (done, said) = run(&mut in_folder("erase", &["--due", "--today", "2001-01-01"]));
    assert!(
        !done && said.contains("not 2001-01-01; nothing was erased"),
        "{said}"
    );
    let due = json(&mut in_folder("erase", &["--due", "--today", &today]));
    assert_eq!(due["erased"], 1);
}
