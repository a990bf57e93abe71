//! Servers with unusual configurations: other defaults, small packets, other engines, certificates, sockets.

use std::net::Ipv6Addr;
use std::time::Duration;

use eventstore::schema::{self, SchemaError};
use eventstore::{
    Append, AppendError, AppendQueue, Database, DatabaseOptions, Error, EventLog, NewEvent, Position,
    Session, Signal, SystemClock, verify,
};
use futures::future::join_all;
use serde_json::json;
use testkit::{Flavour, PrivateMysql, TestDatabase, installed_flavours, wait_until};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::backend::SOON;
use crate::sample::{append, event};

/// Runs a test on a separate server of each flavor, which the test may configure.
async fn on_private_servers(test: impl AsyncFn(&PrivateMysql, &TestDatabase)) {
    for server in join_all(installed_flavours().into_iter().map(PrivateMysql::start)).await {
        println!("on {}", server.server().flavour);
        let database = server.server().create_database().await;
        test(&server, &database).await;
    }
}

async fn open(url: &str) -> Result<Database, Error> {
    Database::connect(url, DatabaseOptions::default()).await
}

fn queue(database: &Database) -> AppendQueue {
    let signal = Signal::in_process();
    AppendQueue::start(database.clone(), signal, SystemClock::shared(), 1024, 1000)
}

async fn migrate(database: &Database) -> Result<(), SchemaError> {
    schema::migrate(database, SystemClock::shared(), "test", &[]).await
}

async fn number(database: &Database, sql: &str) -> i64 {
    let mut connection = database.reader().await.unwrap();
    let row = connection.query(sql).fetch_optional().await.unwrap().unwrap();
    row.get(0).unwrap()
}

/// Global settings that administrators may change for their own sessions or for other programs.
const SETTINGS: &[&str] = &[
    "init_connect = 'SET autocommit = 0, completion_type = 1, unique_checks = 0'",
    "default_storage_engine = MyISAM",
    "sql_safe_updates = 1",
    "sql_select_limit = 2",
    "sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
    "max_join_size = 10",
    "sql_big_selects = 0",
    "time_zone = '+13:00'",
    "foreign_key_checks = 0",
];

