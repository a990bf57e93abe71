//! The tasks of auditors: keep a head, verify and export the log, write proofs, and check them without the
//! database.

mod export;
mod history;
mod output;
mod record;
mod tampering;
mod verifier;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use eventstore::{Append, Database, DatabaseOptions, NewEvent, Session};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Program, TestDatabase, mysql_servers, wait_until};

use crate::log::fill;
use crate::rig::{SOON, patients};

/// A log with varied events.
struct Log {
    url: String,
    folder: TempDir,
    _database: Option<TestDatabase>,
}

impl Log {
    async fn embedded(events: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("log.db").display());
        let log = Self {
            url,
            folder,
            _database: None,
        };
        log.append(events).await;
        log
    }

    async fn on(database: TestDatabase, events: usize) -> Self {
        let log = Self {
            url: database.url.clone(),
            folder: TempDir::new().unwrap(),
            _database: Some(database),
        };
        log.append(events).await;
        log
    }

    /// Runs `test` with a log on every backend.
    async fn on_each(events: usize, test: impl AsyncFn(Self)) {
        test(Self::embedded(events).await).await;
        for server in mysql_servers() {
            println!("on {}", server.flavour.name());
            test(Self::on(server.create_database().await, events).await).await;
        }
    }

    async fn open(&self) -> Database {
        Database::connect(&self.url, DatabaseOptions::default())
            .await
            .unwrap()
    }

    async fn append(&self, events: usize) {
        let sayings = sayings();
        let appends = (0..events).map(|n| {
            let event = NewEvent {
                aggregate_type: "patient".into(),
                aggregate_id: uuid::Uuid::from_u128(fastrand::u128(..)).to_string(),
                sequence: 1,
                event_type: "PatientRegistered".into(),
                event_version: "1.0".into(),
                payload: sayings[n % sayings.len()].clone(),
                metadata: json!({"request_id": n.to_string(), "actor": "test"}),
            };
            Append::new(vec![event], Vec::new()).unwrap()
        });
        fill(&self.url, appends).await;
    }

    async fn execute(&self, sql: &str) {
        let database = self.open().await;
        let mut connection = database.writer().await.unwrap();
        assert!(
            connection.query(sql).execute().await.unwrap() > 0,
            "{sql} changed nothing"
        );
        drop(connection);
        database.close().await;
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = patients("audit");
        command
            .args(arguments)
            .env("DATABASE_URL", &self.url)
            .current_dir(self.folder.path());
        command
    }

    /// Runs `patients audit …`. Returns the exit code, standard output and standard error.
    fn audit(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    /// Returns the output of `patients audit … --json`, which must succeed.
    fn json(&self, arguments: &[&str]) -> Value {
        let (code, stdout, stderr) = self.audit(&[arguments, &["--json"]].concat());
        assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}");
        serde_json::from_str(&stdout).unwrap()
    }

    /// Returns the head as `position:hash` and `position:root`.
    fn head(&self) -> (String, String) {
        let head = self.json(&["head", "--root"]);
        let pair = |member: &str| format!("{}:{}", head["position"], head[member].as_str().unwrap());
        (pair("hash"), pair("root"))
    }
}

fn sayings() -> Vec<Value> {
    vec![
        json!({"type": "PatientRegistered", "name": "Zoë Ñandú", "email": "z@example.com"}),
        json!({"zebra": 1, "a": 2, "Z": 3, "é": 5, "\u{20ac}": 6, "\u{1f600}": 7, "\u{fb33}": 8}),
        json!({"quotes": "\" \\ / \u{1}\u{8}\t\n\u{c}\r\u{1f}\u{7f}\u{80}\u{2028}", "": []}),
        json!({"numbers": [0, -1, 9_007_199_254_740_991_i64, 0.1, -0.5, 1.0, 1e21, 1e20, 123e-9, 1e-6, 1e-7]}),
        json!({"doubles": [5e-324, 1.797_693_134_862_315_7e308, 0.1 + 0.2, 123_456_789.123_456_78, 4.35, 1e22]}),
        json!([true, false, null, {"b": {"y": {}, "x": [[]]}}]),
    ]
}

