//! Contracts of the log, tested on every backend: SQLite in a temporary folder, and each available flavor of
//! MySQL.
//!
//! A contract is an `async fn` with a [`backend::Backend`] as its parameter, listed in its module's
//! [`on_every_backend!`]. The macro creates a test for each backend: `append::sqlite::…`, `append::mysql::…`.
//! The MySQL test runs on one server after the other, and a failure message contains the flavor of the
//! server.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failure in a test must end the test with a message"
)]

#[macro_use]
extern crate testkit;

mod backend;
mod follower;
mod program;
mod proxy;
mod sample;

mod append;
mod batch;
mod chain;
mod claims;
mod claims_table;
mod clocks;
mod contention;
mod faults;
mod feed;
mod heads;
mod key_store;
mod keys_elsewhere;
mod kill;
mod lease;
mod library_pool;
mod lost_commit;
mod one_trip;
mod pages;
mod processes;
mod proving;
mod repository;
mod schema;
mod script;
mod sealing;
mod sentinel;
mod servers;
mod session;
mod several_servers;
mod signal;
mod sqlite_file;
mod subscription;
mod switch;
mod tampering;
