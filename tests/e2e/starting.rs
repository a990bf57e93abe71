//! Starting before the servers are available, and stopping with requests in progress.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use reqwest::StatusCode;
use sqlx::{Connection, Executor, MySqlConnection};
use testkit::{PrivateMysql, Program, free_port, installed_flavours, mysql_servers, wait_until};

use crate::client::Client;
use crate::rebuild::run;
use crate::rig::{Production, SOON, patients};

/// Maximum time in which a waiting role must stop. A busy machine is slow to start the shell that sends the
/// signal.
const AT_ONCE: Duration = Duration::from_secs(3);
const WAITS: &str = "waiting for the database of DATABASE_URL";

/// Waits until each program has logged that it waits, and the reason.
async fn all_wait(programs: &[&Program], why: &str) {
    for program in programs {
        wait_until(SOON, "it logs what it waits for", async || {
            program.log().contains(WAITS) && program.log().contains(why)
        })
        .await;
    }
}

async fn ends_at_once(program: &Program) {
    program.terminate();
    assert_eq!(program.wait(AT_ONCE).await, 0, "{}", program.log());
}

#[tokio::test]
async fn every_role_waits_for_a_database_that_is_down_and_goes_on_when_it_comes() {
    for flavour in installed_flavours() {
        let mut server = PrivateMysql::start(flavour).await;
        let url = format!("{}/patients", server.server().url);
        let place = url.replace("root@", "");
        let http = free_port();
        let role = |role: &str| {
            let mut command = patients(role);
            command
                .env("DATABASE_URL", &url)
                .env("HTTP_ADDR", format!("127.0.0.1:{http}"));
            command
        };
        let (migrated, said) = run(&mut role("migrate"));
        assert!(migrated, "{said}");
        server.terminate().await;

        for name in ["serve", "api", "projector", "mailer"] {
            let program = Program::start(&role(name));
            all_wait(&[&program], "Connection refused").await;
            assert!(program.log().contains(&place), "{}", program.log());
            ends_at_once(&program).await;
        }

        let [api, projector, mailer] = ["api", "projector", "mailer"].map(|name| Program::start(&role(name)));
        all_wait(&[&api, &projector, &mailer], "Connection refused").await;
        server.restart().await;
        let client = Client::new(http);
        wait_until(SOON, "the API is ready", async || client.ready().await).await;
        let answer = client.register("a@example.com").await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        wait_until(SOON, "the patient is listed", async || {
            client.list().await.len() == 1
        })
        .await;
        wait_until(SOON, "the mail is sent", async || {
            let (succeeded, said) = run(role("mail").args(["list", "--state", "sent", "--json"]));
            succeeded && said.contains("patient_registered")
        })
        .await;
        for program in [&api, &projector, &mailer] {
            assert!(
                program
                    .log()
                    .contains("the database of DATABASE_URL is available")
            );
            program.terminate();
            assert_eq!(program.wait(SOON).await, 0, "{}", program.log());
        }
    }
}

/// The server accepts connections but never responds, like a server that hangs.
#[tokio::test]
async fn a_role_waits_for_a_database_that_is_silent() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let url = format!("mysql://root@{address}/patients");
    let program = Program::start(patients("api").env("DATABASE_URL", url));
    all_wait(&[&program], "no answer within 5s").await;
    ends_at_once(&program).await;
}

#[tokio::test]
async fn a_role_waits_for_a_database_and_its_schema_to_be_made() {
    let database = mysql_servers()[0].create_database().await;
    let role = |role: &str| {
        let mut command = patients(role);
        command.env("DATABASE_URL", format!("{}_too", database.url));
        command
    };
    let drop_it = async || {
        let mut connection = connection_to(&database.url).await;
        let sql = format!("DROP DATABASE IF EXISTS {}_too", database.name);
        sqlx::raw_sql(&sql).execute(&mut connection).await.unwrap();
    };
    drop_it().await;
    let projector = Program::start(&role("projector"));
    all_wait(&[&projector], "run `patients migrate`").await;
    ends_at_once(&projector).await;
    let projector = Program::start(&role("projector"));
    all_wait(&[&projector], "run `patients migrate`").await;
    // `patients migrate` would also create the database; creating it first makes the role wait for the
    // schema.
    let mut connection = connection_to(&database.url).await;
    let sql = format!("CREATE DATABASE {}_too", database.name);
    sqlx::raw_sql(&sql).execute(&mut connection).await.unwrap();
    all_wait(&[&projector], "the schema is at migration 0").await;
    let (migrated, said) = run(&mut role("migrate"));
    assert!(migrated, "{said}");
    wait_until(SOON, "it projects", async || {
        run(role("health").args(["--role", "projector"])).0
    })
    .await;
    ends_at_once(&projector).await;
    drop_it().await;
}

async fn connection_to(url: &str) -> sqlx::MySqlConnection {
    sqlx::Connection::connect(url).await.unwrap()
}