#[tokio::test]
async fn an_auditor_who_kept_a_head_sees_that_nothing_was_altered_since() {
    Log::on_each(30, async |log| {
        let (hash, root) = log.head();
        let empty_handed = log.json(&["verify"]);
        assert_eq!(empty_handed["fits"], true);
        assert_eq!(format!("30:{}", empty_handed["root"].as_str().unwrap()), root);
        log.append(30).await;
        let verified = log.json(&["verify", "--trusted", &hash, "--trusted", &root]);
        assert_eq!(
            (&verified["fits"], &verified["position"]),
            (&json!(true), &json!(60))
        );
        let (code, stdout, _) = log.audit(&["verify", "--trusted", &root]);
        assert!(
            code == 0 && stdout.contains("all 60 events and the trusted head"),
            "{stdout}"
        );

        log.execute("UPDATE events SET event_version = '1.1' WHERE position = 17")
            .await;
        let (code, stdout, stderr) = log.audit(&["verify", "--json"]);
        let found: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((code, &found["fits"]), (1, &json!(false)), "{stderr}");
        assert_eq!(
            (&found["position"], &found["problem"]),
            (&json!(17), &json!("altered"))
        );
        let (code, stdout, _) = log.audit(&["verify"]);
        assert_eq!(code, 1);
        assert!(stdout.contains("position 17: the event was altered"), "{stdout}");
    })
    .await;
}

