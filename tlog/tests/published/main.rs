//! Tests of the stored tiles and signed checkpoints, on every backend: SQLite in a temporary folder, and each
//! available MySQL and MariaDB server.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure fails the test with a message"
)]

#[macro_use]
extern crate testkit;

mod backend;
mod checkpoints;
mod cosigner;
mod key_file;
mod mirror;
mod probe;
mod signer;
mod tiles;
mod witnesses;
