//! Imports of files that do not have the expected form.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{import_in, imported, migrate_in, report};
use crate::rig::patients;

fn head(folder: &std::path::Path) -> Value {
    let mut command = patients("audit");
    let output = command
        .args(["head", "--json"])
        .current_dir(folder)
        .output()
        .unwrap();
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["position"].clone()
}

/// Returns place, field and code of each reason in a report.
fn reasons(report: &[Value]) -> Vec<(u64, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    report
        .iter()
        .map(|line| {
            (
                line["line"].as_u64().unwrap(),
                text(&line["field"]),
                text(&line["code"]),
            )
        })
        .collect()
}

fn expected(reasons: &[(u64, &str, &str)]) -> Vec<(u64, String, String)> {
    reasons
        .iter()
        .map(|(line, field, code)| (*line, (*field).to_owned(), (*code).to_owned()))
        .collect()
}

#[test]
fn every_row_of_a_csv_file_is_imported_or_reported() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    migrate_in(folder);
    let mut csv = b"\xef\xbb\xbfNr;Nombre;Correo;Tel\r\n".to_vec();
    csv.extend_from_slice("1;Ana Pérez;ana@example.com;600 000 001\r\n".as_bytes());
    csv.extend_from_slice(b"2;\"Eva\nMar\";eva;600000002\r\n");
    csv.extend_from_slice(b";Iv\xe1n;ivan@example.com;600000003\r\n");
    csv.extend_from_slice(b"4;Juan;juan@example.com\r\n");
    csv.extend_from_slice(b" ;Luis;;600000005\r\n");
    csv.extend_from_slice(b"a/6;Rosa;rosa@example.com;600000006");
    std::fs::write(folder.join("p.csv"), csv).unwrap();
    let arguments = [
        "p.csv",
        "--delimiter=;",
        "--header=id=Nr",
        "--header=name=Nombre",
        "--column=email=Correo",
        "--column=phone=Tel",
        "--document-url=https://example.com/{id}.jpg",
        "--report=report.ndjson",
        "--source=clinic-2",
    ];
    // A dry run imports nothing.
    let (code, counts, log) = imported(import_in(folder, &[&arguments[..], &["--dry-run"]].concat()));
    assert_eq!((code, &counts["imported"]), (Some(5), &json!(2)), "{log}");
    assert_eq!(head(folder), 0);
    let (code, counts, log) = imported(import_in(folder, &arguments));
    assert_eq!((code, &counts["imported"]), (Some(5), &json!(2)), "{log}");
    let found = report(&folder.join("report.ndjson"));
    assert_eq!(
        reasons(&found),
        expected(&[
            (3, "name", "invalid"),
            (3, "email", "invalid"),
            (5, "", "malformed"),
            (6, "", "malformed"),
            (7, "id", "missing"),
            (7, "email", "missing"),
            (7, "document_url", "missing"),
        ])
    );
    let text = std::fs::read_to_string(folder.join("report.ndjson")).unwrap();
    for personal in ["Eva", "Juan", "Luis", "60000000"] {
        assert!(!text.contains(personal), "{text}");
    }
    let exported = patients("export")
        .args(["--fhir", "--wait", "0"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(!exported.status.success(), "no projector has run yet");
}

#[test]
fn a_command_that_cannot_import_says_why_and_imports_nothing() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    migrate_in(folder);
    std::fs::write(folder.join("p.csv"), "id,name,email\n1,Ana,ana@example.com\n").unwrap();
    std::fs::write(folder.join("p.txt"), "").unwrap();
    let said = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(!output.status.success());
        super::stderr(&output)
    };
    for (arguments, expected) in [
        (vec!["p.csv"], "has no column \"phone\": --column phone=NAME"),
        (vec!["p.txt"], "must end with .csv or .ndjson"),
        (vec!["none.csv"], "cannot be read"),
        (vec![], "<FILE>"),
        (vec!["p.csv", "--column", "phones=x"], "FIELD is id, name"),
        (vec!["p.csv", "--source", "a b"], "ASCII letters"),
        (
            vec!["--from=mysql://user:hunter2@127.0.0.1:1/x"],
            "cannot be opened",
        ),
        (
            vec!["--from=postgres://user:hunter2@127.0.0.1:1/x"],
            "mysql://user:password@",
        ),
    ] {
        let said = said(&mut import_in(folder, &arguments));
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    assert_eq!(head(folder), 0);
}

#[test]
fn a_line_that_is_no_patient_is_reported_and_the_others_are_imported() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    migrate_in(folder);
    let patient = |id: u32, name: Value| {
        json!({
            "resourceType": "Patient", "id": id.to_string(), "name": name, "extension": [{"url": "x"}],
            "telecom": [
                {"system": "phone", "value": "old", "use": "old"},
                {"system": "phone", "value": "555-0100"}, {"system": "email", "value": format!("p{id}@example.com")},
            ],
        })
        .to_string()
    };
    let synthea = json!([
        {"use": "maiden", "family": "No", "given": ["No"]},
        {"use": "official", "family": "Gómez206", "given": ["José Eduardo181", null], "prefix": ["Mr."]},
    ]);
    let mut inactive: Value = serde_json::from_str(&patient(5, json!([]))).unwrap();
    inactive["active"] = json!(false);
    let [deceased, died] = [
        ("deceasedBoolean", json!(true)),
        ("deceasedDateTime", json!("2020-02")),
    ]
    .map(|(member, value)| {
        let mut patient: Value = serde_json::from_str(&patient(9, json!([{"text": "Ana Pérez"}]))).unwrap();
        patient[member] = value;
        patient.to_string()
    });
    let lines = [
        patient(1, synthea),
        String::new(),
        "{".to_owned(),
        json!({"resourceType": "Observation", "id": "2"}).to_string(),
        inactive.to_string(),
        patient(6, json!([{"text": "x".repeat(1_100_000)}])),
        patient(7, json!([])),
        json!(["Patient"]).to_string(),
        patient(8, json!([{"text": "Ana Pérez"}])),
        deceased,
        died,
    ];
    std::fs::write(folder.join("Patient.ndjson"), lines.join("\n")).unwrap();
    let arguments = [
        "Patient.ndjson",
        "--report=report.ndjson",
        "--document-url=https://example.com/{id}",
    ];
    let (code, counts, log) = imported(import_in(folder, &arguments));
    assert_eq!((code, &counts["imported"]), (Some(5), &json!(2)), "{log}");
    assert_eq!(
        reasons(&report(&folder.join("report.ndjson"))),
        expected(&[
            (3, "", "malformed"),
            (4, "", "not_a_patient"),
            (5, "", "inactive"),
            (6, "", "too_long"),
            (7, "name", "missing"),
            (8, "", "malformed"),
            (10, "", "inactive"),
            (11, "", "inactive"),
        ])
    );
}
