//! The routes, over a real SQLite database, in this process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod access;
mod errors;
mod reading;
mod retries;
mod rig;
mod seed;
