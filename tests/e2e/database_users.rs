//! A database user for each role, created with `migrations/users/`. Each user has exactly the privileges that
//! its role needs.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::{Connection, MySqlConnection};
use tempfile::TempDir;
use testkit::{
    Flavour, PrivateMysql, Program, RedisServer, SmtpMode, SmtpServer, free_port, installed_flavours,
    wait_until,
};

use crate::client::{Client, id_of};
use crate::metrics::Page;
use crate::operators::append_unreadable;
use crate::rebuild::{json, run};
use crate::rig::{Production, SOON};

const CREATE: &str = include_str!("../../migrations/users/create.sql");
const GRANT: &str = include_str!("../../migrations/users/grant.sql");
const DOCS: &str = include_str!("../../docs/operations.md");

pub(crate) const PASSWORD: &str = "of-a-test";

/// A server with the users of the two files. Each test has its own server, because users belong to the whole
/// server.
pub(crate) struct Users {
    pub(crate) production: Production,
    pub(crate) server: PrivateMysql,
}

impl Users {
    async fn on_each(test: impl AsyncFn(&Self)) {
        for flavour in installed_flavours() {
            println!("on {flavour}");
            let users = Self::new_server(flavour, SmtpServer::start(SmtpMode::Plain).await).await;
            users.make_schema().await;
            test(&users).await;
        }
    }

    /// Starts a server with an empty database, and creates the users without any privileges.
    pub(crate) async fn new_server(flavour: Flavour, smtp: SmtpServer) -> Self {
        let server = PrivateMysql::start(flavour).await;
        let production = Production {
            database: server.server().create_database().await,
            redis: RedisServer::start().await,
            smtp,
        };
        let users = Self { production, server };
        users.administrate(CREATE).await;
        let unlock = CREATE.lines().filter_map(|line| {
            let user = line.strip_prefix("CREATE USER IF NOT EXISTS ")?;
            let user = user.strip_suffix(" ACCOUNT LOCK;")?;
            Some(format!(
                "ALTER USER {user} IDENTIFIED BY '{PASSWORD}' ACCOUNT UNLOCK;"
            ))
        });
        let unlock: String = unlock.collect();
        users.administrate(&unlock).await;
        users
    }

    /// Creates the tables and grants the privileges, as described in docs/operations.md. Then repeats both
    /// steps, as for an upgrade.
    pub(crate) async fn make_schema(&self) {
        let migrate = || run(&mut self.command("migrate", &["migrate"]));
        assert!(migrate().0);
        self.grant().await;
        let (again, said) = migrate();
        assert!(again, "{said}");
        self.administrate(CREATE).await;
        self.grant().await;
    }

    pub(crate) async fn grant(&self) {
        self.administrate(GRANT).await;
    }

