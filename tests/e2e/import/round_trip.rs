//! An export that is imported again.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{import_in, imported, in_venv, migrate_in, registered_in, report, service_in};
use crate::client::id_of;
use crate::rig::patients;

/// Checks resources with the types that others wrote.
const CHECK: &str = "\
import sys
from fhir.resources.R4B.patient import Patient
for line in open(sys.argv[1]):
    patient = Patient.model_validate_json(line)
    print(patient.id, len(patient.telecom))
";

/// Writes resources with the types that others wrote.
const WRITE: &str = "\
import base64, datetime, sys
from fhir.resources.R4B.patient import Patient
today = datetime.datetime.now(datetime.timezone.utc)
ended = {'start': '2001', 'end': '2019-05'}
open_ended = {'start': '2019-06-01'}
ends_later = {'start': '2020', 'end': (today + datetime.timedelta(days=400)).date().isoformat()}
patients = [
    Patient(
        id='hc.0815-4711', active=True, gender='female', birthDate='1980-02-03', deceasedBoolean=False,
        text={'status': 'generated', 'div': '<div xmlns=\"http://www.w3.org/1999/xhtml\">Ana</div>'},
        identifier=[{'system': 'urn:oid:1.2.3', 'value': '4711', 'use': 'official'}],
        name=[
            {'use': 'maiden', 'family': 'Ruiz', 'given': ['Ana']},
            {'use': 'official', 'text': 'Ana of the past', 'period': ended},
            {'use': 'official', 'family': 'Pérez Ñandú', 'given': ['Ana', 'María'], 'prefix': ['Dra.'], 'period': open_ended},
            {'use': 'nickname', 'text': 'Anita'},
        ],
        telecom=[
            {'system': 'phone', 'value': '+34 600 000 001', 'use': 'home', 'rank': 1, 'period': ended},
            {'system': 'phone', 'value': '+34 600 000 002', 'use': 'work', 'rank': 3},
            {'system': 'phone', 'value': '+34 600 000 003', 'use': 'mobile', 'rank': 2, 'period': ends_later},
            {'system': 'email', 'value': 'old@example.com', 'use': 'old', 'rank': 1},
            {'system': 'email', 'value': 'ana@example.com', 'use': 'home'},
            {'system': 'url', 'value': 'https://example.com/ana'},
        ],
        photo=[
            {'contentType': 'image/png', 'data': base64.b64encode(b'png')},
            {'contentType': 'image/png', 'url': 'https://example.com/ana.png', 'title': 'ID'},
        ],
        address=[{'use': 'home', 'line': ['C. Mayor 1'], 'city': 'Madrid'}],
        contact=[{'name': {'text': 'Somebody Else'}, 'telecom': [{'system': 'email', 'value': 'else@example.com'}]}],
    ),
    Patient(
        id='2', name=[{'text': 'Eva Mar', 'use': 'usual'}, {'family': 'Mar', 'given': ['Eva'], 'use': 'temp'}],
        telecom=[{'system': 'email', 'value': 'mailto:eva@example.com'}, {'system': 'phone', 'value': 'tel:+34-600-000-004'}],
        photo=[{'url': 'https://example.com/eva.png'}],
    ),
    Patient(id='3', active=False, name=[{'text': 'Not Active'}]),
    Patient(id='4', deceasedDateTime=today, name=[{'text': 'Died'}]),
]
with open(sys.argv[1], 'w') as file:
    for patient in patients:
        print(patient.model_dump_json(), file=file)
";

#[tokio::test]
async fn an_export_has_every_active_patient_and_its_import_gives_the_same_values() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let (service, client) = service_in(folder).await;
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
    let (_service, client) = service_in(other.path()).await;
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

#[test]
fn resources_that_another_library_writes_are_imported() {
    let Some(python) = in_venv("python") else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let mut writer = Command::new(python);
    writer.args(["-c", WRITE, "Patient.ndjson"]).current_dir(folder);
    let written = writer.output().unwrap();
    assert!(written.status.success(), "{}", super::stderr(&written));
    migrate_in(folder);
    let arguments = ["Patient.ndjson", "--report=r.ndjson"];
    let (code, counts, log) = imported(import_in(folder, &arguments));
    assert_eq!((code, &counts["imported"]), (Some(5), &json!(2)), "{log}");
    let lines = report(&folder.join("r.ndjson"));
    let reasons: Vec<_> = lines.iter().map(|line| (&line["line"], &line["code"])).collect();
    let inactive = json!("inactive");
    assert_eq!(reasons, [(&json!(3), &inactive), (&json!(4), &inactive)]);
    let expected = [
        [
            "Ana María Pérez Ñandú",
            "ana@example.com",
            "+34 600 000 003",
            "https://example.com/ana.png",
        ],
        [
            "Eva Mar",
            "eva@example.com",
            "+34-600-000-004",
            "https://example.com/eva.png",
        ],
    ];
    for (found, expected) in registered_in(folder).iter().zip(expected) {
        let values = ["name", "email", "phone", "document_url"].map(|field| &found[field]);
        assert_eq!(values, expected.map(|value| json!(value)).each_ref());
    }
}

fn check_resources(file: &str) {
    let Some(python) = in_venv("python") else {
        return;
    };
    let checked = Command::new(python).args(["-c", CHECK, file]).output().unwrap();
    assert!(checked.status.success(), "{}", super::stderr(&checked));
    assert_eq!(String::from_utf8_lossy(&checked.stdout).lines().count(), 3);
}
