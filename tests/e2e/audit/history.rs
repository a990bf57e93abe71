//! What the command line tells of one patient.

use std::path::Path;
use std::process::Command;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Program, free_port, wait_until};

use crate::client::{Client, id_of};
use crate::rig::{SOON, patients};

fn audit(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command: Command = patients("audit");
    let output = command.args(arguments).current_dir(folder).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn told(folder: &Path, arguments: &[&str]) -> Value {
    let (succeeded, said) = audit(folder, &[arguments, &["--json"]].concat());
    assert!(succeeded, "{said}");
    serde_json::from_str(&said).unwrap()
}

#[tokio::test]
async fn a_deleted_patient_is_told_as_it_was_at_every_moment() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let port = free_port();
    let _program = Program::start(
        patients("serve")
            .current_dir(folder)
            .env("HTTP_ADDR", format!("127.0.0.1:{port}")),
    );
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    let created: Value = client
        .register("maria@example.com")
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    client.register("other@example.com").await.unwrap();
    let id = id_of(&created);
    let deleted = client.delete(id).await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);

    let history = told(folder, &["history", id]);
    let sequences: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["sequence"])
        .collect();
    assert_eq!(sequences, [1, 2]);
    assert_eq!(
        (
            &history[0]["event_type"],
            &history[1]["event_type"],
            &history[1]["position"]
        ),
        (&json!("PatientRegistered"), &json!("PatientDeleted"), &json!(3))
    );
    let (_, shown) = audit(folder, &["history", id]);
    for expected in [
        "PatientRegistered 1.0",
        "María-José Ñandú",
        "request_id",
        "PatientDeleted 1.0",
        "hash",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }

    let now = told(folder, &["state", id]);
    assert_eq!(
        (&now["state"], &now["sequence"], now.get("name")),
        (&json!("deleted"), &json!(2), None)
    );
    let registered_at = history[0]["recorded_at"].as_str().unwrap();
    let deleted_at = history[1]["recorded_at"].as_str().unwrap();
    for then in [
        told(folder, &["state", id, "--at", registered_at]),
        told(folder, &["state", id, "--sequence", "1"]),
    ] {
        assert_eq!(
            (&then["state"], &then["email"]),
            (&json!("active"), &json!("maria@example.com"))
        );
    }
    assert_eq!(
        told(folder, &["state", id, "--at", deleted_at])["state"],
        "deleted"
    );

    let reads = told(folder, &["reads", "--patient", id]);
    let reads = reads.as_array().unwrap();
    let kinds: Vec<_> = reads.iter().map(|read| read["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["history", "history", "state", "state", "state", "state"],
        "what was shown so far"
    );
    for read in reads {
        assert_eq!(
            (&read["via"], &read["outcome"]),
            (&json!("command"), &json!("given"))
        );
        assert!(read["actor"].as_str().unwrap().contains('@'), "{read}");
    }
    let (_, listed) = audit(folder, &["reads", "--limit", "1"]);
    assert!(
        listed.contains("history") && listed.contains("there may be more"),
        "{listed}"
    );

    for (arguments, expected) in [
        (["state", id, "--at", "2020-01-01T00:00:00Z"].as_slice(), "yet"),
        (&["state", id, "--at", "2999-01-01T00:00:00Z"], "in the future"),
        (&["state", id, "--sequence", "3"], "has 2 events"),
        (&["state", id, "--at", "yesterday"], "expected a moment"),
        (
            &["history", "01a20c52-84f4-752b-9b94-14a23061549a"],
            "there never was a patient",
        ),
    ] {
        let (succeeded, said) = audit(folder, arguments);
        assert!(!succeeded && said.contains(expected), "{arguments:?}: {said}");
    }
}