    async fn administrate(&self, sql: &str) {
        let mut connection = MySqlConnection::connect(&self.production.database.url)
            .await
            .unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    fn url(&self, user: &str) -> String {
        let login = format!("//patients_{user}:{PASSWORD}@");
        self.production.database.url.replacen("//root@", &login, 1)
    }

    pub(crate) fn command(&self, user: &str, words: &[&str]) -> Command {
        let mut command = self.production.command("");
        command
            .args(words)
            .env("DATABASE_URL", self.url(user))
            // At log level debug, a failed metrics page logs the reason.
            .env("LOG", "info,patients=debug")
            .env_remove("RUST_BACKTRACE");
        command
    }

    /// Starts a role as its user, with its own address for HTTP or metrics.
    pub(crate) fn start(&self, role: &str) -> (Program, Client, u16) {
        Self::start_as(self.command(role, &[role]), role)
    }

    fn start_as(mut command: Command, role: &str) -> (Program, Client, u16) {
        let port = free_port();
        let setting = if role == "api" {
            "HTTP_ADDR"
        } else {
            "METRICS_ADDR"
        };
        let program = Program::start(command.env(setting, format!("127.0.0.1:{port}")));
        (program, Client::new(port), port)
    }

    async fn connect(&self, user: &str) -> MySqlConnection {
        MySqlConnection::connect(&self.url(user)).await.unwrap()
    }
}

/// Publishes the log and the record of reads, with keys in a folder.
fn publish(command: &mut Command, keys: &Path) {
    command
        .env("LOG_ORIGIN", "log.example.org/patients")
        .env("READS_LOG_ORIGIN", "log.example.org/reads")
        .env("LOG_KEY_FILE", keys.join("log.key"))
        .env("READS_LOG_KEY_FILE", keys.join("reads.key"))
        .env("CHECKPOINT_INTERVAL", "500ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_and_command_does_all_its_work_with_a_user_of_its_own() {
    Users::on_each(async |users| {
        let keys = TempDir::new().unwrap();
        for words in [&["audit", "key", "new"][..], &["audit", "key", "--reads", "new"]] {
            let mut command = users.command("projector", words);
            publish(&mut command, keys.path());
            assert!(run(&mut command).0);
        }
        let roles = ["api", "projector", "mailer"].map(|role| {
            let mut command = users.command(role, &[role]);
            publish(&mut command, keys.path());
            (role, Users::start_as(command, role))
        });
        let [
            (_, (_, client, port)),
            (_, (_, projector, _)),
            (_, (_, mailer, _)),
        ] = &roles;
        wait_until(SOON, "the API is ready", async || client.ready().await).await;

        let deleted = clerks(client).await;
        auditors_over_http(client, &deleted).await;
        operators_over_http(client).await;
        auditors(users, &deleted);
        for page in [client, projector, mailer] {
            assert_eq!(Page::of(page).await.value("patients_database_up"), Some(1.0));
        }
        for (role, _) in &roles {
            wait_until(SOON, "the role is healthy", async || {
                let mut health = users.command(role, &["health", "--role", role]);
                run(health.env("HTTP_ADDR", format!("127.0.0.1:{port}"))).0
            })
            .await;
        }
        operators(users, client).await;
        import_and_export(users);
        for path in ["/log/checkpoint", "/reads-log/checkpoint"] {
            wait_until(SOON, "a checkpoint is signed", async || {
                client.get(path).await.unwrap().status() == StatusCode::OK
            })
            .await;
        }
        for (role, (program, _, _)) in &roles {
            program.terminate();
            assert_eq!(program.wait(SOON).await, 0);
            let said = program.log();
            assert!(!said.contains("denied"), "{role}: {said}");
        }
    })
    .await;
}

/// Registers, reads and deletes. Returns the id of the deleted patient.
async fn clerks(client: &Client) -> String {
    let created = client.register("first@example.com").await.unwrap();
    assert_eq!(created.status(), StatusCode::CREATED);
    let created: Value = created.json().await.unwrap();
    let under_key = client.register_for_sure("second@example.com").await;
    assert_eq!(client.register_for_sure("second@example.com").await, under_key);
    let taken = client.register("first@example.com").await.unwrap();
    assert_eq!(taken.status(), StatusCode::CONFLICT);
    // Registers a patient whose email cannot be sent, for the operator.
    let last = client.register("peña@example.com").await.unwrap();
    let position = last.headers()["event-position"].to_str().unwrap().to_owned();
    for (path, listed) in [
        ("/patients", 3),
        ("/patients?name=maria", 3),
        ("/patients?email=first@example.com", 1),
    ] {
        assert_eq!(client.get_at(path, &position).await.len(), listed, "{path}");
    }
    let id = id_of(&created);
    assert_eq!(
        client.get(&format!("/patients/{id}")).await.unwrap().status(),
        200
    );
    assert_eq!(client.delete(id).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(
        client.get(&format!("/patients/{id}")).await.unwrap().status(),
        410
    );
    // The email address can be registered again.
    client.register_for_sure("first@example.com").await;
    id.to_owned()
}

async fn auditors_over_http(client: &Client, id: &str) {
    for path in [
        format!("/patients/{id}/history"),
        format!("/patients/{id}/history/1"),
        "/events?limit=10".to_owned(),
        "/audit/reads".to_owned(),
    ] {
        assert_eq!(client.get(&path).await.unwrap().status(), 200, "{path}");
    }
}

/// Operates mail and projection over HTTP until no work is left.
async fn operators_over_http(client: &Client) {
    let get = async |path: &str| -> Value { client.get(path).await.unwrap().json().await.unwrap() };
    wait_until(SOON, "every mail is sent or dead", async || {
        let mails = get("/mail").await["mails"].clone();
        mails["sent"] == 3 && mails["dead"] == 1
    })
    .await;
    let dead = get("/mail/deliveries?state=dead").await[0]["id"].clone();
    for path in [
        format!("/mail/deliveries/{dead}/retry"),
        "/mail/dead/retry".to_owned(),
    ] {
        wait_until(SOON, "the mail is dead again", async || {
            get("/mail").await["mails"]["dead"] == 1
        })
        .await;
        assert_eq!(
            client.post(&path).await.unwrap().status(),
            StatusCode::ACCEPTED,
            "{path}"
        );
    }

    for (call_off, end) in [(false, "done"), (true, "cancelled")] {
        let asked = client.post("/projections/patient_view/rebuild").await.unwrap();
        assert_eq!(asked.status(), StatusCode::ACCEPTED);
        let rebuild = asked.headers()["location"].to_str().unwrap().to_owned();
        let called_off = call_off && client.delete_at(&rebuild).await.unwrap().status() == 202;
        wait_until(SOON, "the rebuild is over", async || {
            let state = get(&rebuild).await["state"].clone();
            // The projector may finish before the cancellation.
            state == end || (call_off && !called_off && state == "done")
        })
        .await;
    }
    assert_eq!(get("/projections").await["subscriptions"][0]["name"], "eraser");
}

/// Runs the commands of auditors.
fn auditors(users: &Users, id: &str) {
    // Proofs are written to files.
    let folder = TempDir::new().unwrap();
    for words in [
        &["head"] as &[&str],
        &["verify"],
        &["export"],
        &["history", id],
        &["state", id, "--sequence", "1"],
        &["prove", "1"],
        &["reads"],
        &["reads", "heads"],
    ] {
        let mut command = users.command("auditor", &[&["audit"], words].concat());
        let (succeeded, said) = run(command.current_dir(folder.path()));
        assert!(succeeded, "{words:?}: {said}");
    }
}

/// Runs the commands of operators, the last of them for an unreadable event.
async fn operators(users: &Users, client: &Client) {
    let ask = |words: &[&str]| json(&mut users.command("operator", words));
    let dead = ask(&["mail", "list", "--state", "dead"])[0]["id"].to_string();
    for words in [
        &["mail", "status"] as &[&str],
        &["mail", "show", &dead],
        &["mail", "retry", &dead],
        &["mail", "retry", "--dead"],
        &["projection", "status"],
        &["projection", "rebuild"],
        &["projection", "verify"],
        &["claims", "verify"],
        &["keys", "check"],
        &["keys", "rotate"],
        &["log", "format"],
        &["log", "upgrade", "--no-earlier-programs"],
        &["erase", "--replay"],
        &[
            "audit",
            "reads",
            "prune",
            "--before",
            "2026-01-01T00:00:00Z",
            "--yes",
        ],
    ] {
        let (succeeded, said) = run(&mut users.command("operator", words));
        assert!(succeeded, "{words:?}: {said}");
    }
    let position = append_unreadable(&users.production).await;
    let stopped = async || {
        let status = ask(&["projection", "status"]);
        status["subscriptions"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|followed| followed["projection"].is_object())
            .all(|followed| followed["failure"]["position"] == position)
    };
    wait_until(SOON, "the projections have stopped", stopped).await;
    // A rebuild stops at the same event, and is then cancelled.
    let mut rebuild = users.command("operator", &["projection", "rebuild"]);
    assert!(!run(&mut rebuild).0);
    let (cancelled, said) = run(&mut users.command("operator", &["projection", "cancel"]));
    assert!(cancelled, "{said}");
    let position = position.to_string();
    let skip = ["projection", "skip", &position, "--reason", "a test wrote it"];
    let (skipped, said) = run(&mut users.command("operator", &skip));
    assert!(skipped, "{said}");
    let after = client.register("after@example.com").await.unwrap();
    let position = after.headers()["event-position"].to_str().unwrap().to_owned();
    assert_eq!(client.get_at("/patients", &position).await.len(), 4);
    let after: Value = after.json().await.unwrap();
    let path = format!("/patients/{}/erasure", id_of(&after));
    let erased = client.post_json(&path, &json!({ "reason": "error" })).await;
    assert!(erased.status().is_success(), "{}", erased.status());
    let erased: Value = erased.json().await.unwrap();
    assert!(erased["key_destroyed_at"].is_string(), "{erased}");
    wait_until(SOON, "the erasure has a certificate", async || {
        let certificate = client.get(&format!("{path}/certificate")).await.unwrap();
        certificate.status() == StatusCode::OK
    })
    .await;
    let certify = ["erase", "--certificate", id_of(&after), "--output", "-"];
    let (certified, said) = run(&mut users.command("api", &certify));
    assert!(certified, "{said}");
}

/// Imports a patient, and exports all patients, as the user of the API.
fn import_and_export(users: &Users) {
    let folder = TempDir::new().unwrap();
    let row = "17,Ana,imported@example.com,+34600000017,https://example.com/a.jpg";
    let csv = format!("id,name,email,phone,document_url\n{row}\n");
    std::fs::write(folder.path().join("p.csv"), csv).unwrap();
    // The first import registers, and the second import finds the patient.
    for words in [
        &["import", "p.csv", "--dry-run"] as &[&str],
        &["import", "p.csv"],
        &["import", "p.csv"],
        &["export", "--fhir", "--output", "p.ndjson"],
    ] {
        let (succeeded, said) = run(users.command("api", words).current_dir(folder.path()));
        assert!(succeeded, "{words:?}: {said}");
    }
    let exported = std::fs::read_to_string(folder.path().join("p.ndjson")).unwrap();
    assert!(exported.contains("imported@example.com"), "{exported}");
}

/// Whether the server allows a statement to the user. The statements in this test change no rows.
pub(crate) async fn allowed(connection: &mut MySqlConnection, sql: &str) -> bool {
    let done = sqlx::raw_sql(sql).execute(connection).await;
    if let Err(error) = &done {
        // ER_TABLEACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR.
        let number = error
            .as_database_error()
            .and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>())
            .map(MySqlDatabaseError::number);
        assert!(matches!(number, Some(1142 | 1227)), "{sql}: {error}");
    }
    done.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_lets_each_user_do_what_the_documentation_says_and_nothing_besides() {
    let documented = documented();
    Users::on_each(async |users| {
        let mut root = MySqlConnection::connect(&users.production.database.url)
            .await
            .unwrap();
        let tables: Vec<(String, String)> = sqlx::query_as(
            "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR) FROM information_schema.columns \
             WHERE table_schema = DATABASE() AND ordinal_position = 1",
        )
        .fetch_all(&mut root)
        .await
        .unwrap();
        let mut found = BTreeSet::new();
        for user in USERS {
            let mut connection = users.connect(user).await;
            for (table, column) in &tables {
                for (right, sql) in [
                    ("S", format!("SELECT {column} FROM {table} WHERE FALSE")),
                    (
                        "I",
                        format!("INSERT IGNORE INTO {table} ({column}) SELECT 1 FROM DUAL WHERE FALSE"),
                    ),
                    ("U", format!("UPDATE {table} SET {column} = 1 WHERE FALSE")),
                    ("D", format!("DELETE FROM {table} WHERE FALSE")),
                ] {
                    if allowed(&mut connection, &sql).await {
                        found.insert(format!("{table}: {user} {right}"));
                    }
                }
            }
            // Only the user `migrate` can alter tables, and no user can drop or truncate them.
            let alter = "ALTER TABLE events COMMENT 'x'";
            assert_eq!(
                allowed(&mut connection, alter).await,
                user == "migrate",
                "{user}: {alter}"
            );
            for sql in [
                "DROP TABLE events",
                "TRUNCATE TABLE events",
                "CREATE USER x",
                "GRANT SELECT ON events TO x",
            ] {
                assert!(!allowed(&mut connection, sql).await, "{user}: {sql}");
            }
        }
        let differing: Vec<_> = found.symmetric_difference(&documented).collect();
        assert!(
            differing.is_empty(),
            "documented and actual privileges differ: {differing:?}"
        );
        // No user may have these privileges, even if they are documented.
        for right in ["U", "D"] {
            for table in ["events", "audit_reads", "audit_read_links"] {
                // Pruning deletes entries.
                let prunes = format!("audit_reads: operator {right}");
                let may = found
                    .iter()
                    .find(|may| may.starts_with(&format!("{table}:")) && may.ends_with(&format!(" {right}")));
                let expected = (table == "audit_reads" && right == "D").then_some(&prunes);
                assert_eq!(may, expected);
            }
        }
    })
    .await;
}

pub(crate) const USERS: [&str; 7] = [
    "api",
    "projector",
    "mailer",
    "auditor",
    "operator",
    "migrate",
    "backup",
];

/// Returns the privileges in the first table of rights in docs/operations.md.
fn documented() -> BTreeSet<String> {
    let head = format!("| table | `{}` |\n", USERS.join("` | `"));
    let (_, table) = DOCS.split_once(&head).unwrap();
    rights_in(table)
}

/// Returns the privileges in the rows of a table.
pub(crate) fn rights_in(table: &str) -> BTreeSet<String> {
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let (table, rights) = cells.split_first().unwrap();
        assert_eq!(rights.len(), USERS.len(), "{row}");
        let table = table.trim_matches('`');
        let of_user = USERS.iter().zip(rights.iter()).flat_map(move |(user, rights)| {
            rights
                .split_whitespace()
                .map(move |right| format!("{table}: {user} {right}"))
        });
        of_user.collect::<Vec<_>>()
    })
    .collect()
}
