//! After an erasure, the patient's data is nowhere: not in the databases, their files, Redis, logs or
//! metrics.

use std::path::Path;
use std::process::Command;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{MysqlClient, Program, free_port, mysql_servers, wait_until};

use crate::client::{Client, id_of};
use crate::forensics::{self, Monitor};
use crate::rebuild::{json, run};
use crate::rig::{self, Production, SOON, patients};

/// Values of the patient to erase, which occur in no other data.
const NAME: &str = "Zaqxswc Vfrtgbn";
const EMAIL: &str = "Zaqxswc.Vfrtgbn@Example.com";
const PHONE: &str = "+34 987654321098";
const DOCUMENT: &str = "https://example.com/photos/zaqxswc-vfrtgbn.jpg";
const VALUES: [&str; 6] = [NAME, EMAIL, PHONE, DOCUMENT, "zaqxswc", "vfrtgbn"];

async fn register(client: &Client) -> String {
    let body = json!({ "name": NAME, "email": EMAIL, "phone": PHONE, "document_url": DOCUMENT });
    let answer = client.post_json("/register", &body).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let registered: Value = answer.json().await.unwrap();
    id_of(&registered).to_owned()
}

/// Searches by name and by email until the patient is found.
async fn search(client: &Client, id: &str) {
    for query in ["name=zaqxswc%20vfrt", "email=Zaqxswc.Vfrtgbn@Example.com"] {
        let path = format!("/patients?{query}");
        wait_until(SOON, "the search finds the patient", async || {
            client
                .get(&path)
                .await
                .unwrap()
                .text()
                .await
                .unwrap()
                .contains(id)
        })
        .await;
    }
}

/// Erases a patient, and waits until everything is destroyed.
async fn erase(client: &Client, id: &str) -> Value {
    let path = format!("/patients/{id}/erasure");
    let answer = client.post_json(&path, &json!({ "reason": "request" })).await;
    assert!(answer.status().is_success(), "{}", answer.status());
    wait_until(SOON, "everything is destroyed", async || {
        let status: Value = client.get(&path).await.unwrap().json().await.unwrap();
        status["complete"] == true
    })
    .await;
    client.get(&path).await.unwrap().json().await.unwrap()
}

fn found(bytes: &[u8]) -> Option<String> {
    forensics::found(&VALUES, bytes)
}

fn assert_absent(place: &str, bytes: &[u8]) {
    forensics::assert_absent(&VALUES, place, bytes);
}

/// Returns what the folder's files contain, except the keyring and the emails that were sent.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect()
}

/// Leaves copies of the patient's values in unused parts of a file, as SQLite can when it moves rows to
/// another page. Where SQLite leaves them depends on all rows before, so the test does it in a simpler way.
fn leave_copies(file: &Path) {
    let values = VALUES.map(|value| format!("('{value}')")).join(", ");
    rig::sqlite(
        file,
        &format!(
            "PRAGMA secure_delete = OFF; CREATE TABLE moved (value TEXT); INSERT INTO moved VALUES {values}; DROP TABLE moved;"
        ),
    );
}

#[tokio::test]
async fn the_files_of_an_embedded_database_have_nothing_of_an_erased_patient() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let mut serve = patients("serve");
    serve
        .current_dir(folder.path())
        .env_remove("KEYRING_FILE")
        .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
        .env("LOG", "trace");
    let mut program = Program::start(&serve);
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    assert!(
        program.stdout().contains("data/keyring.json"),
        "{}",
        program.stdout()
    );
    for other in 0..50 {
        client
            .register_for_sure(&format!("other-{other}@example.com"))
            .await;
    }
    let id = register(&client).await;
    let changes = json!({ "phone": format!("{PHONE}1") });
    assert_eq!(client.amend(&id, &changes).await.status(), StatusCode::OK);
    wait_until(SOON, "it is listed", async || client.list().await.len() == 51).await;
    let data = folder.path().join("data");
    leave_copies(&data.join("patients.db"));
    assert!(
        files(&data).iter().any(|(_, bytes)| found(bytes).is_some()),
        "the read table has the patient"
    );

    erase(&client, &id).await;
    for (place, bytes) in files(&data) {
        assert_absent(&place, &bytes);
    }
    assert_absent("the log", program.log().as_bytes());
    let metrics = client.get("/metrics").await.unwrap().text().await.unwrap();
    assert_absent("the metrics", metrics.as_bytes());
    // The position to which the file was rewritten is not shown as a subscription that lags.
    client.register_for_sure("later@example.com").await;
    wait_until(SOON, "every subscription is at the head", async || {
        let overview: Value = client.get("/projections").await.unwrap().json().await.unwrap();
        let all = overview["subscriptions"].as_array().unwrap();
        all.len() == 4 && all.iter().all(|one| one["lag_events"] == 0)
    })
    .await;
    // A killed process leaves the files as they are.
    program.kill9().await;
    for (place, bytes) in files(&data) {
        assert_absent(&place, &bytes);
    }
    program.restart().await;
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    assert_eq!(client.list().await.len(), 51);
    let erased = client.get(&format!("/patients/{id}")).await.unwrap();
    assert_eq!(erased.status(), StatusCode::GONE);
}

