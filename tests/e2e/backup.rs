//! Backup and restore, as described in docs/operations.md.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use testkit::{Mail, MysqlClient, Program, SmtpMode, SmtpServer, free_port, installed_flavours, wait_until};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::database_users::{PASSWORD, Users};
use crate::embedded;
use crate::rebuild::{json, run};
use crate::rig::{SOON, patients};

/// The projections, which are verified one at a time.
const PROJECTIONS: [&str; 2] = ["patient_view", "patient_names"];

const DOCS: &str = include_str!("../../docs/operations.md");
/// Documented options of the dump, without user and server.
const DUMP: [&str; 3] = ["--single-transaction", "--no-tablespaces", "--hex-blob"];
/// Documented arguments for copying an embedded database.
const COPY: [&str; 2] = ["data/patients.db", "VACUUM INTO 'backup.db'"];

/// Runs `command` while clients register without pause. They start before it and stop after it.
async fn while_clients_write(client: &Client, mut command: Command) {
    let stop = CancellationToken::new();
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let (client, stop) = (client.clone(), stop.clone());
        writers.spawn(async move {
            for n in 0.. {
                let email = format!("writer{writer}-{n}@example.com");
                assert_eq!(client.register(&email).await.unwrap().status(), 201);
                if stop.is_cancelled() {
                    return;
                }
            }
        });
    }
    let begun = async || {
        let answer = client.get("/patients?email=writer3-1@example.com").await;
        answer.unwrap().json::<Vec<Value>>().await.unwrap().len() == 1
    };
    wait_until(SOON, "they have started", begun).await;
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    stop.cancel();
    writers.join_all().await;
}

/// Waits until the list includes all events up to a position.
async fn projected(client: &Client, position: &str) {
    let listed = timeout(SOON, client.get_at("/patients", position)).await;
    assert!(listed.is_ok(), "the projection does not reach {position}");
}

fn pair(head: &Value) -> String {
    format!("{}:{}", head["position"], head["hash"].as_str().unwrap())
}

fn position(head: &Value) -> u64 {
    head["position"].as_u64().unwrap()
}

/// Returns the message ids received by each address.
fn received(mails: &[Mail]) -> HashMap<String, Vec<String>> {
    let mut received: HashMap<String, Vec<String>> = HashMap::new();
    for mail in mails {
        received
            .entry(mail.recipient())
            .or_default()
            .push(mail.message_id());
    }
    received
}

impl Users {
    fn audit(&self, words: &[&str]) -> Value {
        json(&mut self.command("auditor", &[&["audit"], words].concat()))
    }

    fn dump(&self, file: &Path) -> Command {
        let server = self.server.server();
        let mut dump = server.client(MysqlClient::Dump, "patients_backup", PASSWORD);
        dump.args(DUMP)
            .arg(&self.production.database.name)
            .stdout(File::create(file).unwrap());
        dump
    }

    fn restore(&self, file: &Path) {
        let mut shell = self.server.server().client(MysqlClient::Shell, "root", "");
        shell
            .arg(&self.production.database.name)
            .stdin(File::open(file).unwrap());
        let (restored, said) = run(&mut shell);
        assert!(restored, "{said}");
    }

