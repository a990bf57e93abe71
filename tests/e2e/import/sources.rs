//! Imports from files and tables that are damaged, ambiguous or slow.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sqlx::{Connection, Executor, MySqlConnection};
use tempfile::TempDir;
use testkit::{Program, mysql_servers, wait_until};

use super::{import_in, imported, migrate_in, registered_in, report, stderr};
use crate::rig::{SOON, patients};

const HEADER: &str = "id,name,email,phone,document_url\n";

fn row(id: u64) -> String {
    format!("{id},Ana,p{id}@example.com,+346000{id},https://example.com/a.jpg\n")
}

/// Returns the number of events.
fn head(folder: &Path) -> u64 {
    let mut command = patients("audit");
    let output = command.args(["head", "--json"]).current_dir(folder);
    let head: Value = serde_json::from_slice(&output.output().unwrap().stdout).unwrap();
    head["position"].as_u64().unwrap()
}

/// Returns place and code of each reason in the report `r.ndjson`.
fn reasons(folder: &Path) -> Vec<(u64, String)> {
    let place = |line: &Value| line["line"].as_u64().unwrap();
    let code = |line: &Value| line["code"].as_str().unwrap().to_owned();
    report(&folder.join("r.ndjson"))
        .iter()
        .map(|line| (place(line), code(line)))
        .collect()
}

/// Starts an import whose source the test writes.
fn import_from_pipe(folder: &Path) -> (Program, File) {
    migrate_in(folder);
    let pipe = folder.join("p.csv");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let import = Program::start(&import_in(folder, &["p.csv"]));
    let source = OpenOptions::new().write(true).open(&pipe).unwrap();
    (import, source)
}

#[tokio::test]
async fn rows_that_were_read_are_imported_while_the_source_stalls() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let (import, mut source) = import_from_pipe(folder);
    // One batch.
    let rows: String = (1..=256).map(row).collect();
    source.write_all(format!("{HEADER}{rows}").as_bytes()).unwrap();
    wait_until(SOON, "the rows are imported", async || head(folder) == 256).await;
    source.write_all(row(257).as_bytes()).unwrap();
    drop(source);
    assert_eq!(import.wait(SOON).await, 0, "{}", import.log());
    assert_eq!(head(folder), 257);
}

#[tokio::test]
async fn the_progress_of_an_import_is_shown() {
    let folder = TempDir::new().unwrap();
    let (import, mut source) = import_from_pipe(folder.path());
    source.write_all(HEADER.as_bytes()).unwrap();
    // Progress is shown from time to time, after a batch. These rows are only counted.
    let batch = "x\n".repeat(256);
    let mut written = 0;
    wait_until(SOON, "the progress is shown", async || {
        source.write_all(batch.as_bytes()).unwrap();
        written += 256;
        import.log().contains(" rows, ")
    })
    .await;
    let log = import.log();
    let line = log.lines().find(|line| line.contains(" rows, ")).unwrap();
    let done: u64 = line.split(' ').next().unwrap().parse().unwrap();
    assert!(0 < done && done <= written, "{line}");
    assert!(line.contains("/s, ") && line.ends_with(" s left"), "{line}");
    drop(source);
    assert_eq!(import.wait(SOON).await, 5, "{log}");
}

#[test]
fn damaged_rows_of_a_csv_file_are_reported_by_their_lines_and_the_others_are_imported() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    migrate_in(folder);
    let (header, first, second, third) = (HEADER.trim_end(), row(1), row(2), row(3));
    let endless = "x,y,z\n".repeat(200_000);
    let csv = format!(
        "\n\n{header},\"Two\nlines\"\n\n{},\n\n{},\n6,\"Eva\n\n{endless}{},\n\n9,\"Eva\nMar\n",
        first.trim_end(),
        // Line 8.
        second.trim_end().replace("Ana", "\"Ana\nMar\""),
        third.trim_end(),
    );
    std::fs::write(folder.join("p.csv"), &csv).unwrap();
    let (code, counts, log) = imported(import_in(folder, &["p.csv", "--report=r.ndjson"]));
    assert_eq!((code, &counts["imported"]), (Some(5), &json!(2)), "{log}");
    let found = reasons(folder);
    assert_eq!(
        found[..2],
        [(8, "invalid".to_owned()), (10, "too_long".to_owned())]
    );
    // The rows after the part that is too long are read again.
    let last = csv.lines().count() as u64;
    assert_eq!(found.last(), Some(&(last - 1, "malformed".to_owned())));
    let text = report(&folder.join("r.ndjson"))[1]["reason"].to_string();
    assert!(text.contains("(lines 10 to "), "{text}");

    // Without a report, the log says how many rows are not imported, and nothing about a single row.
    let (_, _, log) = imported(import_in(folder, &["p.csv"]));
    assert!(log.contains("`name` (invalid): 1"), "{log}");
    for personal in ["Eva", "Mar", "line 8"] {
        assert!(!log.contains(personal), "{log}");
    }
}

