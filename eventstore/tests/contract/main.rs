//! What the log promises, held against every backend: SQLite in a temporary folder, and each MySQL flavour
//! there is.
//!
//! A contract is written once, as an `async fn` over a [`backend::Backend`], and named in its module's
//! [`on_every_backend!`]; it is then a test of its own on each: `append::sqlite::…`, `append::mysql::…`. The
//! MySQL variant runs on one server after the other, and its failure says on which.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "whatever fails in a test fails the test, and says what"
)]

#[macro_use]
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
mod faults;
mod feed;
mod heads;
mod kill;
mod lease;
mod lent;
mod lost_commit;
mod migrations;
mod pages;
mod processes;
mod proving;
mod repository;
mod script;
mod servers;
mod session;
mod signal;
mod sqlite_file;
mod subscription;
mod tampering;
