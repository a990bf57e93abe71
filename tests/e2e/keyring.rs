//! The keyring: made, rotated while the service runs, lost; and the upgrade of an unencrypted log.

use std::path::{Path, PathBuf};
use std::process::Command;

use api::commands::AGGREGATE_TYPE;
use eventstore::{
    Append, AppendQueue, Claim, ClaimChange, Database, DatabaseOptions, NewEvent, Signal, SystemClock,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{MysqlServer, Program, free_port, mysql_servers, wait_until};

use crate::client::{Client, patient};
use crate::rebuild::{json, run};
use crate::rig::{Production, SOON};

/// Returns the command with this keyring.
fn with(mut command: Command, keyring: &Path) -> Command {
    command.env("KEYRING_FILE", keyring);
    command
}

fn keys(production: &Production, keyring: &Path, arguments: &[&str]) -> Command {
    let mut command = with(production.command("keys"), keyring);
    command.args(arguments);
    command
}

async fn serve(production: &Production, keyring: &Path) -> (Program, Client) {
    let port = free_port();
    let mut serve = with(production.command("serve"), keyring);
    let program = Program::start(serve.env("HTTP_ADDR", format!("127.0.0.1:{port}")));
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    (program, client)
}

#[tokio::test]
async fn a_new_log_on_a_server_needs_a_keyring_and_a_sealed_log_needs_its_own() {
    let folder = TempDir::new().unwrap();
    let keyring = folder.path().join("keyring.json");
    let production = Production::without_schema_on(&mysql_servers()[0]).await;
    for (setting, reason) in [
        ("", "set KEYRING_FILE"),
        (keyring.to_str().unwrap(), "does not exist"),
    ] {
        let (migrated, said) = run(production.command("migrate").env("KEYRING_FILE", setting));
        assert!(
            !migrated && said.contains(reason) && said.contains("patients keys new"),
            "{said}"
        );
    }
    let (made, said) = run(&mut keys(&production, &keyring, &["new"]));
    assert!(made && said.contains("back it up"), "{said}");
    let before = std::fs::read(&keyring).unwrap();
    let (made, _) = run(&mut keys(&production, &keyring, &["new", "--if-missing"]));
    assert!(made);
    assert_eq!(std::fs::read(&keyring).unwrap(), before);
    let (migrated, said) = run(&mut with(production.command("migrate"), &keyring));
    assert!(migrated, "{said}");
    let (program, client) = serve(&production, &keyring).await;
    client.register_for_sure("a@example.com").await;
    program.terminate();
    assert_eq!(program.wait(SOON).await, 0, "{}", program.log());

    // Another keyring, none, and a file that others can read are said at once, and change nothing.
    let other = folder.path().join("other.json");
    assert!(run(&mut keys(&production, &other, &["new"])).0);
    let shared = folder.path().join("shared.json");
    std::fs::copy(&keyring, &shared).unwrap();
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&shared, readable).unwrap();
    let missing = folder.path().join("missing.json");
    for (path, reason) in [
        (&other, "the keyring belongs to another log"),
        (&missing, "does not exist"),
        (&shared, "chmod 600"),
    ] {
        for role in ["serve", "api", "projector", "mailer"] {
            let mut command = with(production.command(role), path);
            let program = Program::start(command.env("HTTP_ADDR", format!("127.0.0.1:{}", free_port())));
            assert_eq!(program.wait(SOON).await, 1, "{role}: {}", program.log());
            assert!(program.log().contains(reason), "{role}: {}", program.log());
        }
    }
    assert!(!missing.exists());
    // The log alone can be verified without the keyring.
    let (verified, said) = run(production.command("audit").arg("verify").env("KEYRING_FILE", ""));
    assert!(verified && said.contains("claims       not compared"), "{said}");
}

