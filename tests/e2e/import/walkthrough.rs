//! The walk-through in `docs/migration.md`, with the former service running beside the new service.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Program, free_port, mysql_servers, wait_until};

use super::{in_venv, report};
use crate::client::{Client, patient};
use crate::rig::SOON;

const PAGE: &str = include_str!("../../../docs/migration.md");
/// Number of patients of the former service.
const PATIENTS: u64 = 20;
/// A patient whose email another patient already had.
const TWIN: u64 = 5;

/// Returns the blocks of commands of the page.
fn blocks() -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "```sh" {
            let block = lines.by_ref().take_while(|line| line.trim() != "```");
            let block: Vec<&str> = block.map(str::trim_start).collect();
            blocks.push(block.join("\n") + "\n");
        }
    }
    blocks
}

/// Returns the blocks as one script, which waits before each block for a file `go.N`.
fn script(replace: impl Fn(String) -> String) -> String {
    let mut script = "set -euo pipefail\n".to_owned();
    for (number, block) in blocks().into_iter().enumerate() {
        writeln!(
            script,
            "touch at.{number}\nuntil [[ -e go.{number} ]]; do sleep 0.02; done"
        )
        .unwrap();
        script += &replace(block);
    }
    script + "touch done\nkill $!\nwait $! || true\n"
}

/// Lets the script run its next block.
async fn run_block(folder: &Path, number: usize) {
    std::fs::write(folder.join(format!("go.{number}")), "").unwrap();
    let next = if number + 1 == blocks().len() {
        "done".to_owned()
    } else {
        format!("at.{}", number + 1)
    };
    let what = format!("block {} ended", number + 1);
    wait_until(SOON, &what, async || folder.join(&next).exists()).await;
}

async fn former_register(client: &Client, number: u64) {
    let email = if number == TWIN { 1 } else { number };
    let answer = client
        .post_json("/register", &patient(&format!("patient{email}@example.com")))
        .await;
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["id"], number);
}

async fn get(client: &Client, path: &str) -> Value {
    client.get(path).await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn the_walk_through_moves_patients_and_clients() {
    let Some(uvicorn) = in_venv("uvicorn") else {
        return;
    };
    assert_eq!(blocks().len(), 6);
    let server = &mysql_servers()[0];
    let (former, new) = (server.create_database().await, server.create_database().await);
    let (former_port, port) = (free_port(), free_port());
    let mut service = Command::new(uvicorn);
    service
        .args(["app.main:app", "--port", &former_port.to_string()])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/former-service"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("DATABASE_URL", former.url.replacen("mysql:", "mysql+pymysql:", 1));
    let former_service = Program::start(&service);
    let (former_client, client) = (Client::new(former_port), Client::new(port));
    let responds = async || former_client.get("/getPatients").await.is_ok();
    wait_until(SOON, "the former service responds", responds).await;
    for number in 1..=PATIENTS {
        former_register(&former_client, number).await;
    }

    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let script = script(|block| {
        block
            .replace("mysql://user:password@127.0.0.1:3306/clinic", &former.url)
            .replace("mysql://user:password@127.0.0.1:3306/registrations", &new.url)
            .replace("127.0.0.1:8000", &format!("127.0.0.1:{port}"))
    });
    let bin = Path::new(env!("CARGO_BIN_EXE_patients")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("/bin/bash");
    shell
        .args(["-c", &script])
        .current_dir(folder)
        .env("PATH", path)
        .env("RATE_LIMIT", "off");
    let shell = Program::start(&shell);

    // A new database, a dry run, the import, and the start.
    for number in 0..3 {
        run_block(folder, number).await;
        // The dry run does not notice two rows with one email.
        let expected = [None, Some(0), Some(1)][number];
        if let Some(expected) = expected {
            assert_eq!(
                report(&folder.join("rows.ndjson")).len(),
                expected,
                "{}",
                shell.log()
            );
        }
    }
    let rows = report(&folder.join("rows.ndjson"));
    assert_eq!(
        (&rows[0]["id"], &rows[0]["code"]),
        (&json!(TWIN), &json!("taken"))
    );
    let listed = async || get(&client, "/getPatients").await.as_array().map_or(0, Vec::len) as u64;
    wait_until(SOON, "all patients are listed", async || {
        listed().await == PATIENTS - 1
    })
    .await;
    // Clients of the former service get the same answers.
    for number in (1..=PATIENTS).filter(|number| *number != TWIN) {
        let path = format!("/patients/{number}");
        assert_eq!(get(&client, &path).await, get(&former_client, &path).await);
    }
    let numbers = |list: Value| {
        let mut patients = list.as_array().unwrap().clone();
        patients.retain(|patient| patient["id"] != TWIN);
        patients.sort_by_key(|patient| patient["id"].as_u64());
        patients
    };
    assert_eq!(
        numbers(get(&client, "/getPatients").await),
        numbers(get(&former_client, "/getPatients").await)
    );

    // The clients, then the patients who were registered meanwhile.
    run_block(folder, 3).await;
    let deleted = client.get("/patients/2").await.unwrap().status();
    assert_eq!(deleted, StatusCode::GONE);
    former_register(&former_client, PATIENTS + 1).await;
    former_service.terminate();
    run_block(folder, 4).await;
    let last = get(&client, &format!("/patients/{}", PATIENTS + 1)).await;
    assert_eq!(last["email"], format!("patient{}@example.com", PATIENTS + 1));
    assert_eq!(client.get("/patients/2").await.unwrap().status(), deleted);
    let found = get(&client, "/patients?old_id=1").await;
    let by_new_id = get(
        &client,
        &format!("/patients/{}", found[0]["id"].as_str().unwrap()),
    )
    .await;
    assert_eq!(by_new_id["email"], "patient1@example.com");
    run_block(folder, 5).await;
    assert_eq!(shell.wait(SOON).await, 0, "{}", shell.log());
    assert!(!folder.join("data/outbox").exists(), "an email was sent");
}