/// The poll interval is so long that only the signal can update the list in time.
#[tokio::test]
async fn redis_that_is_down_delays_no_start_and_is_used_when_it_comes() {
    let mut production = Production::on(&mysql_servers()[0]).await;
    production.redis.terminate().await;
    let start = |role: &str| Program::start(production.command(role).env("POLL_INTERVAL", "10m"));
    let (api, client) = production.api().await;
    let says_so = async |program: &Program| {
        wait_until(SOON, "it logs that Redis is unavailable", async || {
            program
                .log()
                .contains("cannot listen to Redis; polling until it is back")
        })
        .await;
    };
    says_so(&api).await;
    let projector = start("projector");
    says_so(&projector).await;
    ends_at_once(&projector).await;

    let projector = start("projector");
    says_so(&projector).await;
    production.redis.restart().await;
    wait_until(SOON, "it listens", async || {
        projector.log().contains("listening to Redis again")
    })
    .await;
    let mut registered = 0;
    wait_until(SOON, "a patient is listed", async || {
        registered += 1;
        let email = format!("p{registered}@example.com");
        client.register(&email).await.unwrap();
        !client.list().await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_mail_server_that_is_down_delays_no_start_and_gets_its_mail_when_it_comes() {
    let mut production = Production::on(&mysql_servers()[0]).await;
    production.smtp.terminate().await;
    let start = |mut command: Command, port: u16| {
        Program::start(command.env("HTTP_ADDR", format!("127.0.0.1:{port}")))
    };
    let port = free_port();
    let program = start(production.command("serve"), port);
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    client.register("a@example.com").await.unwrap();
    wait_until(SOON, "it logs that mail waits", async || {
        program.log().contains("no mail can be sent; all mail waits")
    })
    .await;
    ends_at_once(&program).await;

    let program = start(production.command("serve"), port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    wait_until(SOON, "it logs that mail waits", async || {
        program.log().contains("no mail can be sent; all mail waits")
    })
    .await;
    production.smtp.restart().await;
    // The mail server is retried after at most 30 s.
    wait_until(2 * SOON, "the mail has arrived", async || {
        production.smtp.mails().len() == 1
    })
    .await;
}

/// SQL that blocks all appends by locking the head of the log.
const LOCK_THE_HEAD: &str = "SELECT position FROM log_head WHERE id = 1 FOR UPDATE";

#[tokio::test]
async fn requests_under_way_at_sigterm_are_answered() {
    const CLIENTS: usize = 20;
    let production = Production::on(&mysql_servers()[0]).await;
    let (api, client) = production.api().await;
    let barrier = production.barrier(LOCK_THE_HEAD).await;
    let registering: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move { client.register(&format!("p{number}@example.com")).await })
        })
        .collect();
    // The request for the metrics page is also in progress.
    let all = format!("patients_http_requests_in_flight {}\n", CLIENTS + 1);
    wait_until(SOON, "all requests are in progress", async || {
        client
            .get("/metrics")
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
            .contains(&all)
    })
    .await;
    api.terminate();
    wait_until(SOON, "no new connection is accepted", async || {
        Client::new(client.port()).get("/health/live").await.is_err()
    })
    .await;
    barrier.lift().await;
    for registration in registering {
        assert_eq!(registration.await.unwrap().unwrap().status(), StatusCode::CREATED);
    }
    assert_eq!(api.wait(SOON).await, 0, "{}", api.log());
}

#[tokio::test]
async fn what_is_not_finished_within_shutdown_timeout_is_left_and_said() {
    let production = Production::on(&mysql_servers()[0]).await;
    let port = free_port();
    let mut command = production.command("api");
    command
        .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
        .env("SHUTDOWN_TIMEOUT", "2s");
    let api = Program::start(&command);
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    let barrier = production.barrier(LOCK_THE_HEAD).await;
    let registering = tokio::spawn(async move { client.register("a@example.com").await });
    wait_until(SOON, "the request is in progress", async || {
        let waiting = "information_schema.processlist WHERE info LIKE '%FROM log_head%FOR UPDATE%' AND id <> CONNECTION_ID()";
        production.count(waiting).await > 0
    })
    .await;
    api.terminate();
    assert_eq!(
        api.wait(Duration::from_secs(2) + AT_ONCE).await,
        1,
        "{}",
        api.log()
    );
    assert!(api.log().contains("SHUTDOWN_TIMEOUT (2s)"), "{}", api.log());
    assert!(registering.await.unwrap().is_err());
    barrier.lift().await;
}

#[tokio::test]
async fn a_role_that_loses_the_database_while_it_opens_the_log_tries_again() {
    for server in mysql_servers() {
        let production = Production::on(server).await;
        // The role reads this table when it checks the keyring.
        let mut admin = MySqlConnection::connect(&production.database.url).await.unwrap();
        let lock = "LOCK TABLES subject_keys WRITE";
        admin.execute(lock).await.unwrap();
        let program = Program::start(&production.command("projector"));
        let mut watch = MySqlConnection::connect(&production.database.url).await.unwrap();
        let waiting = "SELECT CAST(MAX(id) AS SIGNED) FROM information_schema.processlist \
                       WHERE db = DATABASE() AND info LIKE '%subject_keys%' AND id <> CONNECTION_ID()";
        let mut blocked: Option<i64> = None;
        wait_until(SOON, "the role waits for the table", async || {
            blocked = sqlx::query_scalar(waiting).fetch_one(&mut watch).await.unwrap();
            blocked.is_some()
        })
        .await;
        let kill = format!("KILL {}", blocked.unwrap());
        watch.execute(kill.as_str()).await.unwrap();
        all_wait(&[&program], "").await;
        admin.execute("UNLOCK TABLES").await.unwrap();
        wait_until(SOON, "the role has opened the log", async || {
            program
                .log()
                .contains("the database of DATABASE_URL is available")
        })
        .await;
        ends_at_once(&program).await;
    }
}
