//! Tampering with the tables of a log: the program and `docs/verify.py`, which share no code, return the same
//! verdict.

mod table;

use std::path::Path;
use std::process::Command;

use eventstore::chain::Canonical;
use eventstore::merkle::{Frontier, leaf};
use eventstore::proof::{Format, Inclusion, Request, Tree};
use eventstore::{
    Append, Database, Dialect, EventLog, Hash, NewEvent, Position, Proof, RecordedEvent, Session, Timestamp,
    Trusted, prove, verify,
};
use serde_json::{Value, json};

use super::Log;
use crate::log::fill;
use table::Of::{self, Cut, Event, Head, Relinked, Rows};
use table::{MENDED_BY_MYSQL, TAMPERINGS};

const EVENTS: u64 = 6;
/// Position of the tampered event.
const AT: u64 = 2;

/// A log, with copies of its tables.
struct Tampered<'l> {
    log: &'l Log,
    database: Database,
    trusted: Trusted,
}

/// Whether each check accepts a log.
#[derive(Debug, PartialEq, Eq)]
struct Verdicts {
    verify: bool,
    export: bool,
    prove: bool,
    /// `verify.py` on an export of the raw rows, if the rows alone determine the verdict.
    script_of_rows: Option<bool>,
    /// The program and `verify.py`, on a proof of the tampered event, built from its raw row.
    check: Option<bool>,
    script_of_proof: Option<bool>,
}

impl Verdicts {
    fn all(fits: bool, of: Of) -> Self {
        let rows = (of != Head).then_some(fits);
        let proof = matches!(of, Event | Relinked).then_some(fits);
        Self {
            verify: fits,
            export: fits,
            prove: fits || of == Cut,
            script_of_rows: rows,
            check: proof,
            script_of_proof: proof,
        }
    }
}

impl<'l> Tampered<'l> {
    async fn new(log: &'l Log) -> Self {
        let appends = (1..=EVENTS).map(|n| {
            let event = NewEvent {
                aggregate_type: "patient".into(),
                aggregate_id: format!("0190abcd-0000-7000-8000-00000000000{n}"),
                sequence: 1,
                event_type: "PatientRegistered".into(),
                event_version: "1.0".into(),
                payload: json!({"n": 7, "name": "Zoë"}),
                metadata: json!({"actor": "test"}),
            };
            Append::new(vec![event], Vec::new()).unwrap()
        });
        fill(&log.url, appends).await;
        let database = log.open().await;
        for table in ["events", "log_head"] {
            let sql = format!("CREATE TABLE original_{table} AS SELECT * FROM {table}");
            execute(&database, &sql).await.unwrap();
        }
        let head = EventLog::new(database.clone()).head().await.unwrap();
        Self {
            log,
            database,
            trusted: Trusted {
                position: head.position,
                hash: head.hash,
            },
        }
    }

    async fn restore(&self) {
        for table in ["events", "log_head"] {
            execute(&self.database, &format!("DELETE FROM {table}"))
                .await
                .unwrap();
            let sql = format!("INSERT INTO {table} SELECT * FROM original_{table}");
            execute(&self.database, &sql).await.unwrap();
        }
    }

    /// Returns the raw rows, with unparsed JSON.
    async fn rows(&self) -> Vec<Stored> {
        let mut connection = self.database.reader().await.unwrap();
        let sql = "SELECT position, aggregate_type, aggregate_id, sequence, event_type, event_version, \
                   CAST(payload AS CHAR), CAST(metadata AS CHAR), recorded_at, hash FROM events ORDER BY position";
        let rows = connection.query(sql).fetch_all().await.unwrap();
        let text = |row: &eventstore::Row, column: usize| row.get::<String, _>(column).unwrap();
        rows.iter()
            .map(|row| {
                let hash: Vec<u8> = row.get(9).unwrap();
                let (payload, metadata) = (text(row, 6), text(row, 7));
                let event = RecordedEvent {
                    position: row.get(0).unwrap(),
                    aggregate_type: text(row, 1),
                    aggregate_id: text(row, 2),
                    sequence: row.get::<i64, _>(3).unwrap().unsigned_abs(),
                    event_type: text(row, 4),
                    event_version: text(row, 5),
                    payload: serde_json::from_str(&payload).unwrap_or_default(),
                    metadata: serde_json::from_str(&metadata).unwrap_or_default(),
                    recorded_at: row.get::<Timestamp, _>(8).unwrap(),
                    hash: Hash(hash.try_into().unwrap()),
                    erased_at: None,
                };
                Stored {
                    event,
                    payload,
                    metadata,
                }
            })
            .collect()
    }