#[tokio::test]
async fn keys_are_rotated_while_the_service_runs() {
    Production::on_each(async |production| {
        let folder = TempDir::new().unwrap();
        let keyring = folder.path().join("keyring.json");
        let copied = std::fs::copy(testkit::keyring_file(), &keyring);
        copied.unwrap();
        let (program, client) = serve(&production, &keyring).await;
        for number in 0..5 {
            client.register_for_sure(&format!("p{number}@example.com")).await;
        }
        let added = json(&mut keys(&production, &keyring, &["new"]));
        let new = added["id"].as_str().unwrap().to_owned();
        let (activated, said) = run(&mut keys(&production, &keyring, &["activate", &new]));
        assert!(activated, "{said}");
        wait_until(SOON, "the process has the new keyring", async || {
            program.log().contains("the keyring has changed") && program.log().contains(&new)
        })
        .await;
        client.register_for_sure("p5@example.com").await;
        let removed = run(&mut keys(&production, &keyring, &["remove", "0000000000000001"]));
        assert!(
            !removed.0 && removed.1.contains("may still be used for new keys"),
            "{}",
            removed.1
        );
        let rotated = json(&mut keys(&production, &keyring, &["rotate"]));
        assert_eq!(
            rotated,
            json!({ "active": new, "changed": 5, "failed": 0, "left": 0 })
        );
        let checked = json(&mut keys(&production, &keyring, &["check"]));
        assert_eq!(checked["wrapping_keys"], json!({ new.as_str(): 6 }));
        let changes = || program.log().matches("the keyring has changed").count();
        let before = changes();
        let (removed, said) = run(&mut keys(&production, &keyring, &["remove", "0000000000000001"]));
        assert!(removed, "{said}");
        wait_until(SOON, "the process has the last keyring", async || {
            changes() > before
        })
        .await;
        assert_eq!(client.list().await.len(), 6);
        let history = client.list().await[0]["id"].as_str().unwrap().to_owned();
        let history = client.get(&format!("/patients/{history}/history")).await.unwrap();
        let history: Value = history.json().await.unwrap();
        assert!(history[0]["payload"]["email"].is_string());
        // The keyring of another log is not taken over.
        let other = folder.path().join("other.json");
        assert!(run(&mut keys(&production, &other, &["new"])).0);
        std::fs::rename(&other, &keyring).unwrap();
        wait_until(SOON, "the other keyring is rejected", async || {
            program.log().contains("the keyring belongs to another log")
        })
        .await;
        client.register_for_sure("p6@example.com").await;
    })
    .await;
}

/// An unencrypted log, as earlier versions wrote it.
pub(crate) async fn log_in_clear(server: &MysqlServer) -> Production {
    let production = Production::without_schema_on(server).await;
    let database = Database::connect(&production.database.url, DatabaseOptions::default())
        .await
        .unwrap();
    let clock = SystemClock::shared();
    migrations::migrate(&database, std::sync::Arc::clone(&clock), "test")
        .await
        .unwrap();
    let queue = AppendQueue::start(database.clone(), Signal::in_process(), clock, 16, 16);
    for number in 1..=3 {
        let email = format!("old-{number}@example.com");
        let mut payload = patient(&email);
        payload["type"] = json!("PatientRegistered");
        let event = NewEvent {
            aggregate_type: AGGREGATE_TYPE.to_owned(),
            aggregate_id: old_id(number),
            sequence: 1,
            event_type: "PatientRegistered".to_owned(),
            event_version: "1.0".to_owned(),
            payload,
            metadata: json!({ "actor": "anonymous" }),
        };
        let claim = ClaimChange::Take(Claim::on("patient.email", &email));
        queue
            .append(Append::new(vec![event], vec![claim]).unwrap())
            .await
            .unwrap();
    }
    queue.shutdown().await;
    database.close().await;
    production
}

fn old_id(number: u32) -> String {
    format!("01a20c52-84f4-752b-9b94-{number:012}")
}

