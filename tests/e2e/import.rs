//! `patients import` and `patients export`.

mod duplicates;
mod files;
mod killed;
mod promises;
mod round_trip;
mod sources;
mod upgraded;
mod walkthrough;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use testkit::{Program, free_port, wait_until};

use crate::client::Client;
use crate::embedded::serve;
use crate::rig::{SOON, patients};

/// Returns a command that imports into the database in `folder`.
fn import_in(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = patients("import");
    command.args(arguments).current_dir(folder);
    command
}

/// Returns a program of the virtual environment in `FORMER_SERVICE_VENV`, which `scripts/former-service`
/// creates. Without it, the caller skips its test. If `TEST_FORMER_SERVICE` is `required`, as in the
/// project's own checks, the test fails instead.
fn in_venv(program: &str) -> Option<PathBuf> {
    let Some(venv) = std::env::var_os("FORMER_SERVICE_VENV") else {
        let required = std::env::var("TEST_FORMER_SERVICE").is_ok_and(|value| value == "required");
        assert!(
            !required,
            "FORMER_SERVICE_VENV is not set, but TEST_FORMER_SERVICE is `required`"
        );
        println!("skipped: FORMER_SERVICE_VENV is not set; scripts/former-service creates the environment");
        return None;
    };
    let program = Path::new(&venv).join("bin").join(program);
    assert!(program.exists(), "{} does not exist", program.display());
    Some(program)
}

/// Starts a service in a folder, and waits until it is ready.
async fn service_in(folder: &Path) -> (Program, Client) {
    let port = free_port();
    let service = serve(folder, port);
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    (service, client)
}

/// Creates the database in `folder`.
fn migrate_in(folder: &Path) {
    let migrated = patients("migrate").current_dir(folder).output().unwrap();
    assert!(migrated.status.success(), "{}", stderr(&migrated));
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs an import, and returns its exit code, the JSON that it prints, and its log.
fn imported(mut command: Command) -> (Option<i32>, Value, String) {
    let output = command.arg("--json").output().unwrap();
    let counts = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), counts, stderr(&output))
}

/// Returns the lines of a report.
fn report(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns what the database in `folder` has about each patient, in the order of registration.
fn registered_in(folder: &Path) -> Vec<Value> {
    let mut client = Command::new("sqlite3");
    client.arg(folder.join("data/patients.db"));
    let output = client
        .arg("SELECT aggregate_id FROM events ORDER BY position")
        .output();
    let ids = String::from_utf8(output.unwrap().stdout).unwrap();
    let state = |id: &str| {
        let mut command = patients("audit");
        command.args(["state", id, "--json"]).current_dir(folder);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    ids.lines().map(state).collect()
}
