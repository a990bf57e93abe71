//! Real servers and programs for tests, stopped when the test process ends.
//!
//! | for | use |
//! |---|---|
//! | a test for each backend | [`on_every_backend!`], [`with_sqlite`], [`with_mysql`] |
//! | an empty database on each available MySQL flavor | [`mysql_servers`], [`MysqlServer::create_database`] |
//! | three MySQL servers in Group Replication | [`MysqlGroup`] |
//! | a MySQL primary with two semi-synchronous replicas | [`MysqlReplicas`] |
//! | three MariaDB servers in a Galera cluster | [`GaleraCluster`] |
//! | a MySQL or MariaDB server that a test kills and restarts | [`PrivateMysql`], [`installed_flavours`] |
//! | `mysql` and `mysqldump` | [`MysqlServer::client`] |
//! | Redis | [`redis_url`] |
//! | a Redis server that a test kills and restarts, or that carries no other messages | [`RedisServer`] |
//! | Redis Sentinels, alone or with servers | [`RedisSentinel`], [`RedisGroup`] |
//! | an SMTP server that keeps the mail it receives | [`SmtpServer`] |
//! | an issuer of JWTs with real keys | [`Signer`] |
//! | a browser under remote control | [`WebDriver`] |
//! | a mail transfer agent that requires a password | [`Postfix`] |
//! | a certificate for localhost | [`Certificates`] |
//! | the program under test | [`Program`] |
//! | a connection that a test breaks | [`Proxy`] |
//! | waiting for a condition | [`wait_until`] |
//! | each value of a JSON document, so that a test can change it | [`leaves`] |
//! | the target of a `Link` header | [`link_target`] |
//!
//! Guarantee: every process started here ends, and its folder is removed, when its value is dropped or when
//! the test process ends for any reason, including `kill -9`. `guardian.rs` describes how.
//!
//! The program `with-servers`, which `scripts/servers` and `scripts/test` run, shares one set of servers
//! between all processes of a test run.
//!
//! # Adding a server
//! 1. Find its program with `installed::find`, and name the package to install in the panic.
//! 2. Give the server a `Folder`, a port from [`free_port`], and a `Service` with its `Probe`.
//! 3. Provide `url`, `kill` and `restart` as the other servers do, and extend `tests/death.rs`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "for tests only: a failure must fail the test with a message"
)]

mod backend;
mod browser;
mod certificates;
mod guardian;
mod http;
mod installed;
mod json;
mod keyring;
mod link;
mod mail;
mod mysql;
mod port;
mod postfix;
mod program;
mod proxy;
mod redis;
mod service;
mod signer;
mod smtp;
mod wait;

pub use backend::{with_mysql, with_server, with_sqlite};
pub use browser::WebDriver;
pub use certificates::Certificates;
pub use http::http_client;
pub use json::leaves;
pub use keyring::keyring_file;
pub use link::link_target;
pub use mail::Mail;
pub use mysql::{
    Flavour, GaleraCluster, MysqlClient, MysqlGroup, MysqlReplicas, MysqlServer, PrivateMysql, TestDatabase,
    installed_flavours, mysql_servers,
};
pub use port::free_port;
pub use postfix::Postfix;
pub use program::Program;
pub use proxy::Proxy;
pub use redis::{RedisGroup, RedisSentinel, RedisServer, redis_url};
pub use signer::{Signer, encode as base64url};
pub use smtp::{SmtpMode, SmtpServer};
pub use wait::wait_until;
