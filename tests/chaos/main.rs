//! Everything is broken at random, and an oracle outside the product says whether anything was lost, doubled or made up.
//!
//! ```text
//! plan (from a seed)  ->  world: two of each role, MySQL, Redis, SMTP, a proxy on every connection
//! clients             ->  record: every request and its answer
//!                         evidence: plain SQL and the mail sink, afterwards  ->  oracle
//! ```
//!
//! `scripts/chaos` runs it for longer. docs/reliability.md says what is broken, what is claimed, and what was measured.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on stops"
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
