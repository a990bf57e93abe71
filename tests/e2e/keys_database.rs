//! Data keys in a separate database (`KEYS_DATABASE_URL`).

mod relocation;
mod users;

use std::process::{Command, Stdio};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection, MySqlConnection};
use tempfile::TempDir;
use testkit::{MysqlClient, Program, Proxy, TestDatabase, free_port, mysql_servers, wait_until};

use crate::client::{Client, id_of};
use crate::rebuild::{json, run};
use crate::rig::{Production, SOON, patients, sqlite};

const SETTING: &str = "KEYS_DATABASE_URL";

/// A production with a database for the keys.
struct Split {
    production: Production,
    keys: TestDatabase,
}

impl Split {
    async fn on_each(test: impl AsyncFn(Self)) {
        for server in mysql_servers() {
            println!("on {}", server.flavour.name());
            let split = Self {
                production: Production::without_schema_on(server).await,
                keys: server.create_database().await,
            };
            let (migrated, said) = run(&mut split.command(&["migrate"]));
            assert!(migrated, "{said}");
            test(split).await;
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.production.command("");
        command.args(words).env(SETTING, &self.keys.url);
        command
    }

    /// Starts all roles in one process.
    async fn serve(&self) -> (Program, Client) {
        serve(self.command(&["serve"])).await
    }

    /// Runs a query on the database of the keys.
    async fn key_count(&self, condition: &str) -> i64 {
        let mut connection = MySqlConnection::connect(&self.keys.url).await.unwrap();
        let sql = format!("SELECT COUNT(*) FROM subject_keys WHERE {condition}");
        let count = sqlx::query_scalar(&sql).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        count
    }

    /// Returns the URL of the keys' database through a proxy.
    fn through(&self, proxy: &Proxy) -> String {
        let (server, _) = self.keys.url.rsplit_once(':').unwrap();
        format!("{server}:{}/{}", proxy.port(), self.keys.name)
    }

    async fn proxy(&self) -> Proxy {
        let (_, rest) = self.keys.url.rsplit_once(':').unwrap();
        let (port, _) = rest.split_once('/').unwrap();
        Proxy::start(port.parse().unwrap()).await
    }
}

async fn serve(mut command: Command) -> (Program, Client) {
    let port = free_port();
    let program = Program::start(command.env("HTTP_ADDR", format!("127.0.0.1:{port}")));
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    (program, client)
}

async fn stop(program: &Program) {
    program.terminate();
    assert_eq!(program.wait(SOON).await, 0, "{}", program.log());
}

async fn erase(client: &Client, id: &str) -> Value {
    let path = format!("/patients/{id}/erasure");
    let answer = client.post_json(&path, &json!({ "reason": "request" })).await;
    assert!(answer.status().is_success(), "{}", answer.status());
    wait_until(SOON, "everything is destroyed", async || {
        let status: Value = client.get(&path).await.unwrap().json().await.unwrap();
        status["complete"] == true
    })
    .await;
    client.get(&path).await.unwrap().json().await.unwrap()
}

async fn status(client: &Client, path: &str) -> StatusCode {
    client.get(path).await.unwrap().status()
}

/// Returns the status and the problem type of a registration.
async fn registration(client: &Client, email: &str) -> (StatusCode, Value) {
    let answer = client.register(email).await.unwrap();
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    (status, body["type"].clone())
}

/// Ends with code 1 and the reason, for each role and for a command.
async fn all_end(split: &Split, setting: &str, reason: &str) {
    for role in ["serve", "api", "projector", "mailer"] {
        let mut command = split.production.command(role);
        command
            .env(SETTING, setting)
            .env("HTTP_ADDR", format!("127.0.0.1:{}", free_port()));
        let program = Program::start(&command);
        assert_eq!(program.wait(SOON).await, 1, "{role}: {}", program.log());
        assert!(program.log().contains(reason), "{role}: {}", program.log());
    }
    let mut check = split.command(&["keys", "check", "--wait", "0s"]);
    let (checked, said) = run(check.env(SETTING, setting));
    assert!(!checked && said.contains(reason), "{said}");
}

#[tokio::test]
async fn an_api_that_starts_during_the_first_migration_waits_for_the_database_of_the_keys() {
    let server = &mysql_servers()[0];
    let split = Split {
        production: Production::without_schema_on(server).await,
        keys: server.create_database().await,
    };
    // The migration ends between the schema of the log and the schema of the keys.
    let mut interrupted = split.command(&["migrate", "--wait", "0s"]);
    interrupted.env(SETTING, "mysql://root@127.0.0.1:1/keys");
    let (migrated, said) = run(&mut interrupted);
    assert!(!migrated && said.contains(SETTING), "{said}");

    let port = free_port();
    let mut api = split.command(&["api"]);
    let api = Program::start(api.env("HTTP_ADDR", format!("127.0.0.1:{port}")));
    wait_until(SOON, "the API waits", async || {
        api.log()
            .contains("waiting for the database of KEYS_DATABASE_URL")
    })
    .await;
    let (migrated, said) = run(&mut split.command(&["migrate"]));
    assert!(migrated, "{said}");
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    assert_eq!(
        client.register("ana@example.com").await.unwrap().status(),
        StatusCode::CREATED
    );
    assert_eq!(split.key_count("1 = 1").await, 1);
}

#[tokio::test]
async fn an_old_copy_of_the_whole_log_brings_no_erased_patient_back() {
    Split::on_each(async |split| {
        let (program, client) = split.serve().await;
        assert!(
            program.stdout().contains("keys       mysql://127.0.0.1"),
            "{}",
            program.stdout()
        );
        let kept = client.register_for_sure("kept@example.com").await;
        let lost = client.register_for_sure("zaqxswc@example.com").await;
        let (kept, lost) = (id_of(&kept).to_owned(), id_of(&lost).to_owned());
        assert_eq!(split.key_count("wrapped IS NOT NULL").await, 2);
        assert_eq!(split.production.count("subject_keys").await, 0);
        assert_eq!(json(&mut split.command(&["log", "format"]))["format"], 3);
        wait_until(SOON, "both are listed", async || client.list().await.len() == 2).await;
        stop(&program).await;
        let server = &split.production.database.server;
        let mut dump = server.client(MysqlClient::Dump, "root", "");
        dump.args(["--single-transaction", "--no-tablespaces", "--hex-blob"]);
        let dump = dump.arg(&split.production.database.name).output().unwrap();
        assert!(dump.status.success());

        let (program, client) = split.serve().await;
        let erased = erase(&client, &lost).await;
        assert_eq!(erased["pending"], json!([]));
        assert_eq!(split.key_count("erased_at IS NOT NULL").await, 1);
        stop(&program).await;

        let folder = TempDir::new().unwrap();
        let file = folder.path().join("log.sql");
        std::fs::write(&file, &dump.stdout).unwrap();
        let mut restore = server.client(MysqlClient::Shell, "root", "");
        restore
            .arg(&split.production.database.name)
            .stdin(Stdio::from(std::fs::File::open(&file).unwrap()));
        assert!(run(&mut restore).0);
        assert_eq!(split.production.count("events").await, 2);
        let history = |id: &str| run(&mut split.command(&["audit", "history", id]));
        let (_, said) = history(&lost);
        assert!(!said.contains("zaqxswc"), "{said}");
        assert!(history(&kept).1.contains("kept@example.com"));
        let replay = || json(&mut split.command(&["erase", "--replay"]));
        assert_eq!(replay(), json!({ "erased": 0, "destroyed": 0, "recorded": 1 }));
        assert_eq!(replay(), json!({ "erased": 1, "destroyed": 0, "recorded": 0 }));

        let (program, client) = split.serve().await;
        assert_eq!(
            status(&client, &format!("/patients/{lost}")).await,
            StatusCode::GONE
        );
        assert_eq!(
            status(&client, &format!("/patients/{kept}")).await,
            StatusCode::OK
        );
        wait_until(SOON, "one is listed", async || client.list().await.len() == 1).await;
        wait_until(SOON, "the erasure has a certificate", async || {
            status(&client, &format!("/patients/{lost}/erasure/certificate")).await == StatusCode::OK
        })
        .await;
        let (verified, said) = run(&mut split.command(&["audit", "verify"]));
        assert!(verified, "{said}");
        let again = client.register("zaqxswc@example.com").await.unwrap();
        assert_eq!(again.status(), StatusCode::CREATED);

        // A key that comes back in the database of the keys is destroyed again.
        let mut keys = MySqlConnection::connect(&split.keys.url).await.unwrap();
        let back = format!(
            "UPDATE subject_keys SET erased_at = NULL, wrapped = X'00', wrapping_key = (SELECT id FROM \
             (SELECT MIN(wrapping_key) AS id FROM subject_keys) AS one) WHERE aggregate_id = '{lost}'"
        );
        sqlx::raw_sql(&back).execute(&mut keys).await.unwrap();
        keys.close().await.unwrap();
        assert_eq!(replay(), json!({ "erased": 1, "destroyed": 1, "recorded": 0 }));
        assert_eq!(split.key_count("erased_at IS NOT NULL").await, 1);
        stop(&program).await;
    })
    .await;
}

#[tokio::test]
async fn a_process_with_another_place_of_the_keys_ends_at_once() {
    Split::on_each(async |split| {
        let (program, client) = split.serve().await;
        client.register_for_sure("a@example.com").await;
        stop(&program).await;
        let server = &split.production.database.server;

        all_end(
            &split,
            "",
            "the data keys are in another database than the log: set KEYS_DATABASE_URL",
        )
        .await;
        let empty = server.create_database().await;
        all_end(&split, &empty.url, "KEYS_DATABASE_URL cannot be used").await;
        all_end(
            &split,
            &format!("{}_none", empty.url),
            "KEYS_DATABASE_URL cannot be opened",
        )
        .await;
        all_end(&split, "sqlite://nowhere/keys.db", "does not exist").await;
        all_end(
            &split,
            &split.production.database.url,
            "the database has the tables of a log",
        )
        .await;
        // A database for keys that has never had any, and the database of another log.
        let mut migrate = Production::without_schema_on(server).await.command("migrate");
        assert!(run(migrate.env(SETTING, &empty.url)).0);
        all_end(&split, &empty.url, "the keys' database belongs to another log").await;
        let mut connection = MySqlConnection::connect(&empty.url).await.unwrap();
        sqlx::raw_sql("DELETE FROM key_store")
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        all_end(&split, &empty.url, "the keys' database has no keys of a log").await;
        let mut migrate = split.command(&["migrate"]);
        let (migrated, said) = run(migrate.env(SETTING, format!("{}_none", empty.url)));
        assert!(
            !migrated && said.contains("KEYS_DATABASE_URL cannot be opened"),
            "{said}"
        );

        // A server that does not respond is named, without the password, until it responds.
        let closed = format!("mysql://root:geheim@127.0.0.1:{}/keys", free_port());
        let mut waiting = split.production.command("projector");
        let waiting = Program::start(waiting.env(SETTING, &closed));
        wait_until(SOON, "it says what it waits for", async || {
            waiting
                .log()
                .contains("waiting for the database of KEYS_DATABASE_URL")
        })
        .await;
        assert!(!waiting.log().contains("geheim"), "{}", waiting.log());
        stop(&waiting).await;
        let mut check = split.command(&["keys", "check", "--wait", "0s"]);
        let (checked, said) = run(check.env(SETTING, &closed));
        assert!(
            !checked && said.contains("KEYS_DATABASE_URL cannot be opened"),
            "{said}"
        );
        assert!(!said.contains("geheim"), "{said}");

        // Nothing of this counted as an erasure.
        let (program, client) = split.serve().await;
        assert_eq!(client.list().await.len(), 1);
        assert_eq!(split.key_count("erased_at IS NOT NULL").await, 0);
        let (verified, said) = run(&mut split.command(&["projection", "verify"]));
        assert!(verified, "{said}");
        stop(&program).await;
    })
    .await;
}

#[tokio::test]
async fn without_the_keys_database_reads_go_on_and_nothing_is_lost() {
    Split::on_each(async |split| {
        let proxy = split.proxy().await;
        let with_proxy = |words: &[&str]| {
            let mut command = split.command(words);
            command.env(SETTING, split.through(&proxy));
            command
        };
        let (program, client) = serve(with_proxy(&["serve"])).await;
        let (other, direct) = serve(split.command(&["api"])).await;
        let first = client.register_for_sure("a@example.com").await;
        let id = id_of(&first).to_owned();
        wait_until(SOON, "it is listed", async || client.list().await.len() == 1).await;

        proxy.refuse(true);
        let unavailable = (StatusCode::SERVICE_UNAVAILABLE, json!("/problems/unavailable"));
        assert_eq!(registration(&client, "b@example.com").await, unavailable);
        let changed = client.amend(&id, &json!({ "phone": "+1234567899" })).await;
        assert_eq!(changed.status(), StatusCode::SERVICE_UNAVAILABLE);
        let path = format!("/patients/{id}/erasure");
        let erased = client.post_json(&path, &json!({ "reason": "request" })).await;
        assert_eq!(erased.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            status(&client, &format!("/patients/{id}/history")).await,
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(status(&client, &format!("/patients/{id}")).await, StatusCode::OK);
        assert_eq!(client.list().await.len(), 1);
        assert!(client.ready().await);
        // Another process can reach the keys. The projector waits for them.
        direct.register_for_sure("c@example.com").await;
        wait_until(SOON, "the projector says why it waits", async || {
            program.log().contains("the keys' database: ")
        })
        .await;
        assert_eq!(split.production.count("patient_view").await, 1);

        proxy.refuse(false);
        wait_until(SOON, "the projector goes on", async || {
            client.list().await.len() == 2
        })
        .await;
        client.register_for_sure("b@example.com").await;
        assert_eq!(split.key_count("erased_at IS NOT NULL").await, 0);
        wait_until(SOON, "each has one email", async || {
            split.production.smtp.mails().len() == 3
        })
        .await;
        let (verified, said) = run(&mut split.command(&["audit", "verify"]));
        assert!(verified, "{said}");
        stop(&other).await;
        stop(&program).await;
    })
    .await;
}

#[tokio::test]
async fn an_embedded_log_can_have_its_keys_in_another_file() {
    let folder = TempDir::new().unwrap();
    let command = |words: &[&str]| {
        let mut command = patients("");
        command
            .args(words)
            .current_dir(folder.path())
            .env_remove("KEYRING_FILE")
            .env(SETTING, "sqlite://keys/keys.db");
        command
    };
    let (program, client) = serve(command(&["serve"])).await;
    assert!(
        program.stdout().contains("sqlite://keys/keys.db"),
        "{}",
        program.stdout()
    );
    let id = client.register_for_sure("zaqxswc@example.com").await;
    let id = id_of(&id).to_owned();
    wait_until(SOON, "it is listed", async || client.list().await.len() == 1).await;
    let file = |path: &str| std::fs::read(folder.path().join(path)).unwrap_or_default();
    let id_is_in = |path: &str| file(path).windows(id.len()).any(|bytes| bytes == id.as_bytes());
    assert!(["keys/keys.db", "keys/keys.db-wal"].into_iter().any(id_is_in));
    // As a copy of a key that SQLite has moved to another page.
    sqlite(
        &folder.path().join("keys/keys.db"),
        &format!(
            "PRAGMA secure_delete = OFF; CREATE TABLE moved AS SELECT 'copy of {id}'; DROP TABLE moved;"
        ),
    );
    let erased = erase(&client, &id).await;
    assert_eq!(erased["complete"], true);
    let copy = format!("copy of {id}");
    assert!(
        !file("keys/keys.db")
            .windows(copy.len())
            .any(|bytes| bytes == copy.as_bytes())
    );
    assert_eq!(
        file("keys/keys.db-wal"),
        b"",
        "the write-ahead log of the keys is truncated"
    );
    for path in ["data/patients.db", "data/patients.db-wal"] {
        let text = String::from_utf8_lossy(&file(path)).to_lowercase();
        assert!(
            !text.contains("zaqxswc"),
            "{path} has the patient's email address"
        );
    }
    stop(&program).await;
    // The file of the keys is not made again.
    std::fs::remove_file(folder.path().join("keys/keys.db")).unwrap();
    let program = Program::start(&command(&["serve"]));
    assert_eq!(
        program.wait(Duration::from_secs(20)).await,
        1,
        "{}",
        program.log()
    );
    assert!(program.log().contains("does not exist"), "{}", program.log());
    assert!(!folder.path().join("keys/keys.db").exists());
}
