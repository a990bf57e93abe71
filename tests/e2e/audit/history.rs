//! `audit history`, `state` and `reads` for one patient.

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
#[expect(clippy::too_many_lines, reason = "a single scenario")]
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
        "the reads so far are recorded"
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

    // For a missing event or a rejected time, the command records the same read as the API.
    let recorded = told(folder, &["reads", "--patient", id])
        .as_array()
        .unwrap()
        .len();
    for sequence in ["3", "0"] {
        assert!(!audit(folder, &["state", id, "--sequence", sequence]).0);
        let over_http = client
            .get(&format!("/patients/{id}/history/{sequence}"))
            .await
            .unwrap();
        assert_eq!(over_http.status(), StatusCode::NOT_FOUND);
    }
    assert!(!audit(folder, &["state", id, "--at", "2999-01-01T00:00:00Z"]).0);
    let over_http = client
        .get(&format!("/patients/{id}?at=2999-01-01T00:00:00Z"))
        .await
        .unwrap();
    assert_eq!(over_http.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let reads = told(folder, &["reads", "--patient", id]);
    let entries: Vec<_> = reads.as_array().unwrap()[recorded..]
        .iter()
        .map(|read| {
            (
                read["via"].as_str().unwrap(),
                read["outcome"].as_str().unwrap(),
                &read["to"],
            )
        })
        .collect();
    let nothing = &Value::Null;
    let both = [("command", "not_found", nothing), ("http", "not_found", nothing)];
    assert_eq!(entries, [both, both].concat());

    // The command and the API accept the same spellings of a time.
    for (spelled, in_query) in [
        ("2020-01-01 00:00:00Z", "2020-01-01+00:00:00Z"),
        ("2020-01-01T00:00:00 01:00", "2020-01-01T00:00:00+01:00"),
        ("2020-01-01t00:00:00z", "2020-01-01t00:00:00z"),
        (
            "2020-01-01T00:00:00\u{2212}01:00",
            "2020-01-01T00:00:00%E2%88%9201:00",
        ),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:60Z"),
    ] {
        let (_, said) = audit(folder, &["state", id, "--at", spelled]);
        assert!(
            said.contains("no patient was registered under this id at that time"),
            "{spelled}: {said}"
        );
        let over_http = client
            .get(&format!("/patients/{id}?at={in_query}"))
            .await
            .unwrap();
        assert_eq!(over_http.status(), StatusCode::NOT_FOUND, "{in_query}");
    }
    for (spelled, in_query) in [
        ("2016-12-31T12:00:60Z", "2016-12-31T12:00:60Z"),
        ("0000-12-31T23:59:59Z", "0000-12-31T23:59:59Z"),
        ("2020-01-01T00:00:00 +01:00", "2020-01-01T00:00:00%20%2B01:00"),
    ] {
        let (_, said) = audit(folder, &["state", id, "--at", spelled]);
        assert!(said.contains("expected a moment"), "{spelled}: {said}");
        let over_http = client
            .get(&format!("/patients/{id}?at={in_query}"))
            .await
            .unwrap();
        assert_eq!(over_http.status(), StatusCode::UNPROCESSABLE_ENTITY, "{in_query}");
    }

    for (arguments, expected) in [
        (
            ["state", id, "--at", "2020-01-01T00:00:00Z"].as_slice(),
            "at that time",
        ),
        (&["state", id, "--at", "2999-01-01T00:00:00Z"], "in the future"),
        (&["state", id, "--sequence", "3"], "has 2 events"),
        (&["state", id, "--at", "yesterday"], "expected a moment"),
        (
            &["history", "01a20c52-84f4-752b-9b94-14a23061549a"],
            "was ever registered",
        ),
    ] {
        let (succeeded, said) = audit(folder, arguments);
        assert!(!succeeded && said.contains(expected), "{arguments:?}: {said}");
    }
}