/// The command runs while no projector does, so the process that deletes the rows later also rewrites the
/// file.
#[tokio::test]
async fn the_projector_rewrites_the_file_after_an_erasure_without_it() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let command = |words: &[&str]| {
        let mut command = patients("");
        command.args(words).current_dir(folder.path());
        command.env("HTTP_ADDR", format!("127.0.0.1:{port}"));
        command
    };
    let mut program = Program::start(&command(&["serve"]));
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    let id = register(&client).await;
    wait_until(SOON, "it is listed", async || client.list().await.len() == 1).await;
    program.kill9().await;
    let data = folder.path().join("data");
    leave_copies(&data.join("patients.db"));
    let status = json(&mut command(&["erase", &id, "--reason", "request"]));
    assert_eq!(status["complete"], false, "{status}");

    program.restart().await;
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    let path = format!("/patients/{id}/erasure");
    wait_until(SOON, "everything is destroyed", async || {
        let status = client.get(&path).await.unwrap();
        status.json::<Value>().await.unwrap()["complete"] == true
    })
    .await;
    for (place, bytes) in files(&data) {
        assert_absent(&place, &bytes);
    }
}

/// Returns a dump of tables, or of the whole database.
fn dump(production: &Production, tables: &[&str]) -> Vec<u8> {
    let mut dump = production.database.server.client(MysqlClient::Dump, "root", "");
    dump.args(["--single-transaction", "--no-tablespaces", "--hex-blob"])
        .arg(&production.database.name)
        .args(tables);
    let output = dump.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

#[tokio::test]
async fn a_dump_has_nothing_of_an_erased_patient_and_the_log_never_had_it_in_clear() {
    Production::on_each(async |production| {
        let port = free_port();
        let mut serve = production.command("serve");
        serve
            .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
            .env("LOG", "trace");
        let redis = Monitor::start(production.redis.url()).await;
        let program = Program::start(&serve);
        let client = Client::new(port);
        wait_until(SOON, "it is ready", async || client.ready().await).await;
        let id = register(&client).await;
        search(&client, &id).await;
        wait_until(SOON, "the mail has arrived", async || {
            production.smtp.mails().len() == 1
        })
        .await;
        let log = ["events", "log_head", "log_format", "claims", "subject_keys"];
        let before = dump(&production, &log);
        assert_absent("the log's tables before the erasure", &before);
        assert_ne!(
            found(&dump(&production, &[])),
            None,
            "the read table has the patient"
        );
        let export = |arguments: &[&str]| {
            let (exported, lines) = run(production.command("audit").arg("export").args(arguments));
            assert!(exported, "{lines}");
            lines
        };
        for format in ["ndjson", "csv"] {
            assert_absent("an export", export(&["--format", format]).as_bytes());
            let open = export(&["--format", format, "--open"]);
            assert!(open.contains(NAME) && open.contains("sealed"), "{open}");
        }
        assert_eq!(
            production.count("audit_reads WHERE kind = 'open_export'").await,
            4
        );

        let status = erase(&client, &id).await;
        assert_eq!(status["scope"], "full");
        assert_absent("the dump", &dump(&production, &[]));
        assert_absent("the log", program.log().as_bytes());
        redis.wait_for("PatientErased").await;
        assert_absent("Redis", &redis.recorded());
        let (verified, said) = run(production.command("audit").arg("verify"));
        assert!(verified, "{said}");
        for arguments in [&[][..], &["--open"]] {
            let lines = export(arguments);
            assert_eq!(lines.lines().count(), 3, "{lines}");
            assert_absent("the export", lines.as_bytes());
        }
        let counted = json(production.command("audit").arg("sealed"));
        assert_eq!(
            (
                &counted["sealed"],
                &counted["in_clear"],
                &counted["erased_patients"]
            ),
            (&json!(1), &json!(0), &json!(1))
        );

        // The subscription would otherwise destroy the restored key.
        wait_until(SOON, "the eraser has processed the erasure", async || {
            production
                .count("checkpoints WHERE name = 'eraser' AND position = 3")
                .await
                == 1
        })
        .await;
        // A key that comes back with a backup opens nothing that the API shows, and is destroyed again.
        restore_key(&production, &id, &before).await;
        let history = client
            .get(&format!("/patients/{id}/history"))
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert_absent("the history with the key", history.as_bytes());
        let replayed = json(production.command("erase").arg("--replay"));
        assert_eq!(replayed, json!({ "erased": 1, "destroyed": 1, "recorded": 0 }));
        let replayed = json(production.command("erase").arg("--replay"));
        assert_eq!(replayed, json!({ "erased": 1, "destroyed": 0, "recorded": 0 }));

        // A log from before the erasure, with the keys of today.
        lose_erasure(&production, &before).await;
        let read = client.get(&format!("/patients/{id}/history")).await.unwrap();
        assert_absent(
            "the history of the older log",
            read.text().await.unwrap().as_bytes(),
        );
        let replayed = json(production.command("erase").arg("--replay"));
        assert_eq!(replayed, json!({ "erased": 0, "destroyed": 0, "recorded": 1 }));
        let erased = client.get(&format!("/patients/{id}")).await.unwrap();
        assert_eq!(erased.status(), StatusCode::GONE);
        assert_eq!(production.count("claims").await, 0);
        let (verified, said) = run(production.command("audit").arg("verify"));
        assert!(verified, "{said}");
    })
    .await;
}

/// Puts the row of the patient's key back, as an older dump has it.
async fn restore_key(production: &Production, id: &str, dump: &[u8]) {
    use sqlx::{Connection, MySqlConnection};

    let text = String::from_utf8_lossy(dump);
    let start = text.find("INSERT INTO `subject_keys`").unwrap();
    let row = text[start..].split_inclusive(";\n").next().unwrap();
    let mut connection = MySqlConnection::connect(&production.database.url).await.unwrap();
    let delete = format!("DELETE FROM subject_keys WHERE aggregate_id = '{id}'");
    sqlx::raw_sql(&delete).execute(&mut connection).await.unwrap();
    sqlx::raw_sql(row).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Restores the log's tables from a dump, except the keys.
async fn lose_erasure(production: &Production, dump: &[u8]) {
    use sqlx::{Connection, MySqlConnection};

    let text = String::from_utf8_lossy(dump);
    let mut connection = MySqlConnection::connect(&production.database.url).await.unwrap();
    for table in ["events", "log_head", "claims"] {
        let start = text.find(&format!("INSERT INTO `{table}`")).unwrap();
        let rows = text[start..].split_inclusive(";\n").next().unwrap();
        let delete = format!("DELETE FROM {table}");
        sqlx::raw_sql(&delete).execute(&mut connection).await.unwrap();
        sqlx::raw_sql(rows).execute(&mut connection).await.unwrap();
    }
    let reset = "UPDATE checkpoints SET position = 1";
    sqlx::raw_sql(reset).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn an_erasure_is_completed_by_processes_that_were_down() {
    let production = Production::on(&mysql_servers()[0]).await;
    let (api, client) = production.api().await;
    let projector = production.start("projector");
    let id = register(&client).await;
    wait_until(SOON, "it is listed", async || client.list().await.len() == 1).await;
    projector.kill9().await;
    let path = format!("/patients/{id}/erasure");
    let answer = client.post_json(&path, &json!({ "reason": "error" })).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let status: Value = answer.json().await.unwrap();
    assert_eq!(
        status["pending"],
        json!(["patient_view", "patient_names", "mail"])
    );
    api.kill9().await;
    let _projector = production.start("projector");
    let _mailer = production.start("mailer");
    let (_api, client) = production.api().await;
    wait_until(SOON, "everything is destroyed", async || {
        let status: Value = client.get(&path).await.unwrap().json().await.unwrap();
        status["complete"] == true
    })
    .await;
    assert!(production.smtp.mails().is_empty());
    assert_eq!(production.count("mail_deliveries WHERE state = 'sent'").await, 0);
    // A rebuild reads the events without their data.
    let (rebuilt, said) = run(&mut production.projection(&["rebuild", "patient_view"]));
    assert!(rebuilt, "{said}");
    assert!(client.list().await.is_empty());
}

#[tokio::test]
async fn the_command_line_erases_and_says_what_is_pending() {
    let production = Production::on(&mysql_servers()[0]).await;
    let (_api, client) = production.api().await;
    let id = register(&client).await;
    let erase = |arguments: &[&str]| -> Command {
        let mut command = production.command("erase");
        command.args(arguments);
        command
    };
    let (done, said) = run(&mut erase(&[&id]));
    assert!(!done && said.contains("--reason"), "{said}");
    let (done, said) = run(&mut erase(&[&id, "--reason", "retention"]));
    assert!(done, "{said}");
    assert!(
        said.contains("key        destroyed at") && said.contains("pending    patient_view"),
        "{said}"
    );
    let again = json(&mut erase(&[&id, "--reason", "error"]));
    assert_eq!(
        (&again["reason"], &again["position"]),
        (&json!("retention"), &json!(3))
    );
    let nobody = "01a20c52-84f4-752b-9b94-14a23061549a";
    let (done, said) = run(&mut erase(&[nobody, "--reason", "error"]));
    assert!(!done && said.contains("no such patient"), "{said}");
    let (done, said) = run(production.command("audit").args(["state", &id]));
    assert!(!done && said.contains("the patient was erased"), "{said}");
}