#[tokio::test]
async fn a_session_is_as_the_log_needs_it_whatever_server_and_url_say() {
    on_private_servers(async |server, test| {
        let url = server.ordinary_user(&test.name).await;
        for setting in SETTINGS {
            server.run(&format!("SET GLOBAL {setting}")).await;
        }
        match server.server().flavour {
            Flavour::MySql => server.run("SET GLOBAL max_execution_time = 1").await,
            Flavour::MariaDb => server.run("SET GLOBAL max_statement_time = 0.001").await,
        }
        server.run("SET GLOBAL TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY").await;
        for (number_of_try, options) in ["", "?charset=latin1", "?collation=utf8mb4_bin", "?timezone=SYSTEM"]
            .into_iter()
            .enumerate()
        {
            let database = open(&format!("{url}{options}")).await.unwrap();
            migrate(&database).await.unwrap();
            let queue = queue(&database);
            let all: Vec<_> = (0..5)
                .map(|n| {
                    let event = NewEvent {
                        payload: json!({"name": "José \"Ñ\" O'Neill 😀"}),
                        ..event(&format!("{number_of_try}-{n}"), 1)
                    };
                    queue.append(Append::new(vec![event], Vec::new()).unwrap())
                })
                .collect();
            assert!(join_all(all).await.iter().all(Result::is_ok), "{options}");
            // Writes through another connection than the queue uses. The check below finds the row only if it
            // was committed.
            let mut writer = database.writer().await.unwrap();
            writer
                .query("INSERT INTO leases (name, owner, expires_at) VALUES (?, 'x', 0)")
                .bind(format!("lease {number_of_try}"))
                .execute()
                .await
                .unwrap();
            drop(writer);
            database.close().await;

            let other = open(&url).await.unwrap();
            let log = EventLog::new(other.clone());
            let events = log.feed(Position::BEGINNING, 100).await.unwrap();
            assert_eq!(events.len(), 5 * (number_of_try + 1), "{options}");
            assert!(events.iter().all(|event| event.payload["name"] == "José \"Ñ\" O'Neill 😀"));
            let leases = "SELECT COUNT(*) FROM leases WHERE name LIKE 'lease %'";
            assert_eq!(number(&other, leases).await, i64::try_from(number_of_try).unwrap() + 1);
            let engines = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND engine <> 'InnoDB'";
            assert_eq!(number(&other, engines).await, 0);
            verify(&log, Vec::new(), |_| {}).await.unwrap().unwrap();
            other.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_table_of_another_engine_is_refused_with_the_statement_that_mends_it() {
    on_private_servers(async |server, test| {
        let database = open(&test.url).await.unwrap();
        migrate(&database).await.unwrap();
        schema::check(&database, &[]).await.unwrap();
        server
            .run(&format!("ALTER TABLE {0}.claims ENGINE=MyISAM; ALTER TABLE {0}.log_head ENGINE=MyISAM", test.name))
            .await;
        for refused in [schema::check(&database, &[]).await, migrate(&database).await] {
            let Err(SchemaError::Engine(others)) = &refused else {
                panic!("{refused:?}")
            };
            assert_eq!(others.len(), 2);
            let said = refused.unwrap_err().to_string();
            for part in ["claims (MyISAM)", "ALTER TABLE `claims` ENGINE=InnoDB;", "ALTER TABLE `log_head` ENGINE=InnoDB;"] {
                assert!(said.contains(part), "{said}");
            }
        }
        server
            .run(&format!("ALTER TABLE {0}.claims ENGINE=InnoDB; ALTER TABLE {0}.log_head ENGINE=InnoDB; CREATE TABLE {0}.of_another (a INT) ENGINE=MyISAM", test.name))
            .await;
        migrate(&database).await.unwrap();
    })
    .await;
}

/// The events together are more than twice as large as a packet, because their values are written in
/// hexadecimal.
#[tokio::test]
async fn a_batch_is_divided_into_packets_that_the_server_takes() {
    on_private_servers(async |server, test| {
        server.run("SET GLOBAL max_allowed_packet = 1048576").await;
        let database = open(&test.url).await.unwrap();
        migrate(&database).await.unwrap();
        let queue = queue(&database);
        let long = "it's long ".repeat(200);
        let appends = (0..700).map(|n| {
            let event = NewEvent {
                payload: json!({"text": long}),
                ..event(&format!("t{n}"), 1)
            };
            queue.append(Append::new(vec![event], Vec::new()).unwrap())
        });
        for appended in join_all(appends).await {
            appended.unwrap();
        }
        let largest = NewEvent {
            payload: json!({"text": "'".repeat(200 * 1024)}),
            ..event("largest", 1)
        };
        queue
            .append(Append::new(vec![largest], Vec::new()).unwrap())
            .await
            .unwrap();

        // The limit is lowered while the process runs. New connections use the new limit, and the error for a
        // row that is too large contains the name of the setting.
        server.run("SET GLOBAL max_allowed_packet = 262144").await;
        database.close().await;
        let database = open(&test.url).await.unwrap();
        let queue = self::queue(&database);
        let larger = NewEvent {
            payload: json!({"text": "'".repeat(200 * 1024)}),
            ..event("larger", 1)
        };
        let refused = queue.append(Append::new(vec![larger], Vec::new()).unwrap()).await;
        let Err(AppendError::Unavailable(error)) = refused else {
            panic!("{refused:?}")
        };
        assert!(error.to_string().contains("max_allowed_packet"), "{error}");
        queue.append(append("small", 1)).await.unwrap();

        server.run("SET GLOBAL max_allowed_packet = 65536").await;
        let error = open(&test.url).await.unwrap_err();
        assert!(
            error.to_string().contains("max_allowed_packet is 65536"),
            "{error}"
        );
        assert!(!error.is_connection());
    })
    .await;
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_called_read_only() {
    on_private_servers(async |server, test| {
        let url = server.ordinary_user(&test.name).await;
        let database = open(&url).await.unwrap();
        migrate(&database).await.unwrap();
        let (queue, log) = (queue(&database), EventLog::new(database.clone()));
        queue.append(append("before", 1)).await.unwrap();
        assert!(log.is_writable().await.unwrap());
        server.run("SET GLOBAL read_only = 1").await;
        let refused = queue.append(append("refused", 1)).await;
        let Err(AppendError::Unavailable(error)) = refused else {
            panic!("{refused:?}")
        };
        assert!(matches!(*error, Error::ReadOnly(_)), "{error:?}");
        assert!(
            error.to_string().starts_with("the database is read-only"),
            "{error}"
        );
        assert!(!log.is_writable().await.unwrap());
        // The server may be an old primary, so it is not read from either.
        assert!(matches!(log.head().await, Err(Error::ReadOnly(_))));
        server.run("SET GLOBAL read_only = 0").await;
        wait_until(SOON, "it is writable", async || log.is_writable().await.unwrap()).await;
        assert_eq!(log.head().await.unwrap().position.get(), 1);
        queue.append(append("after", 1)).await.unwrap();
        assert!(log.is_writable().await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_socket_an_address_of_ipv6_and_a_password_with_every_character_are_connected_to() {
    on_private_servers(async |server, test| {
        let socket = server.socket();
        let url = format!("mysql://root@localhost/{}?socket={}", test.name, socket.display());
        let database = open(&url).await.unwrap();
        migrate(&database).await.unwrap();
        queue(&database).append(append("by-socket", 1)).await.unwrap();
        database.close().await;

        open(&server.ordinary_user(&test.name).await)
            .await
            .unwrap()
            .close()
            .await;

        let port = test
            .url
            .rsplit(':')
            .next()
            .unwrap()
            .split('/')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let Some(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.ok() else {
            println!("this machine has no IPv6; [::1] was not tried");
            return;
        };
        let own = listener.local_addr().unwrap().port();
        let relay = tokio::spawn(relay(listener, port, false));
        // Uses TLS if the server supports it.
        open(&format!("mysql://root@[::1]:{own}/{}", test.name))
            .await
            .unwrap()
            .close()
            .await;
        relay.abort();
    })
    .await;
}

/// Forwards data between clients and the server on `port`. If `clings` is set, the relay never closes a
/// connection to a client.
async fn relay(listener: TcpListener, port: u16, clings: bool) {
    let mut kept = Vec::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        kept.push(tokio::spawn(async move {
            if clings {
                let (mut from_server, mut to_server) = server.split();
                let (mut from_client, mut to_client) = client.split();
                tokio::select! {
                    _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                    _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
                }
                std::future::pending::<()>().await;
            } else {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        }));
    }
}

#[tokio::test]
async fn a_peer_that_never_closes_a_connection_holds_nobody_up() {
    on_private_servers(async |_, test| {
        let port = test
            .url
            .rsplit(':')
            .next()
            .unwrap()
            .split('/')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let relay = tokio::spawn(relay(listener, port, true));
        let url = format!("mysql://root@127.0.0.1:{own}/{}", test.name);
        let database = timeout(SOON, open(&url)).await.expect("opens in time").unwrap();
        number(&database, "SELECT 1").await;
        relay.abort();
    })
    .await;
}

/// Uses a server whose certificate has an unknown issuer and no matching name.
#[tokio::test]
async fn a_certificate_that_cannot_be_trusted_ends_the_wait_and_is_said() {
    if !installed_flavours().contains(&Flavour::MySql) {
        println!("skipped: MySQL is not installed");
        return;
    }
    let server = PrivateMysql::start(Flavour::MySql).await;
    let url = &server.server().url;
    let authority = server.data().join("ca.pem").display().to_string();
    for (options, said) in [
        ("ssl-mode=VERIFY_CA".to_owned(), "UnknownIssuer"),
        ("ssl-mode=VERIFY_IDENTITY".to_owned(), "UnknownIssuer"),
        (
            format!("ssl-mode=VERIFY_CA&ssl-ca={authority}"),
            "VERIFY_CA also checks the name",
        ),
        (
            format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={authority}"),
            "not valid for name",
        ),
        (
            "ssl-mode=VERIFY_CA&ssl-ca=/nowhere.pem".to_owned(),
            "/nowhere.pem",
        ),
    ] {
        let refused = open(&format!("{url}/mysql?{options}")).await.unwrap_err();
        assert!(refused.to_string().contains(said), "{options}: {refused}");
        assert!(!refused.is_connection(), "{options}: waiting does not help");
    }
    open(&format!("{url}/mysql?ssl-mode=REQUIRED"))
        .await
        .unwrap()
        .close()
        .await;
}

#[tokio::test]
async fn a_database_is_created_by_its_name_once() {
    on_private_servers(async |server, _| {
        let url = format!("{}/of-the%20shop", server.server().url);
        assert!(open(&url).await.unwrap_err().is_unknown_database());
        Database::create(&url).await.unwrap();
        Database::create(&url).await.unwrap();
        let database = open(&url).await.unwrap();
        migrate(&database).await.unwrap();
        timeout(Duration::from_secs(10), database.close()).await.unwrap();
    })
    .await;
}
