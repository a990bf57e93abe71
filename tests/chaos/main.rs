//! Random faults in all components. An oracle that shares no code with the product checks whether any data
//! was lost, duplicated or invented.
//!
//! ```text
//! plan (from a seed)  ->  world: two of each role, MySQL, Redis, SMTP, a proxy on every connection
//! clients             ->  record: every request and its answer
//!                         evidence: plain SQL and the mail sink, afterwards  ->  oracle
//! ```
//!
//! `scripts/chaos` runs this test for longer. docs/reliability.md lists the faults, the checks and the
//! results.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "for tests only: a failure must stop the test"
)]

mod clients;
mod evidence;
mod full_disk;
mod oracle;
mod plan;
mod record;
mod report;
mod run;
mod world;
