//! Reads from a replica (`DATABASE_READ_URL`). The replica is a read-only server that is copied from the
//! database on demand, so each test decides how far it lags.

use std::process::{Command, Stdio};

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::{MysqlClient, MysqlServer, PrivateMysql, Program, free_port, mysql_servers, wait_until};

use crate::client::{Client, id_of};
use crate::rebuild::run;
use crate::rig::{Production, SOON};

/// A database, the server that holds it, and its replica.
struct Replicated<'s> {
    production: Production,
    server: &'s MysqlServer,
    replica: PrivateMysql,
    /// URL of the replica, for a user that cannot write while the server is read-only.
    url: String,
}

impl<'s> Replicated<'s> {
    async fn start(server: &'s MysqlServer) -> Self {
        let (production, replica) = tokio::join!(Production::on(server), PrivateMysql::start(server.flavour));
        replica.run("CREATE DATABASE clinic CHARACTER SET utf8mb4").await;
        let url = replica.ordinary_user("clinic").await;
        let replicated = Self {
            production,
            server,
            replica,
            url,
        };
        replicated.catch_up().await;
        replicated
    }

    /// Copies the database to the replica.
    async fn catch_up(&self) {
        self.replica.run("SET GLOBAL read_only = 0").await;
        let mut dump = self.server.client(MysqlClient::Dump, "root", "");
        let mut dump = dump
            .args(["--single-transaction", "--no-tablespaces", "--hex-blob"])
            .arg(&self.production.database.name)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut shell = self.replica.server().client(MysqlClient::Shell, "root", "");
        let (restored, said) = run(shell.arg("clinic").stdin(dump.stdout.take().unwrap()));
        assert!(dump.wait().unwrap().success() && restored, "{said}");
        self.replica.run("SET GLOBAL read_only = 1").await;
    }

    fn command(&self, role: &str) -> Command {
        let mut command = self.production.command(role);
        command.env("DATABASE_READ_URL", &self.url);
        command
    }

    async fn api(&self) -> (Program, Client) {
        let port = free_port();
        let program = Program::start(
            self.command("api")
                .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
                .env("READ_WAIT", "100ms"),
        );
        let client = Client::new(port);
        wait_until(SOON, "the API is ready", async || client.ready().await).await;
        (program, client)
    }

    /// Returns how often the replica has read the next row of an index.
    fn rows_read(&self) -> u64 {
        let mut shell = self.replica.server().client(MysqlClient::Shell, "root", "");
        let status = "SHOW GLOBAL STATUS LIKE 'Handler_read_next'";
        let (_, shown) = run(shell.args(["--skip-column-names", "--execute", status]));
        shown.split_whitespace().last().unwrap().parse().unwrap()
    }

    /// Waits until the projections of the database have processed all events.
    async fn projected(&self, events: i64) {
        wait_until(SOON, "the projections are current", async || {
            let current = format!(
                "checkpoints WHERE name IN ('patient_view', 'patient_names', 'eraser') AND position = {events}"
            );
            self.production.count(&current).await == 3
        })
        .await;
    }
}