    /// Recomputes every hash, and moves the head.
    async fn relink(&self) {
        let mut previous = Hash::default();
        for Stored { event, .. } in self.rows().await {
            let (position, recorded_at) = (event.position, event.recorded_at);
            previous = Canonical::of_recorded(&event)
                .unwrap()
                .link(&previous, position, recorded_at);
            let sql = format!("UPDATE events SET hash = X'{previous}' WHERE position = {position}");
            execute(&self.database, &sql).await.unwrap();
            let recorded_at = recorded_at.as_micros();
            let sql = format!("UPDATE log_head SET hash = X'{previous}', recorded_at = {recorded_at}");
            execute(&self.database, &sql).await.unwrap();
        }
    }

    async fn verdicts(&self, of: Of) -> Verdicts {
        let log = EventLog::new(self.database.clone());
        // If every hash was recomputed, a trusted head would detect it.
        let trusted = (of != Relinked).then_some(self.trusted);
        let kept = trusted.map(|trusted| format!("{}:{}", trusted.position, trusted.hash));
        let kept: Vec<&str> = kept.iter().flat_map(|kept| ["--trusted", kept]).collect();
        let trusted = Vec::from_iter(trusted);
        let checked = verify(&log, trusted, |_| {}).await.unwrap();
        let wanted = Request {
            event: Position::new(AT),
            ..Request::default()
        };
        let proved = prove(&log, wanted, |_| {}).await;
        let export = self.log.path("export.ndjson");
        let (code, _, stderr) = self.log.audit(&["export", "--output", &export]);
        assert!(code == 0 || code == 1, "{stderr}");
        let exported = code == 0 && script(&[&["export", &export], &kept[..]].concat()) == 0;
        let rows = self.rows().await;
        let script_of_rows = (of != Head).then(|| {
            let file = self.log.path("rows.ndjson");
            let lines: String = rows.iter().map(|row| row.line() + "\n").collect();
            std::fs::write(&file, lines).unwrap();
            script(&[&["export", &file], &kept[..]].concat()) == 0
        });
        let proof = matches!(of, Event | Relinked).then(|| {
            let text = proof_around(&rows[0], &rows[1]);
            let file = self.log.path("proof.json");
            std::fs::write(&file, &text).unwrap();
            let program = serde_json::from_str::<Proof>(&text).is_ok_and(|proof| proof.check().is_ok());
            // Exit code 3: the proof is consistent, but no trusted head was given.
            (program, script(&["proof", &file]) == 3)
        });
        Verdicts {
            verify: checked.is_ok(),
            export: exported,
            prove: proved.is_ok(),
            script_of_rows,
            check: proof.map(|(program, _)| program),
            script_of_proof: proof.map(|(_, script)| script),
        }
    }
}

/// A row with its unparsed JSON.
struct Stored {
    event: RecordedEvent,
    payload: String,
    metadata: String,
}

impl Stored {
    /// Returns the line that an export would contain.
    fn line(&self) -> String {
        let mut rest = serde_json::to_value(&self.event).unwrap();
        let members = rest.as_object_mut().unwrap();
        members.remove("payload");
        members.remove("metadata");
        let rest = rest.to_string();
        format!(
            "{},\"payload\":{},\"metadata\":{}}}",
            &rest[..rest.len() - 1],
            self.payload,
            self.metadata
        )
    }
}