    /// Returns the number of unsent deliveries in the ledger.
    async fn unsent(&self) -> i64 {
        self.production
            .count("mail_deliveries WHERE state <> 'sent'")
            .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dump_taken_while_clients_write_goes_on_as_a_whole_on_a_new_server() {
    assert!(DOCS.contains(&DUMP.join(" ")));
    for flavour in installed_flavours() {
        println!("on {flavour}");
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("patients.sql");
        let mut old = Users::new_server(flavour, SmtpServer::start(SmtpMode::Plain).await).await;
        old.make_schema().await;
        let (_api, client, _) = old.start("api");
        let (_projector, _, _) = old.start("projector");
        let (mailer, _, _) = old.start("mailer");
        wait_until(SOON, "the API is ready", async || client.ready().await).await;

        // Before the dump, one email is sent and twenty emails are pending.
        client.register("sent@example.com").await.unwrap();
        wait_until(SOON, "one mail is sent", async || {
            old.production.count("mail_deliveries WHERE state = 'sent'").await == 1
        })
        .await;
        old.production.smtp.kill().await;
        for n in 0..20 {
            client.register(&format!("unsent{n}@example.com")).await.unwrap();
        }
        wait_until(SOON, "they are in the ledger", async || old.unsent().await == 20).await;
        mailer.terminate();
        mailer.wait(SOON).await;

        let before = old.audit(&["head"]);
        while_clients_write(&client, old.dump(&file)).await;
        let after = old.audit(&["head"]);

        // Between the dump and the end of the old server, some of the twenty emails are sent.
        old.production.smtp.restart().await;
        let mailer = Program::start(old.command("mailer", &["mailer"]).env("MAIL_RATE", "2/s"));
        let sent = || received(&old.production.smtp.mails());
        wait_until(SOON, "some are sent", async || {
            sent().keys().any(|to| to.starts_with("unsent"))
        })
        .await;
        mailer.terminate();
        mailer.wait(SOON).await;
        let sent = sent();

        let new = Users::new_server(flavour, SmtpServer::start(SmtpMode::Plain).await).await;
        new.restore(&file);
        new.grant().await;
        let head = new.audit(&["verify", "--trusted", &pair(&before)]);
        assert!(
            (position(&before)..position(&after)).contains(&position(&head)),
            "{head}"
        );
        // The restored head is a head of the old log. All later events are lost, which a later trusted head
        // detects.
        old.audit(&["verify", "--trusted", &pair(&head)]);
        let later = pair(&after);
        let (whole, _) = run(&mut new.command("auditor", &["audit", "verify", "--trusted", &later]));
        assert!(!whole);
        for projection in PROJECTIONS {
            let table = json(&mut new.command("operator", &["projection", "verify", projection]));
            assert_eq!(table["same"], true, "{table}");
        }

        let (_api, client, _) = new.start("api");
        let (_projector, _, _) = new.start("projector");
        let (_mailer, _, _) = new.start("mailer");
        wait_until(SOON, "the API is ready", async || client.ready().await).await;
        let registered = client.register("new@example.com").await.unwrap();
        let next = (position(&head) + 1).to_string();
        assert_eq!(registered.headers()["event-position"], next.as_str());
        projected(&client, &next).await;
        let listed = client.list().await;
        assert_eq!(listed.len().to_string(), next);

        wait_until(SOON * 2, "every mail is sent", async || {
            new.production.count("mail_deliveries").await.to_string() == next && new.unsent().await == 0
        })
        .await;
        let sent_anew = received(&new.production.smtp.mails());
        let mut again = 0;
        for patient in &listed {
            let email = patient["email"].as_str().unwrap();
            let anew = sent_anew.get(email);
            if email == "sent@example.com" {
                assert_eq!(anew, None, "it had been sent before the dump");
                continue;
            }
            assert_eq!(anew.map(Vec::len), Some(1), "{email}");
            // Email that was sent after the dump is sent again, with the same Message-ID.
            if let Some(before) = sent.get(email) {
                assert_eq!(anew, Some(before), "{email}");
                again += 1;
            }
        }
        assert!(
            0 < again && again < listed.len() - 2,
            "{again} of {}",
            listed.len()
        );

        new.audit(&["verify", "--trusted", &pair(&head)]);
        for projection in PROJECTIONS {
            json(&mut new.command("operator", &["projection", "rebuild", projection]));
            let said = json(&mut new.command("operator", &["projection", "verify", projection]));
            assert_eq!(said["same"], true, "{said}");
        }
    }
}

/// Starts the embedded service in a folder, and waits until it is ready.
async fn serve(folder: &Path) -> (Program, Client) {
    let port = free_port();
    let program = embedded::serve(folder, port);
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    (program, client)
}

fn command(folder: &Path, words: &[&str]) -> Value {
    json(patients("").args(words).current_dir(folder))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_of_an_embedded_database_taken_while_it_is_written_goes_on_as_a_whole() {
    assert!(DOCS.contains(&format!("sqlite3 {} \"{}\"", COPY[0], COPY[1])));
    let old = TempDir::new().unwrap();
    let (program, client) = serve(old.path()).await;
    client.register("first@example.com").await.unwrap();
    wait_until(SOON, "its mail is sent", async || {
        command(old.path(), &["mail", "status"])["mails"]["sent"] == 1
    })
    .await;
    let before = command(old.path(), &["audit", "head"]);
    let mut copy = Command::new("sqlite3");
    copy.args(COPY).current_dir(old.path());
    while_clients_write(&client, copy).await;
    let after = command(old.path(), &["audit", "head"]);
    program.kill9().await;

    let new = TempDir::new().unwrap();
    std::fs::create_dir(new.path().join("data")).unwrap();
    std::fs::rename(old.path().join("backup.db"), new.path().join("data/patients.db")).unwrap();
    let head = command(new.path(), &["audit", "verify", "--trusted", &pair(&before)]);
    assert!(
        (position(&before)..position(&after)).contains(&position(&head)),
        "{head}"
    );
    command(old.path(), &["audit", "verify", "--trusted", &pair(&head)]);

    let mails = || command(new.path(), &["mail", "status"])["mails"].clone();
    let sent_before = mails()["sent"].as_u64().unwrap();
    let (_program, client) = serve(new.path()).await;
    let registered = client.register("new@example.com").await.unwrap();
    let next = (position(&head) + 1).to_string();
    assert_eq!(registered.headers()["event-position"], next.as_str());
    projected(&client, &next).await;
    assert_eq!(client.list().await.len().to_string(), next);
    for projection in PROJECTIONS {
        let verified = command(new.path(), &["projection", "verify", projection]);
        assert_eq!(verified["same"], true, "{verified}");
    }
    // An email that was being sent during the copy is claimed again when its lease has expired.
    wait_until(Duration::from_mins(2), "every mail is sent", async || {
        mails()["sent"] == position(&head) + 1
    })
    .await;
    // Email that had been sent before the copy is not sent again.
    let written = embedded::mails(new.path());
    assert_eq!(written.len() as u64, position(&head) + 1 - sent_before);
    let first = "<1.patient_registered.";
    assert!(!written.iter().any(|mail| mail.contains(first)));
}