async fn on_each(test: impl AsyncFn(Replicated<'_>)) {
    for replicated in join_all(mysql_servers().iter().map(Replicated::start)).await {
        println!("on {}", replicated.server.flavour);
        test(replicated).await;
    }
}

async fn events(client: &Client) -> usize {
    let events: Vec<Value> = client.get("/events").await.unwrap().json().await.unwrap();
    events.len()
}

async fn found(client: &Client, query: &str) -> usize {
    client.get_at(&format!("/patients?{query}"), "0").await.len()
}

#[tokio::test]
async fn lists_searches_and_the_feed_come_from_the_replica_and_reads_by_id_never_do() {
    on_each(async |replicated| {
        let (_api, client) = replicated.api().await;
        let _projector = replicated.production.start("projector");
        let created = client.register_for_sure("john@example.com").await;
        let path = format!("/patients/{}", id_of(&created));
        replicated.projected(1).await;

        // The replica lags.
        assert_eq!(client.get(&path).await.unwrap().status(), StatusCode::OK);
        assert_eq!(found(&client, "email=john%40example.com").await, 1);
        assert_eq!(
            (client.list().await.len(), found(&client, "name=j").await),
            (0, 0)
        );
        assert_eq!(events(&client).await, 0);
        let list = client.url("/patients");
        let waited = testkit::http_client().build().unwrap().get(list);
        let waited = waited.header("min-position", "1").send().await.unwrap();
        let problem: Value = waited.json().await.unwrap();
        assert_eq!(
            (&problem["type"], &problem["position"]),
            (&json!("/problems/not-projected-yet"), &json!(0))
        );

        replicated.catch_up().await;
        assert_eq!(client.get_at("/patients", "1").await.len(), 1);
        assert_eq!((found(&client, "name=j").await, events(&client).await), (1, 1));
        let (exported, lines) = run(replicated.command("audit").arg("export"));
        assert!(exported && lines.contains("PatientRegistered"), "{lines}");
    })
    .await;
}

#[tokio::test]
async fn an_erasure_is_complete_only_when_the_replica_has_it() {
    on_each(async |replicated| {
        let (_api, client) = replicated.api().await;
        let _roles = ["projector", "mailer"].map(|role| replicated.production.start(role));
        let created = client.register_for_sure("john@example.com").await;
        replicated.projected(1).await;
        replicated.catch_up().await;
        assert_eq!(client.list().await.len(), 1);

        let erasure = format!("/patients/{}/erasure", id_of(&created));
        let begun = client.post_json(&erasure, &json!({ "reason": "request" })).await;
        assert_eq!(begun.status(), StatusCode::ACCEPTED);
        replicated.projected(3).await;
        let pending = async || {
            let status: Value = client.get(&erasure).await.unwrap().json().await.unwrap();
            status["pending"].clone()
        };
        wait_until(SOON, "only the replica has the patient", async || {
            pending().await == json!(["replica"])
        })
        .await;
        let certificate = client.get(&format!("{erasure}/certificate")).await.unwrap();
        assert_eq!(certificate.status(), StatusCode::CONFLICT);

        replicated.catch_up().await;
        assert_eq!(pending().await, json!([]));
        assert_eq!(client.list().await.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_database_with_another_log_is_not_used_as_a_replica() {
    on_each(async |replicated| {
        let other = Production::on(replicated.server).await;
        for production in [&replicated.production, &other] {
            let (api, client) = production.api().await;
            client.register_for_sure("john@example.com").await;
            drop(api);
        }
        let mut api = replicated.production.command("api");
        api.env("DATABASE_READ_URL", &other.database.url)
            .env("HTTP_ADDR", "127.0.0.1:0");
        let (served, said) = run(&mut api);
        let reason = "the database has another log than the database of DATABASE_URL";
        assert!(!served && said.contains(reason), "{said}");
    })
    .await;
}

#[tokio::test]
async fn a_rebuild_reads_the_replica_and_what_it_lacks_from_the_database() {
    on_each(async |replicated| {
        let (_api, client) = replicated.production.api().await;
        let projector = replicated.production.start("projector");
        for number in 0..20 {
            client.register_for_sure(&format!("p{number}@example.com")).await;
        }
        replicated.projected(20).await;
        replicated.catch_up().await;
        client.register_for_sure("last@example.com").await;
        replicated.projected(21).await;
        drop(projector);

        let run_rebuild = || {
            let mut command = replicated.command("projection");
            command.args(["rebuild", "patient_view"]);
            run(&mut command)
        };
        let read = replicated.rows_read();
        let (rebuilt, said) = run_rebuild();
        assert!(rebuilt && said.contains("21 events"), "{said}");
        assert!(replicated.rows_read() >= read + 20, "it read the database");
        assert_eq!(replicated.production.count("patient_view").await, 21);

        replicated
            .replica
            .run("RENAME TABLE clinic.events TO clinic.lost")
            .await;
        let (rebuilt, said) = run_rebuild();
        assert!(rebuilt, "{said}");
        assert_eq!(replicated.production.count("patient_view").await, 21);
    })
    .await;
}
