//! Several rows with the same id.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::mysql_servers;

use super::{import_in, imported, migrate_in, report};
use crate::rig::Production;

const HEADER: &str = "id,name,email,phone,document_url\n";
/// More rows than a batch has.
const ROWS: u64 = 300;

fn row(id: u64, name: &str, email: &str) -> String {
    format!("{id},{name},{email}@example.com,+34600000017,https://example.com/a.jpg\n")
}

/// Returns line and code of each reason in the report `r.ndjson`.
fn reasons(folder: &Path) -> Vec<(u64, String)> {
    let reason = |line: &Value| {
        let code = line["code"].as_str().unwrap().to_owned();
        (line["line"].as_u64().unwrap(), code)
    };
    report(&folder.join("r.ndjson")).iter().map(reason).collect()
}

/// Imports a file with this content, on SQLite and on every available MySQL and MariaDB server, as often as
/// `check` is called. `check` gets the exit code, the counts and the reasons.
async fn import_on_each(rows: &str, check: impl Fn(Option<i32>, Value, Vec<(u64, String)>), times: u32) {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("p.csv"), format!("{HEADER}{rows}")).unwrap();
    migrate_in(folder);
    let arguments = ["p.csv", "--report=r.ndjson"];
    for _ in 0..times {
        let (code, counts, log) = imported(import_in(folder, &arguments));
        println!("{log}");
        check(code, counts, reasons(folder));
    }
    for server in mysql_servers() {
        let production = Production::on(server).await;
        for _ in 0..times {
            let mut command = production.command("import");
            command.args(arguments).current_dir(folder);
            let (code, counts, log) = imported(command);
            println!("{log}");
            check(code, counts, reasons(folder));
        }
    }
}

#[tokio::test]
async fn a_row_with_the_id_of_an_earlier_row_and_another_person_is_reported_in_every_run() {
    let rows: String = (1..=ROWS)
        .map(|id| row(id, &format!("Patient {id}"), &format!("p{id}")))
        .collect();
    // In one batch with the first row of this id, and in another batch: another person, and the same person.
    let same_batch = row(1, "Patient 1", "p1") + &row(1, "Eva", "eva") + &row(2, "Patient 2", "other");
    let other_batch = row(4, "Juan", "juan") + &row(5, "Another Name", "P5") + &row(6, "Patient 6", "p6");
    let all = row(1, "Patient 1", "p1") + &same_batch + &rows + &other_batch;
    let last = 5 + ROWS;
    import_on_each(
        &all,
        |code, counts, reasons| {
            assert_eq!(code, Some(5), "{counts}");
            assert_eq!(
                reasons,
                [(4, "differs".to_owned()), (last + 1, "differs".to_owned())],
                "{counts}"
            );
            // Each id once, in the first run or before.
            let of = |name: &str| counts[name].as_u64().unwrap();
            assert_eq!(
                of("imported") + of("already_imported") + of("not_imported"),
                7 + ROWS
            );
            assert!([0, ROWS].contains(&of("imported")), "{counts}");
        },
        2,
    )
    .await;
}

#[tokio::test]
async fn a_later_row_is_imported_if_the_earlier_row_with_its_id_is_rejected() {
    let mut rows = row(1, "The Holder", "holder");
    for id in 2..=ROWS {
        rows += &row(id, &format!("Patient {id}"), "holder");
        rows += &row(id, &format!("Patient {id}"), &format!("p{id}"));
    }
    import_on_each(
        &rows,
        |code, counts, reasons| {
            assert_eq!(code, Some(5), "{counts}");
            let counts = ["imported", "already_imported", "not_imported"].map(|name| counts[name].clone());
            assert_eq!(counts, [json!(ROWS), json!(0), json!(ROWS - 1)]);
            let taken: Vec<_> = (2..=ROWS).map(|id| (2 * id - 1, "taken".to_owned())).collect();
            assert_eq!(reasons, taken);
        },
        1,
    )
    .await;
}
