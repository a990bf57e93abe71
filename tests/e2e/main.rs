//! End-to-end tests: the real binary on real servers.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed test must stop"
)]

mod access_log;
mod audit;
mod backup;
mod browser;
mod certificate;
mod check;
mod chosen_text;
mod claims;
mod client;
mod command_line;
mod commands;
mod consistency;
mod console;
mod database_users;
mod databases;
mod embedded;
mod erasure;
mod faults;
mod feed;
mod forensics;
#[path = "../../transparency/tests/go/mod.rs"]
mod go;
mod go_sumdb;
mod import;
mod issuer;
mod keyring;
mod keys_database;
mod log;
mod mail;
mod mail_faults;
mod metrics;
mod monitoring;
mod mta;
mod operators;
mod over_tls;
mod privacy;
mod production;
mod published;
mod reads_log;
mod rebuild;
mod replica;
mod retention;
mod rewritten_log;
mod rig;
mod settings;
mod signer;
mod signing_key;
mod sigstore;
mod starting;
mod tlog_proof;
mod tls;
mod traces;
mod uniqueness;
mod upgrade;
mod witness;
