//! This service's part of the schema, with one folder of SQL for each dialect. `eventstore::schema` brings
//! the tables of the log and runs the migrations.
//!
//! # Adding a migration
//!
//! 1. Add `NNNN_name.sql` to `mysql/` and `sqlite/`, with the next number, and an entry to [`STEPS`].
//! 2. Keep everything that older binaries read and write: first expand, and contract one release later.
//!    During an upgrade, the older program runs on the newer schema (docs/operations.md, "Upgrading"):
//!
//!    | expand: at any time | contract: when no earlier program is running any more |
//!    |---|---|
//!    | add a table, an index, or a column that is nullable or has a default | drop or rename any of them |
//!    | relax a `CHECK` | tighten a `CHECK`, add `NOT NULL` without a default |
//!    | add a value that older programs ignore | add a value at which older programs stop |
//!    | drop an index without which older programs are only slower | drop an index with a `UNIQUE` rule |
//!
//!    `scripts/upgrade` runs an older program on the newer schema.
//! 3. Follow the rules of `eventstore::schema`, "Writing steps": the statements can be repeated, and each
//!    `CREATE TABLE IF NOT EXISTS` for MySQL has `ENGINE=InnoDB`.
//! 4. Grant the new table to its users in `users/grant.sql`, and add it to the table of privileges in
//!    docs/operations.md. A test checks that both agree.

use std::sync::Arc;

use eventstore::schema::{self, Step};
use eventstore::{Clock, Database};

pub use eventstore::schema::SchemaError as Error;

macro_rules! step {
    ($version:literal, $name:literal, $file:literal) => {
        Step {
            version: $version,
            name: $name,
            mysql: include_str!(concat!("../mysql/", $file)),
            sqlite: include_str!(concat!("../sqlite/", $file)),
        }
    };
}

/// The steps of this service. Steps 1, 4 and the beginning of step 2 belong to the log.
pub const STEPS: [Step; 14] = [
    step!(2, "patient view", "0002_patient_view.sql"),
    step!(3, "mail deliveries", "0003_mail_deliveries.sql"),
    step!(5, "mail attempts", "0005_mail_attempts.sql"),
    step!(6, "mail attempts unknown", "0006_mail_attempts_unknown.sql"),
    step!(7, "audit reads", "0007_audit_reads.sql"),
    step!(8, "name key", "0008_name_key.sql"),
    step!(9, "longer values", "0009_longer_values.sql"),
    step!(10, "patient names", "0010_patient_names.sql"),
    step!(11, "drop name key index", "0011_drop_name_key_index.sql"),
    step!(12, "read chains", "0012_read_chains.sql"),
    step!(13, "mailbox hash", "0013_mailbox_hash.sql"),
    step!(14, "published log", "0014_published_log.sql"),
    step!(15, "witnesses", "0015_witnesses.sql"),
    step!(16, "read heads", "0016_read_heads.sql"),
];

/// Migrates the schema to the version of this program, see [`schema::migrate`].
///
/// # Errors
///
/// [`Error`], except [`Error::Behind`].
pub async fn migrate(database: &Database, clock: Arc<dyn Clock>, owner: &str) -> Result<(), Error> {
    schema::migrate(database, clock, owner, &STEPS).await
}

/// Checks that the schema is at least as new as this program, see [`schema::check`].
///
/// # Errors
///
/// [`Error::Behind`] or [`Error::Engine`] if a check fails, and [`Error::Store`] if the database fails.
pub async fn check(database: &Database) -> Result<(), Error> {
    schema::check(database, &STEPS).await
}