/// Returns a proof that the second of two events is in a log of these two events.
fn proof_around(first: &Stored, second: &Stored) -> String {
    let mut tree = Frontier::default();
    for stored in [first, second] {
        tree.push(leaf(&stored.event.hash));
    }
    let proof = Proof {
        format: Format::V1,
        tree: Tree {
            size: 2,
            root: tree.root(),
        },
        inclusion: Some(Inclusion {
            event: second.event.clone(),
            previous_hash: first.event.hash,
            path: vec![leaf(&first.event.hash)],
        }),
        consistency: None,
    };
    let mut proof = serde_json::to_value(proof).unwrap();
    proof["inclusion"]["event"] = Value::from("here");
    proof.to_string().replace("\"here\"", &second.line())
}

/// Runs `docs/verify.py`, and returns its exit code.
fn script(arguments: &[&str]) -> i32 {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify.py");
    let output = Command::new("python3")
        .arg(script)
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("Traceback"), "{said}");
    output.status.code().unwrap()
}

/// Converts a statement of the table to the database's dialect. Texts become hexadecimal, so that they need
/// no escaping.
fn in_dialect(sql: &str, is_sqlite: bool) -> String {
    let zeros = if is_sqlite {
        "zeroblob(32)"
    } else {
        "REPEAT(X'00', 32)"
    };
    let sql = sql.replace("{0}", zeros);
    let Some((before, rest)) = sql.split_once('«') else {
        return sql;
    };
    let (text, after) = rest.split_once('»').unwrap();
    let hex: Vec<String> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let hex = hex.concat();
    if is_sqlite {
        format!("{before}CAST(X'{hex}' AS TEXT){after}")
    } else {
        format!("{before}CONVERT(X'{hex}' USING utf8mb4){after}")
    }
}

async fn execute(database: &Database, sql: &str) -> eventstore::Result<u64> {
    let mut connection = database.writer().await?;
    connection.query(sql).execute().await
}

#[tokio::test]
async fn whatever_is_done_to_a_log_both_verifiers_and_every_reader_say_the_same_of_it() {
    Log::on_each(0, async |log| {
        let tampered = Tampered::new(&log).await;
        let is_sqlite = tampered.database.dialect() == Dialect::Sqlite;
        for of in [Event, Relinked, Rows, Head, Cut] {
            assert_eq!(
                tampered.verdicts(of).await,
                Verdicts::all(true, of),
                "nothing, {of:?}"
            );
        }
        let (mut mended, mut refused) = (Vec::new(), Vec::new());
        for (what, of, statements) in TAMPERINGS {
            let mut stored = true;
            for sql in statements.split("; ") {
                match execute(&tampered.database, &in_dialect(sql, is_sqlite)).await {
                    Ok(changed) => assert!(changed > 0 || *of == Relinked, "{what} changed nothing"),
                    Err(_) => stored = false,
                }
            }
            if !stored {
                refused.push(*what);
                tampered.restore().await;
                continue;
            }
            if *of == Relinked {
                tampered.relink().await;
            }
            let verdicts = tampered.verdicts(*of).await;
            if verdicts == Verdicts::all(true, *of) {
                mended.push(*what);
            } else {
                assert_eq!(verdicts, Verdicts::all(false, *of), "{what}");
            }
            tampered.restore().await;
        }
        println!("rejected by the database: {refused:?}; normalized by the database: {mended:?}");
        assert!(
            mended.iter().all(|what| MENDED_BY_MYSQL.contains(what)),
            "{mended:?}"
        );
        if is_sqlite {
            assert!(mended.is_empty() && refused.is_empty(), "{mended:?} {refused:?}");
        }
        // MySQL and MariaDB reject these as invalid JSON.
        assert!(refused.len() <= 7, "{refused:?}");
        tampered.database.close().await;
    })
    .await;
}