#[test]
fn an_ambiguous_source_is_rejected() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    migrate_in(folder);
    std::fs::write(
        folder.join("cr.csv"),
        format!("{HEADER}{}", row(1)).replace('\n', "\r"),
    )
    .unwrap();
    std::fs::write(
        folder.join("twice.csv"),
        "id,name,email,email,phone,document_url\n",
    )
    .unwrap();
    std::fs::write(folder.join("empty.csv"), "\n").unwrap();
    for (arguments, code, expected) in [
        (vec!["cr.csv"], 1, "end with CR"),
        (vec!["twice.csv"], 1, "several columns \"email\""),
        (vec!["empty.csv"], 1, "has no header"),
        (vec!["p.txt"], 2, "must end with .csv or .ndjson"),
        (vec!["--from=postgres://a:b@c/d"], 2, "mysql://user:password@"),
        (vec!["--from=cr.csv", "twice.csv"], 2, "cannot be used together"),
    ] {
        let output = import_in(folder, &arguments).output().unwrap();
        let said = stderr(&output);
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    }
    // A file takes precedence over the variable.
    std::fs::write(folder.join("p.csv"), format!("{HEADER}{}", row(1))).unwrap();
    let mut command = import_in(folder, &["p.csv"]);
    command.env("IMPORT_FROM", "cr.csv");
    let (code, _, log) = imported(command);
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn patients_of_another_service_under_the_same_source_are_reported() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    migrate_in(folder);
    std::fs::write(folder.join("a.csv"), format!("{HEADER}{}{}", row(1), row(2))).unwrap();
    let other = format!(
        "{HEADER}{}{}",
        row(1).replace("Ana", "Eva").replace("p1@", "eva@"),
        row(2)
    );
    std::fs::write(folder.join("b.csv"), other).unwrap();
    assert_eq!(imported(import_in(folder, &["a.csv"])).0, Some(0));
    let (code, counts, log) = imported(import_in(folder, &["b.csv", "--report=r.ndjson"]));
    assert_eq!((code, &counts["already_imported"]), (Some(5), &json!(1)), "{log}");
    assert_eq!(reasons(folder), [(2, "differs".to_owned())]);
    let (code, ..) = imported(import_in(folder, &["b.csv", "--source=clinic-2"]));
    assert_eq!(code, Some(5), "the email of the second patient is taken");
    assert_eq!(head(folder), 3);
}

