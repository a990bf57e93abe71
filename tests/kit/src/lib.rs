//! Real servers and programs for tests, gone when the test process is.
//!
//! | for | take |
//! |---|---|
//! | a fresh database on every MySQL flavour there is | [`mysql_servers`], [`MysqlServer::create_database`] |
//! | a MySQL or MariaDB server to kill and restart | [`PrivateMysql`], [`installed_flavours`] |
//! | `mysql` and `mysqldump` | [`MysqlServer::client`] |
//! | Redis | [`redis_url`] |
//! | a Redis server to kill and restart, or with nobody else's messages | [`RedisServer`] |
//! | an SMTP server that keeps what it receives | [`SmtpServer`] |
//! | an issuer of JWTs, with real keys | [`Signer`] |
//! | a browser to be driven | [`WebDriver`] |
//! | a mail transfer agent that wants a password | [`Postfix`] |
//! | a certificate for this machine | [`Certificates`] |
//! | the product's own binary | [`Program`] |
//! | a connection to break | [`Proxy`] |
//! | a moment that will come | [`wait_until`] |
//! | each value of a JSON document, to be altered | [`leaves`] |
//! | where a `Link` header leads | [`link_target`] |
//!
//! The guarantee: whatever is started here dies, and its folder is removed, when its value is dropped or when the
//! test process ends, however that ends; `kill -9` is no exception. `guardian.rs` says how.
//!
//! The same servers for a whole test run, rather than one set a test process: the program `with-servers`, which
//! `scripts/servers` and `scripts/test` run.
//!
//! # Adding a server
//! 1. Find its program with `installed::find`, and name the package to install in the panic.
//! 2. Give it a `Folder`, a port of [`free_port`] and a `Service` with its `Probe`.
//! 3. Offer `url`, `kill` and `restart` as the others do, and extend `tests/death.rs`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "for tests only: whatever fails here fails the test, and says what"
)]

mod browser;
mod certificates;
mod guardian;
mod http;
mod installed;
mod json;
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

pub use browser::WebDriver;
pub use certificates::Certificates;
pub use http::http_client;
pub use json::leaves;
pub use link::link_target;
pub use mail::Mail;
pub use mysql::{
    Flavour, MysqlClient, MysqlServer, PrivateMysql, TestDatabase, installed_flavours, mysql_servers,
};
pub use port::free_port;
pub use postfix::Postfix;
pub use program::Program;
pub use proxy::Proxy;
pub use redis::{RedisServer, redis_url};
pub use signer::{Signer, encode as base64url};
pub use smtp::{SmtpMode, SmtpServer};
pub use wait::wait_until;
