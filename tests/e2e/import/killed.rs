//! An import that is killed at random, and repeated.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use sqlx::{Connection, Executor, MySqlConnection};
use tempfile::TempDir;
use testkit::{Program, mysql_servers, wait_until};

use super::{import_in, imported, report, service_in, stderr};
use crate::client::Client;
use crate::embedded::mails;
use crate::rig::{Production, SOON};

/// Number of rows, of which one in a hundred is not valid.
const ROWS: u64 = 2000;
const BAD: u64 = ROWS / 100;
/// Number of kills.
const KILLS: u64 = 3;

fn is_bad(id: u64) -> bool {
    id.is_multiple_of(100)
}

/// The former table of patients: a bad row has no email, an invalid one, or that of the first patient.
fn rows() -> impl Iterator<Item = (u64, String, String)> {
    (1..=ROWS).map(|id| {
        let email = match (is_bad(id), id % 300) {
            (false, _) => format!("patient{id}@example.com"),
            (true, 0) => String::new(),
            (true, 100) => "nowhere".to_owned(),
            (true, _) => "PATIENT1@example.com".to_owned(),
        };
        (id, format!("Patient Number {id}"), email)
    })
}

/// Starts the import repeatedly, and kills it each time when the log has got more events. `patients` returns
/// the number of registrations.
async fn kill_repeatedly(command: &Command, patients: impl AsyncFn() -> u64) {
    for kill in 1..=KILLS {
        let enough = ROWS * kill / (KILLS + 1) + fastrand::u64(..ROWS / 20);
        let program = Program::start(command);
        wait_until(SOON, "patients are imported", async || patients().await >= enough).await;
        program.kill9().await;
    }
    let left = patients().await;
    assert!(left < ROWS - BAD, "the import was never killed");
}

fn reads(folder: &Path, sql: &str) -> u64 {
    let mut client = Command::new("sqlite3");
    client.args(["-bail", "-cmd", ".timeout 10000"]);
    let output = client
        .arg(folder.join("data/patients.db"))
        .arg(sql)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// Checks that two old ids lead to their patients.
async fn has_old_ids(client: &Client) {
    for _ in 0..2 {
        let id = fastrand::u64(1..ROWS / 100) * 100 + fastrand::u64(1..100);
        let found = client.get(&format!("/patients?old_id={id}")).await.unwrap();
        let found: serde_json::Value = found.json().await.unwrap();
        assert_eq!(found[0]["email"], format!("patient{id}@example.com"), "{id}");
    }
}

#[tokio::test]
async fn a_killed_import_of_a_file_registers_every_good_row_once_and_sends_no_mail() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let (_service, client) = service_in(folder).await;
    let mut csv = "id,name,email,phone,document_url\n".to_owned();
    for (id, name, email) in rows() {
        writeln!(
            csv,
            "{id},{name},{email},+346000{id},https://example.com/{id}.jpg"
        )
        .unwrap();
    }
    std::fs::write(folder.join("patients.csv"), csv).unwrap();

    let command = || import_in(folder, &["patients.csv", "--report", "report.ndjson"]);
    let registered = async || reads(folder, "SELECT COUNT(*) FROM events");
    kill_repeatedly(&command(), registered).await;
    let (code, counts, log) = imported(command());
    assert_eq!(code, Some(5), "{log}");
    assert_eq!(counts["not_imported"], BAD, "{counts}");
    let all = reads(
        folder,
        "SELECT COUNT(DISTINCT aggregate_id) FROM events WHERE event_version = '2.1'",
    );
    assert_eq!((all, registered().await), (ROWS - BAD, ROWS - BAD));
    let lines = report(&folder.join("report.ndjson"));
    assert_eq!(lines.len() as u64, BAD);
    for (line, bad) in lines.iter().zip(1..) {
        // The first line is the header.
        assert_eq!(
            (&line["line"], &line["field"]),
            (&json!(100 * bad + 1), &json!("email"))
        );
    }
    let codes =
        ["taken", "invalid", "taken", "missing"].map(|code| lines.iter().any(|line| line["code"] == code));
    assert_eq!(codes, [true; 4]);
    assert!(
        !std::fs::read_to_string(folder.join("report.ndjson"))
            .unwrap()
            .contains("nowhere")
    );

    // The same file again changes nothing.
    let (code, counts, _) = imported(command());
    assert_eq!(code, Some(5));
    assert_eq!(
        (&counts["imported"], &counts["already_imported"]),
        (&json!(0), &json!(ROWS - BAD))
    );
    assert_eq!(registered().await, ROWS - BAD);
    has_old_ids(&client).await;

    // The mailer has read all imported patients when it sends the email to the next one.
    assert!(
        client
            .register("new@example.com")
            .await
            .unwrap()
            .status()
            .is_success()
    );
    wait_until(SOON, "the email to the new patient", async || {
        !mails(folder).is_empty()
    })
    .await;
    assert_eq!(reads(folder, "SELECT COUNT(*) FROM mail_deliveries"), 1);
}

#[tokio::test]
async fn a_killed_import_of_a_table_registers_every_good_row_once_while_the_service_runs() {
    for server in mysql_servers() {
        let production = Production::on(server).await;
        let mut connection = MySqlConnection::connect(&production.database.url).await.unwrap();
        connection
            .execute(
                "CREATE TABLE patients (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(255), email VARCHAR(255), \
                 phone VARCHAR(50), document_url TEXT) CHARACTER SET latin1",
            )
            .await
            .unwrap();
        let values: Vec<String> = rows()
            .map(|(id, name, email)| {
                format!("({id}, '{name} Ñandú', '{email}', '+346000{id}', 'https://example.com/{id}.jpg')")
            })
            .collect();
        let insert = format!("INSERT INTO patients VALUES {}", values.join(", "));
        connection.execute(insert.as_str()).await.unwrap();
        let (api, client) = production.api().await;
        let is_hinted = |api: &Program| api.log().contains("patients import --from");
        assert!(is_hinted(&api), "{}", api.log());

        let command = || {
            let mut command = production.command("import");
            command.env("IMPORT_FROM", &production.database.url);
            command
        };
        let registered = async || production.count("events").await.unsigned_abs();
        kill_repeatedly(&command(), registered).await;
        // Two processes at once import each patient once.
        let second = Program::start(&command());
        let (code, counts, log) = imported(command());
        assert_eq!((code, &counts["not_imported"]), (Some(5), &json!(BAD)), "{log}");
        assert_eq!(second.wait(SOON).await, 5);
        assert_eq!(registered().await, ROWS - BAD);
        assert_eq!(
            production
                .count("(SELECT DISTINCT aggregate_id FROM events) patients")
                .await
                .unsigned_abs(),
            ROWS - BAD
        );
        let (_, counts, _) = imported(command());
        assert_eq!(counts["already_imported"], ROWS - BAD);
        has_old_ids(&client).await;
        let shown = client
            .get("/patients?old_id=1")
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert!(shown.contains("Patient Number 1 Ñandú"), "{shown}");
        drop(api);
        let (api, client) = production.api().await;
        assert!(!is_hinted(&api), "the patients are imported");
        let verified = production.command("audit").arg("verify").output().unwrap();
        assert!(verified.status.success(), "{}", stderr(&verified));

        let _mailer = production.start("mailer");
        assert!(
            client
                .register("new@example.com")
                .await
                .unwrap()
                .status()
                .is_success()
        );
        let deliveries = async || production.count("mail_deliveries").await;
        wait_until(SOON, "the email to the new patient", async || {
            deliveries().await > 0
        })
        .await;
        assert_eq!(deliveries().await, 1);
    }
}
