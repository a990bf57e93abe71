//! An export that is imported again.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{free_port, wait_until};

use super::{import_in, imported, in_venv, migrate_in};
use crate::client::{Client, id_of};
use crate::embedded::serve;
use crate::rig::{SOON, patients};

/// Checks resources with the types that others wrote.
const CHECK: &str = "\
import sys
from fhir.resources.R4B.patient import Patient
for line in open(sys.argv[1]):
    patient = Patient.model_validate_json(line)
    print(patient.id, len(patient.telecom))
";

#[tokio::test]
async fn an_export_has_every_active_patient_and_its_import_gives_the_same_values() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let port = free_port();
    let service = serve(folder, port);
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    let values = [
        (
            "Ana \"Nita\" Pérez \\ Ñandú",
            "ana@example.com",
            "(555)123-4567x890",
        ),
        ("张伟", "wei@例子.中国", "+86 10 1234"),
        ("O'Neill, Eva", "eva+x@example.com", "12"),
        ("To be deleted", "deleted@example.com", "123"),
    ];
    let mut ids = Vec::new();
    for (name, email, phone) in values {
        let url = "https://example.com/p?a=1&b=ñ#c";
        let body = json!({"name": name, "email": email, "phone": phone, "document_url": url});
        let answer = client.post_json("/register", &body).await;
        assert_eq!(answer.status(), 201);
        let body: Value = answer.json().await.unwrap();
        ids.push(id_of(&body).to_owned());
    }
    client.delete(&ids[3]).await.unwrap();
    let export = |file: &str| {
        let mut command = patients("export");
        command.args(["--fhir", "--output", file]).current_dir(folder);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", super::stderr(&output));
        std::fs::read_to_string(folder.join(file)).unwrap()
    };
    let exported = export("a.ndjson");
    let lines: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let exported_ids: BTreeSet<&str> = lines.iter().map(id_of).collect();
    assert_eq!(exported_ids, ids[..3].iter().map(String::as_str).collect());
    let reads: Value = client.get("/audit/reads").await.unwrap().json().await.unwrap();
    assert_eq!(reads[0]["kind"], "open_export", "{reads}");

    let other = TempDir::new().unwrap();
    let file = folder.join("a.ndjson");
    let file = file.to_str().unwrap();
    migrate_in(other.path());
    let (code, counts, log) = imported(import_in(other.path(), &[file]));
    assert_eq!((code, &counts["imported"]), (Some(0), &json!(3)), "{log}");
    drop(service);
    let port = free_port();
    let _service = serve(other.path(), port);
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    for line in &lines {
        let found = client
            .get(&format!("/patients?old_id={}", id_of(line)))
            .await
            .unwrap();
        let found: Value = found.json().await.unwrap();
        let id = found[0]["id"].as_str().unwrap();
        let read: Value = client
            .get(&format!("/patients/{id}"))
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let of = |pointer: &str| line.pointer(pointer).unwrap().clone();
        assert_eq!(
            read,
            json!({
                "id": id, "name": of("/name/0/text"), "phone": of("/telecom/0/value"),
                "email": of("/telecom/1/value"), "document_url": of("/photo/0/url"),
            })
        );
    }
    check_resources(file);
}

fn check_resources(file: &str) {
    let Some(python) = in_venv("python") else {
        return;
    };
    let checked = Command::new(python).args(["-c", CHECK, file]).output().unwrap();
    assert!(checked.status.success(), "{}", super::stderr(&checked));
    assert_eq!(String::from_utf8_lossy(&checked.stdout).lines().count(), 3);
}