#[tokio::test]
async fn a_table_whose_ids_are_not_a_key_is_rejected_and_no_old_id_is_logged() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    migrate_in(folder);
    for server in mysql_servers() {
        let database = server.create_database().await;
        let mut connection = MySqlConnection::connect(&database.url).await.unwrap();
        let values = "name VARCHAR(99), email VARCHAR(99), phone VARCHAR(99), document_url TEXT";
        for (table, id) in [
            ("nullable", "id INT UNIQUE"),
            ("twice", "id INT NOT NULL, KEY (id)"),
            ("pair", "id INT NOT NULL, n INT, PRIMARY KEY (id, n)"),
            ("huge", "id BIGINT UNSIGNED PRIMARY KEY"),
            ("fine", "id BIGINT UNSIGNED NOT NULL, UNIQUE (id)"),
        ] {
            let create = format!("CREATE TABLE {table} ({id}, {values})");
            connection.execute(create.as_str()).await.unwrap();
        }
        for insert in [
            "INSERT INTO huge (id, name) VALUES (1, 'Ana'), (9223372036854775808, 'Eva')",
            "INSERT INTO fine (id, name) VALUES (9223372036854775807, 'Ana')",
        ] {
            connection.execute(insert).await.unwrap();
        }
        let import = |table: &str| {
            let mut command = import_in(folder, &["--table", table]);
            command.env("IMPORT_FROM", &database.url);
            imported(command)
        };
        for (table, expected) in [
            ("nullable", "is not a key of the table"),
            ("twice", "is not a key of the table"),
            ("pair", "is not a key of the table"),
            ("huge", "the ids of the table are too large"),
        ] {
            let (code, _, log) = import(table);
            assert_eq!(code, Some(1), "{table}: {log}");
            assert!(log.contains(expected), "{table}: {log}");
        }
        let (code, counts, log) = import("fine");
        assert_eq!((code, &counts["not_imported"]), (Some(5), &json!(1)), "{log}");
        assert!(
            log.contains("`email` (missing): 1") && !log.contains("9223372036854775807"),
            "{log}"
        );
    }
    assert_eq!(head(folder), 0);
}

#[test]
fn the_report_never_overwrites_the_source() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    migrate_in(folder);
    let csv = format!("{HEADER}{}", row(1));
    // The part of a report that an interrupted import has left, under a name of its own.
    for file in ["p.csv", "r.ndjson.part"] {
        std::fs::write(folder.join(file), &csv).unwrap();
    }
    std::fs::hard_link(folder.join("p.csv"), folder.join("hard.csv")).unwrap();
    for (target, link) in [("p.csv", "soft.csv"), ("r.ndjson.part", "part.csv")] {
        std::os::unix::fs::symlink(target, folder.join(link)).unwrap();
    }
    let absolute = folder.join("p.csv");
    for (source, report) in [
        ("p.csv", "p.csv"),
        ("p.csv", absolute.to_str().unwrap()),
        ("hard.csv", "p.csv"),
        ("soft.csv", "./p.csv"),
        ("p.csv", "soft.csv"),
        ("part.csv", "r.ndjson"),
    ] {
        let output = import_in(folder, &[source, "--report", report]).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{source}, {report}: {said}");
        assert!(said.contains("would overwrite the file"), "{said}");
    }
    for file in ["p.csv", "r.ndjson.part"] {
        assert_eq!(std::fs::read_to_string(folder.join(file)).unwrap(), csv, "{file}");
    }
    assert_eq!(head(folder), 0);
}

#[tokio::test]
async fn the_options_name_the_table_and_its_columns() {
    for server in mysql_servers() {
        let folder = TempDir::new().unwrap();
        let folder = folder.path();
        migrate_in(folder);
        let database = server.create_database().await;
        let mut connection = MySqlConnection::connect(&database.url).await.unwrap();
        for sql in [
            "CREATE TABLE `old ``people` (id VARCHAR(9), nr INT PRIMARY KEY, `full name` TEXT, name TEXT, mail TEXT, email TEXT, \
             `tel``s` TEXT)",
            "INSERT INTO `old ``people` VALUES ('x', 17, 'Ana', 'no', 'ana@example.com', 'no', '+34600000017')",
        ] {
            connection.execute(sql).await.unwrap();
        }
        let mut command = import_in(folder, &["--table", "old `people"]);
        command.env("IMPORT_FROM", &database.url);
        for (option, value) in [
            ("--column", "id=nr"),
            ("--column", "name=full name"),
            // The last one counts, and names of columns have no case.
            ("--column", "email=email"),
            ("--column", "email=MAIL"),
            ("--column", "phone=tel`s"),
            ("--document-url", "https://example.com/{id}"),
        ] {
            command.args([option, value]);
        }
        let (code, _, log) = imported(command);
        assert_eq!(code, Some(0), "{log}");
        let found = &registered_in(folder)[0];
        let values = ["name", "email", "phone", "document_url"].map(|field| &found[field]);
        let expected = ["Ana", "ana@example.com", "+34600000017", "https://example.com/17"];
        assert_eq!(values, expected.map(|value| json!(value)).each_ref());
    }
}
