//! Differently configured databases, and database failures while the service runs.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use testkit::{Flavour, PrivateMysql, Program, free_port, installed_flavours, wait_until};

use crate::client::{Client, id_of, patient};
use crate::embedded::serve;
use crate::rebuild::run;
use crate::rig::{SOON, patients};

/// Runs a test on a server of each flavor, with a migrated database and a user that has all privileges on it
/// and no other privileges.
async fn on_private_servers(test: impl AsyncFn(&PrivateMysql, String)) {
    for server in join_all(installed_flavours().into_iter().map(PrivateMysql::start)).await {
        println!("on {}", server.server().flavour);
        server.run("CREATE DATABASE clinic CHARACTER SET utf8mb4").await;
        let url = server.ordinary_user("clinic").await;
        test(&server, url).await;
    }
}

fn role(role: &str, url: &str) -> Command {
    let mut command = patients(role);
    command.env("DATABASE_URL", url);
    command
}

/// Starts a role that serves the API, on MySQL.
async fn started(name: &str, url: &str) -> (Program, Client) {
    let port = free_port();
    let program = Program::start(role(name, url).env("HTTP_ADDR", format!("127.0.0.1:{port}")));
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    (program, client)
}

async fn problem(answer: reqwest::Response) -> (StatusCode, String) {
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    (status, body["type"].as_str().unwrap_or_default().to_owned())
}

async fn count(url: &str, from: &str) -> i64 {
    let mut connection: sqlx::MySqlConnection = sqlx::Connection::connect(url).await.unwrap();
    let sql = format!("SELECT COUNT(*) FROM {from}");
    sqlx::query_scalar(&sql).fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
async fn reads_of_the_past_are_recorded_whatever_a_session_begins_with() {
    on_private_servers(async |server, url| {
        server
            .run("SET GLOBAL init_connect = 'SET autocommit = 0'; SET GLOBAL sql_safe_updates = 1")
            .await;
        let (program, client) = started("serve", &url).await;
        let created: Value = client
            .register("a@example.com")
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        for _ in 0..3 {
            let history = format!("/patients/{}/history", id_of(&created));
            assert_eq!(client.get(&history).await.unwrap().status(), StatusCode::OK);
        }
        let root = format!("{}/clinic", server.server().url);
        assert_eq!(count(&root, "audit_reads").await, 3);
        drop(program);
    })
    .await;
}

/// 700 rows with long addresses exceed a packet of 1 MiB.
#[tokio::test]
async fn the_projection_and_its_rebuild_go_on_with_the_smallest_packets() {
    on_private_servers(async |server, url| {
        server.run("SET GLOBAL max_allowed_packet = 1048576").await;
        let (migrated, said) = run(&mut role("migrate", &url));
        assert!(migrated, "{said}");
        let (api, client) = started("api", &url).await;
        let long = format!("https://example.com/{}", "o'".repeat(1000));
        for group in 0..7 {
            let registering = (0..100).map(|number| {
                let mut body = patient(&format!("p{group}-{number}@example.com"));
                body["document_url"] = long.clone().into();
                let client = client.clone();
                async move { client.post_json("/register", &body).await.status() }
            });
            let statuses = join_all(registering).await;
            assert!(
                statuses.iter().all(|status| *status == StatusCode::CREATED),
                "{statuses:?}"
            );
        }
        let projector = Program::start(&role("projector", &url));
        let root = format!("{}/clinic", server.server().url);
        wait_until(2 * SOON, "all are in the table", async || {
            count(&root, "patient_view").await == 700
        })
        .await;
        let (rebuilt, said) = run(role("projection", &url).arg("rebuild"));
        assert!(rebuilt, "{said}");
        assert_eq!(count(&root, "patient_view").await, 700);
        drop((api, projector));
    })
    .await;
}

#[tokio::test]
async fn a_database_that_accepts_no_writes_is_said_to_be_read_only() {
    on_private_servers(async |server, url| {
        let (program, client) = started("serve", &url).await;
        let created: Value = client
            .register("a@example.com")
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        server.run("SET GLOBAL read_only = 1").await;
        let refused = client.register("b@example.com").await.unwrap();
        assert_eq!(
            problem(refused).await,
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "/problems/database-read-only".into()
            )
        );
        let refused = client.delete(id_of(&created)).await.unwrap();
        assert_eq!(
            problem(refused).await,
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "/problems/database-read-only".into()
            )
        );
        let ready = client.get("/health/ready").await.unwrap();
        assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
        let health: Value = ready.json().await.unwrap();
        assert_eq!(health["database"], "read_only", "{health}");
        // The server may be an old primary, so it is not read from.
        let read = client
            .get(&format!("/patients/{}", id_of(&created)))
            .await
            .unwrap();
        assert_eq!(
            problem(read).await,
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "/problems/database-read-only".into()
            )
        );
        server.run("SET GLOBAL read_only = 0").await;
        wait_until(SOON, "it is ready again", async || client.ready().await).await;
        assert_eq!(
            client.register("b@example.com").await.unwrap().status(),
            StatusCode::CREATED
        );
        drop(program);
    })
    .await;
}

