//! Tests that each server starts, responds, and can be restarted after a kill.
#![expect(clippy::unwrap_used, reason = "a failed check must fail the test")]

use std::time::{Duration, Instant};

use sqlx::{Connection, MySqlConnection};
use testkit::{Flavour, PrivateMysql, RedisServer, installed_flavours, mysql_servers, redis_url, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn query(url: &str, sql: &str) -> Result<i64, sqlx::Error> {
    let mut connection = MySqlConnection::connect(url).await?;
    let answer = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(answer)
}

async fn execute(url: &str, sql: &str) {
    let mut connection = MySqlConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
}

async fn ping(url: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(url.trim_start_matches("redis://")).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn the_shared_servers_give_databases_that_go_with_their_value() {
    for server in mysql_servers() {
        let database = server.create_database().await;
        execute(
            &database.url,
            "CREATE TABLE t (n BIGINT); INSERT INTO t VALUES (7)",
        )
        .await;
        assert_eq!(query(&database.url, "SELECT n FROM t").await.unwrap(), 7);
        let version = query(&database.url, "SELECT CAST(VERSION() LIKE '%MariaDB%' AS SIGNED)").await;
        assert_eq!(version.unwrap() == 1, server.flavour == Flavour::MariaDb);

        let url = database.url.clone();
        drop(database);
        assert!(
            query(&url, "SELECT 1").await.is_err(),
            "{}: the database is still there",
            server.flavour
        );
    }
}

#[tokio::test]
async fn a_database_is_dropped_without_hanging_when_a_transaction_is_open_on_it() {
    let server = &mysql_servers()[0];
    let database = server.create_database().await;
    execute(&database.url, "CREATE TABLE t (n BIGINT)").await;
    let mut connection = MySqlConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql("BEGIN; INSERT INTO t VALUES (1)")
        .execute(&mut connection)
        .await
        .unwrap();
    let started = Instant::now();
    drop(database);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_killed_mysql_server_comes_back_with_what_was_committed() {
    for flavour in installed_flavours() {
        let mut server = PrivateMysql::start(flavour).await;
        let database = server.server().create_database().await;
        execute(
            &database.url,
            "CREATE TABLE t (n BIGINT); INSERT INTO t VALUES (7)",
        )
        .await;
        server.kill().await;
        assert!(
            query(&database.url, "SELECT n FROM t").await.is_err(),
            "{flavour} still responds"
        );
        server.restart().await;
        assert_eq!(
            query(&database.url, "SELECT n FROM t").await.unwrap(),
            7,
            "{flavour}"
        );
    }
}

#[tokio::test]
async fn a_private_mysql_server_has_the_default_durability() {
    for flavour in installed_flavours() {
        let server = PrivateMysql::start(flavour).await;
        let url = &server.server().url;
        let flush = query(url, "SELECT CAST(@@innodb_flush_log_at_trx_commit AS SIGNED)").await;
        let doublewrite = query(url, "SELECT CAST(@@innodb_doublewrite IN ('ON', '1') AS SIGNED)").await;
        let binary_log = query(url, "SELECT CAST(@@log_bin AS SIGNED)").await;
        assert_eq!((flush.unwrap(), doublewrite.unwrap()), (1, 1), "{flavour}");
        assert_eq!(
            binary_log.unwrap() == 1,
            flavour == Flavour::MySql,
            "{flavour}: as the server defaults"
        );
    }
}

#[tokio::test]
async fn redis_answers() {
    assert_eq!(ping(redis_url()).await.unwrap(), "+PONG\r\n");
}

#[tokio::test]
async fn a_killed_redis_server_comes_back_on_its_port() {
    let mut server = RedisServer::start().await;
    server.kill().await;
    assert!(ping(server.url()).await.is_err());
    server.restart().await;
    let url = server.url().to_owned();
    wait_until(Duration::from_secs(5), "Redis answers", async || {
        ping(&url).await.is_ok()
    })
    .await;
}