async fn versions(client: &Client) -> Vec<String> {
    let events: Value = client.get("/events").await.unwrap().json().await.unwrap();
    let events = events.as_array().unwrap().iter();
    events
        .map(|event| event["event_version"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_log_in_clear_is_upgraded_while_the_service_runs() {
    for server in mysql_servers() {
        let production = log_in_clear(server).await;
        let keyring: PathBuf = testkit::keyring_file();
        let (program, client) = serve(&production, &keyring).await;
        client.register_for_sure("new-1@example.com").await;
        assert_eq!(versions(&client).await, ["1.0"; 4]);
        let log = |arguments: &[&str]| {
            let mut command = production.command("log");
            command.args(arguments);
            command
        };
        assert_eq!(json(&mut log(&["format"]))["format"], 1);
        let (upgraded, said) = run(&mut log(&["upgrade"]));
        assert!(!upgraded && said.contains("--no-earlier-programs"), "{said}");
        let upgraded = json(&mut log(&["upgrade", "--no-earlier-programs"]));
        assert_eq!((&upgraded["claims"], &upgraded["left"]), (&json!(4), &json!(0)));
        let format = json(&mut log(&["format"]));
        assert_eq!(
            (&format["format"], &format["plain_claims"]),
            (&json!(2), &json!(false))
        );
        wait_until(SOON, "the process has noticed", async || {
            program.log().contains("the log was sealed")
        })
        .await;

        client.register_for_sure("new-2@example.com").await;
        let taken = client.register("OLD-1@example.com").await.unwrap();
        assert_eq!(taken.status(), StatusCode::CONFLICT);
        let changed = client
            .amend(&old_id(2), &json!({ "email": "moved@example.com" }))
            .await;
        assert_eq!(changed.status(), StatusCode::OK);
        client.register_for_sure("old-2@example.com").await;
        let expected = ["1.0", "1.0", "1.0", "1.0", "2.0", "2.0", "2.0"];
        assert_eq!(versions(&client).await, expected);
        wait_until(SOON, "all are listed", async || client.list().await.len() == 6).await;
        for command in [
            &["claims", "verify"][..],
            &["projection", "verify"],
            &["audit", "verify"],
        ] {
            let (verified, said) = run(production.command(command[0]).args(&command[1..]));
            assert!(verified, "{command:?}: {said}");
        }
        // Repeating the upgrade changes nothing.
        let again = json(&mut log(&["upgrade", "--no-earlier-programs"]));
        assert_eq!((&again["claims"], &again["left"]), (&json!(0), &json!(0)));

        // Events from before the upgrade stay readable in the log, and the response lists their positions.
        let path = format!("/patients/{}/erasure", old_id(2));
        let erased = client.post_json(&path, &json!({ "reason": "request" })).await;
        let erased: Value = erased.json().await.unwrap();
        assert_eq!(
            (&erased["scope"], &erased["positions_in_clear"]),
            (&json!("partial"), &json!([2]))
        );
        let answer = client.get(&format!("{path}/certificate")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::CONFLICT);
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["type"], "/problems/erasure-partial");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("log: 1.") && detail.ends_with("positions: 2."),
            "{detail}"
        );
        let mut certify = production.command("erase");
        let output = certify.args(["--certificate", &old_id(2)]).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        let history = client
            .get(&format!("/patients/{}/history", old_id(2)))
            .await
            .unwrap();
        let history = history.text().await.unwrap();
        assert!(
            !history.contains("old-2") && !history.contains("moved"),
            "{history}"
        );
    }
}

/// The rules of a new log take no plain claims, so that an email cannot be guessed from the table.
#[tokio::test]
async fn the_claims_of_a_sealed_log_cannot_be_guessed() {
    let production = Production::on(&mysql_servers()[0]).await;
    let (_api, client) = production.api().await;
    client.register_for_sure("a@example.com").await;
    let plain = Claim::on("patient.email", "a@example.com");
    let database = Database::connect(&production.database.url, DatabaseOptions::default())
        .await
        .unwrap();
    let mut reader = database.reader().await.unwrap();
    assert_eq!(plain.holder(&mut reader).await.unwrap(), None);
    drop(reader);
    database.close().await;
    assert_eq!(production.count("claims").await, 1);
}