#[tokio::test]
async fn a_role_that_starts_on_a_read_only_server_waits_until_it_accepts_writes() {
    on_private_servers(async |server, url| {
        server.run("SET GLOBAL read_only = 1").await;
        let port = free_port();
        let serving = Program::start(role("serve", &url).env("HTTP_ADDR", format!("127.0.0.1:{port}")));
        let projector = Program::start(&role("projector", &url));
        for program in [&serving, &projector] {
            wait_until(SOON, "it waits", async || {
                program.log().contains("waiting for the database") && program.log().contains("read-only")
            })
            .await;
        }
        server.run("SET GLOBAL read_only = 0").await;
        let client = Client::new(port);
        wait_until(2 * SOON, "it is ready", async || client.ready().await).await;
        assert_eq!(
            client.register("a@example.com").await.unwrap().status(),
            StatusCode::CREATED
        );
        let root = format!("{}/clinic", server.server().url);
        wait_until(SOON, "the read table follows", async || {
            count(&root, "patient_view").await == 1
        })
        .await;

        server.run("SET GLOBAL read_only = 1").await;
        let (healthy, said) = run(role("health", &url).args(["--role", "projector", "--wait", "0s"]));
        assert!(!healthy && said.contains("read-only"), "{said}");
        drop((serving, projector));
    })
    .await;
}

#[tokio::test]
async fn what_waiting_cannot_mend_ends_a_role_and_repeats_no_password() {
    let mut settings = vec![
        (
            "mysql://root:secret/x@127.0.0.1:9/db".to_owned(),
            "percent-encode",
        ),
        (
            "mysql://root:a@secret:/#@127.0.0.1:9/db".to_owned(),
            "percent-encode",
        ),
        (
            "mysql://root:secret@127.0.0.1:9/db?sslmode_=REQUIRED".to_owned(),
            "unknown option",
        ),
        (
            "mysql://root:secret@127.0.0.1:9/db?ssl-ca=/nowhere.pem".to_owned(),
            "/nowhere.pem",
        ),
    ];
    let server = if installed_flavours().contains(&Flavour::MySql) {
        Some(PrivateMysql::start(Flavour::MySql).await)
    } else {
        None
    };
    if let Some(server) = &server {
        let (_, place) = server.server().url.split_once('@').unwrap();
        settings.push((
            format!("mysql://root@{place}/mysql?ssl-mode=VERIFY_IDENTITY"),
            "UnknownIssuer",
        ));
        settings.push((format!("mysql://root:secret@{place}/mysql"), "Access denied"));
    }
    for (url, said) in settings {
        for name in ["api", "serve", "migrate"] {
            let program = Program::start(role(name, &url).env("HTTP_ADDR", "127.0.0.1:0"));
            assert_eq!(program.wait(SOON).await, 1, "{name} {url}: {}", program.log());
            assert!(program.log().contains(said), "{name} {url}: {}", program.log());
            assert!(
                !program.log().contains("secret"),
                "{name} {url}: {}",
                program.log()
            );
        }
    }
}