#[tokio::test]
async fn a_trusted_head_that_does_not_fit_is_not_called_a_rewritten_log() {
    let log = Log::embedded(30).await;
    let (hash, _) = log.head();
    let other = format!("17:{}", &hash[3..]);
    let beyond = format!("31:{}", &hash[3..]);
    for (trusted, problem, expected) in [
        (
            &other,
            "trusted_differs",
            "position 17: neither the hash nor the root of the log matches the trusted head here",
        ),
        (
            &beyond,
            "trusted_beyond",
            "the log ends at 30, before the trusted head at 31",
        ),
    ] {
        let (code, said, _) = log.audit(&["verify", "--trusted", trusted]);
        assert!(code == 1 && said.contains(expected), "{said}");
        assert!(
            said.contains("either") && said.contains("is from another log or is mistyped"),
            "{said}"
        );
        let (_, said, _) = log.audit(&["verify", "--trusted", trusted, "--json"]);
        let found: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(found["problem"], problem);
    }
    // If the head was moved back, the trusted event must not be reported as missing.
    log.execute("UPDATE log_head SET position = 20, hash = (SELECT hash FROM events WHERE position = 20)")
        .await;
    let (code, said, _) = log.audit(&["verify", "--trusted", &hash]);
    assert!(code == 1 && !said.contains("missing"), "{said}");
    assert!(
        said.contains("log_head was moved back, or events were added without updating it"),
        "{said}"
    );
    for arguments in [&["head"][..], &["export"], &["prove", "7", "--output", "-"]] {
        let (code, said, stderr) = log.audit(arguments);
        assert_eq!((code, said.as_str()), (1, ""), "{arguments:?}: {stderr}");
        assert!(
            stderr.contains("position 21: log_head is before the end of the log at 30"),
            "{stderr}"
        );
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_told_from_one_that_does_not_fit() {
    let log = Log::embedded(1).await;
    for url in ["sqlite://nowhere.db", "mysql://root@127.0.0.1:1/nothing"] {
        let output = log
            .command(&["verify", "--wait", "0"])
            .env("DATABASE_URL", url)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{url}");
    }
    assert!(
        !Path::new(&log.path("nowhere.db")).exists(),
        "it must not be created"
    );
    assert_eq!(log.audit(&["check", "no-such-file"]).0, 2);
    assert_eq!(log.audit(&["verify", "--trusted", "17"]).0, 2);
}

#[tokio::test]
async fn a_proof_is_checked_without_the_database_and_against_what_was_kept() {
    Log::on_each(40, async |log| {
        let (_, before) = log.head();
        log.append(60).await;
        let (_, after) = log.head();
        let (code, said, stderr) = log.audit(&["prove", "7", "--from", "40"]);
        assert_eq!(code, 0, "{stderr}");
        assert!(
            said.contains("event-7-of-100.proof.json") && !said.contains("example.com"),
            "{said}"
        );
        let offline = |arguments: &[&str]| {
            let mut command = log.command(&[&["check", "event-7-of-100.proof.json"], arguments].concat());
            command.env("DATABASE_URL", "mysql://nobody@127.0.0.1:1/nothing");
            let output = command.output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            (output.status.code().unwrap(), String::from_utf8(said).unwrap())
        };
        let (_, checked, _) = log.audit(&["check", "event-7-of-100.proof.json", "--json"]);
        let event = serde_json::from_str::<Value>(&checked).unwrap()["event"].clone();
        let itself = format!("7:{}", event["hash"].as_str().unwrap());
        let (code, said) = offline(&["--trusted", &after, "--trusted", &before, "--trusted", &itself]);
        assert_eq!(code, 0, "{said}");
        // The event's own hash confirms nothing about the rest of the log.
        for (trusted, expected_code, head_is_trusted) in [
            (&[][..], 3, false),
            (&["--trusted", &itself], 0, false),
            (&["--trusted", &after], 0, true),
            (&["--trusted", &before], 0, true),
            (&["--trusted", &itself, "--trusted", &before], 0, true),
        ] {
            let (code, said) = offline(trusted);
            assert_eq!(code, expected_code, "{trusted:?}: {said}");
            assert_eq!(
                said.contains("compare the head"),
                !head_is_trusted,
                "{trusted:?}: {said}"
            );
            assert_eq!(
                said.starts_with("proved:"),
                head_is_trusted,
                "{trusted:?}: {said}"
            );
            let arguments = [&["check", "event-7-of-100.proof.json", "--json"], trusted].concat();
            let (code, checked, _) = log.audit(&arguments);
            let checked: Value = serde_json::from_str(&checked).unwrap();
            assert_eq!((code, &checked["consistent"]), (expected_code, &json!(true)));
            assert_eq!(checked["trusted"], head_is_trusted, "{trusted:?}");
            assert_eq!(checked["proved"], head_is_trusted, "{trusted:?}");
            assert_eq!(
                checked["event_trusted"],
                trusted.contains(&itself.as_str()),
                "{trusted:?}"
            );
        }
        for (trusted, expected) in [
            (after.replace("100:", "40:"), "contradicts the trusted head"),
            (before.replace("40:", "41:"), "does not cover"),
        ] {
            let (code, said) = offline(&["--trusted", &trusted]);
            assert!(code == 1 && said.contains(expected), "{said}");
        }

        let file = log.path("event-7-of-100.proof.json");
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("\"actor\": \"test\"", "\"actor\": \"toast\"")).unwrap();
        let (code, said) = offline(&["--trusted", &after]);
        assert!(code == 1 && said.contains("do not match its hash"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn a_log_whose_head_was_removed_or_moved_does_not_fit() {
    Log::on_each(30, async |log| {
        let (code, _, stderr) = log.audit(&["export", "--after", "30"]);
        assert_eq!(code, 0, "{stderr}");
        let (code, stdout, stderr) = log.audit(&["export", "--after", "31"]);
        assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
        assert!(stderr.contains("the log ends at 30"), "{stderr}");

        log.execute("UPDATE log_head SET recorded_at = recorded_at + 1")
            .await;
        let (code, stdout, _) = log.audit(&["verify"]);
        assert!(
            code == 1 && stdout.contains("the time in log_head differs"),
            "{stdout}"
        );
        log.execute("DELETE FROM log_head").await;
        let (code, stdout, stderr) = log.audit(&["verify", "--json"]);
        assert_eq!(code, 1, "{stderr}");
        let found: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(
            (&found["position"], &found["problem"]),
            (&json!(30), &json!("no_head"))
        );
    })
    .await;
}