#[tokio::test]
async fn redis_that_says_nothing_is_what_the_log_names() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = TempDir::new().unwrap();
    let mut command = patients("serve");
    command
        .current_dir(folder.path())
        .env("HTTP_ADDR", "127.0.0.1:0")
        .env("REDIS_URL", format!("redis://{}", silent.local_addr().unwrap()));
    let program = Program::start(&command);
    wait_until(SOON, "the timeout is logged", async || {
        program.log().contains("redis: no answer within 2s")
    })
    .await;
    assert!(
        !program.log().contains("database: no answer"),
        "{}",
        program.log()
    );
}

#[tokio::test]
async fn a_database_file_that_is_deleted_while_it_serves_is_noticed_before_anybody_is_answered() {
    for files in [
        &["patients.db", "patients.db-wal", "patients.db-shm"][..],
        &["patients.db"],
    ] {
        let folder = TempDir::new().unwrap();
        let port = free_port();
        let program = serve(folder.path(), port);
        let client = Client::new(port);
        wait_until(SOON, "it is ready", async || client.ready().await).await;
        let created: Value = client
            .register("a@example.com")
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        for file in files {
            std::fs::remove_file(folder.path().join("data").join(file)).unwrap();
        }
        for number in 0..3 {
            let refused = client
                .register(&format!("later{number}@example.com"))
                .await
                .unwrap();
            let (status, slug) = problem(refused).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{slug}");
            assert!(
                slug.ends_with("database-file-lost") || slug.ends_with("outcome-unknown"),
                "{slug}"
            );
        }
        let read = client
            .get(&format!("/patients/{}", id_of(&created)))
            .await
            .unwrap();
        assert_eq!(
            problem(read).await,
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "/problems/database-file-lost".into()
            )
        );
        assert!(!client.ready().await);
        assert!(
            !folder.path().join("data/patients.db").exists(),
            "it must not be recreated"
        );
        assert!(
            program.log().contains("was deleted or replaced"),
            "{}",
            program.log()
        );
    }
}

#[tokio::test]
async fn after_sigterm_everything_is_in_the_one_file() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    for round in 0..12 {
        let program = serve(folder.path(), port);
        let client = Client::new(port);
        wait_until(SOON, "it is ready", async || client.ready().await).await;
        let registering = (0..5).map(|number| {
            let client = client.clone();
            async move {
                client
                    .register_for_sure(&format!("p{round}-{number}@example.com"))
                    .await
            }
        });
        join_all(registering).await;
        program.terminate();
        assert_eq!(program.wait(SOON).await, 0, "{}", program.log());
        for left in ["patients.db-wal", "patients.db-shm"] {
            assert!(
                !folder.path().join("data").join(left).exists(),
                "round {round}: {left}"
            );
        }
        // This single file is the whole database.
        let copy = TempDir::new().unwrap();
        std::fs::copy(
            folder.path().join("data/patients.db"),
            copy.path().join("copy.db"),
        )
        .unwrap();
        let mut verify = patients("audit");
        verify.arg("verify").env(
            "DATABASE_URL",
            format!("sqlite://{}", copy.path().join("copy.db").display()),
        );
        let (fits, said) = run(&mut verify);
        assert!(
            fits && said.contains(&format!("all {} events", 5 * (round + 1))),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_command_that_reads_makes_no_database() {
    let folder = TempDir::new().unwrap();
    for words in [
        "projection status",
        "projection verify",
        "projection rebuild",
        "mail status",
        "mail list",
        "health --role projector",
        "health --role mailer",
        "audit head",
        "audit verify",
        "audit reads",
    ] {
        let mut command = patients("");
        command
            .args(words.split(' '))
            .current_dir(folder.path())
            .env("DATABASE_URL", "sqlite://mistyped/patients.db");
        let (succeeded, said) = run(&mut command);
        assert!(
            !succeeded && said.contains("mistyped/patients.db"),
            "{words}: {said}"
        );
        assert!(!folder.path().join("mistyped").exists(), "{words}");
    }
    // A separate role waits for another process to create the database.
    let mut command = patients("projector");
    command
        .current_dir(folder.path())
        .env("DATABASE_URL", "sqlite://mistyped/patients.db");
    let projector = Program::start(&command);
    wait_until(SOON, "it waits", async || {
        projector.log().contains("run `patients migrate`")
    })
    .await;
    assert!(!folder.path().join("mistyped").exists());
    projector.terminate();
    assert_eq!(projector.wait(Duration::from_secs(5)).await, 0);
}
