//! The steps of the schema: the steps of the log, and the steps that a service adds.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sqlx::migrate::{Migration, MigrationType};

use super::SchemaError;
use crate::database::Dialect;

/// Largest version of a service's step. Later steps of the log have larger versions, so a new version of this
/// crate never uses the version of a service's step.
pub const LAST_VERSION: i64 = 999_999;

/// A step of the schema: statements that run once on each database.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Version of the step: steps run in order of version. From 1 to [`LAST_VERSION`].
    pub version: i64,
    /// Short description, which is stored in the database.
    pub name: &'static str,
    /// Statements for MySQL and MariaDB.
    pub mysql: &'static str,
    /// Statements for SQLite.
    pub sqlite: &'static str,
}

impl Step {
    const fn sql(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::MySql => self.mysql,
            Dialect::Sqlite => self.sqlite,
        }
    }
}

macro_rules! step {
    ($version:literal, $name:literal, $file:literal) => {
        Step {
            version: $version,
            name: $name,
            mysql: include_str!(concat!("../../schema/mysql/", $file)),
            sqlite: include_str!(concat!("../../schema/sqlite/", $file)),
        }
    };
}

/// The steps of the log. Their texts never change, because databases store their checksums.
const LOG: [Step; 4] = [
    step!(1, "log", "0001_log.sql"),
    step!(2, "projections", "0002_projections.sql"),
    step!(4, "rebuilds", "0004_rebuilds.sql"),
    step!(1_000_000, "sealing", "1000000_sealing.sql"),
];

/// The steps of a database that has only the keys of a log. As for [`LOG`], their texts never change. No
/// database has steps of both.
const KEYS: [Step; 1] = [step!(1_000_002, "keys", "1000002_keys.sql")];

/// Returns the statement that creates the table of leases, which must exist before the first step.
pub(super) const fn leases(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => include_str!("../../schema/mysql/leases.sql"),
        Dialect::Sqlite => include_str!("../../schema/sqlite/leases.sql"),
    }
}

/// Returns the migrations of the log and of a service, in order of version. If both have a step of the same
/// version, the migration consists of the log's statements, followed by the service's statements.
pub(super) fn migrations(dialect: Dialect, service: &[Step]) -> Result<Vec<Migration>, SchemaError> {
    let in_range = |step: &Step| (1..=LAST_VERSION).contains(&step.version);
    if !service.iter().all(in_range) || !service.is_sorted_by(|a, b| a.version < b.version) {
        return Err(SchemaError::Versions);
    }
    let mut steps: BTreeMap<i64, (&'static str, String)> = BTreeMap::new();
    for step in LOG.iter().chain(service) {
        let (name, sql) = steps.entry(step.version).or_default();
        *name = step.name;
        sql.push_str(step.sql(dialect));
    }
    let migration = |(version, (name, sql))| migration(version, name, Cow::Owned(sql));
    Ok(steps.into_iter().map(migration).collect())
}

/// Returns the migrations of a database of keys.
pub(super) fn keys(dialect: Dialect) -> Vec<Migration> {
    KEYS.iter()
        .map(|step| migration(step.version, step.name, Cow::Borrowed(step.sql(dialect))))
        .collect()
}

fn migration(version: i64, name: &'static str, sql: Cow<'static, str>) -> Migration {
    Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn step(version: i64) -> Step {
        Step {
            version,
            name: "of the service",
            mysql: "SELECT 'mysql';",
            sqlite: "SELECT 'sqlite';",
        }
    }

    #[test]
    fn a_step_with_the_version_of_a_step_of_the_log_follows_its_statements() {
        let alone = migrations(Dialect::Sqlite, &[]).unwrap();
        let both = migrations(Dialect::Sqlite, &[step(2), step(3)]).unwrap();
        let versions: Vec<_> = both.iter().map(|migration| migration.version).collect();
        assert_eq!(versions, [1, 2, 3, 4, 1_000_000]);
        assert_eq!(both[1].sql, format!("{}SELECT 'sqlite';", alone[1].sql));
        assert_eq!(both[1].description, "of the service");
        assert_eq!(both[0].checksum, alone[0].checksum);
    }

    #[test]
    fn versions_ascend_and_are_not_those_of_later_steps_of_the_log() {
        for service in [
            &[step(0)][..],
            &[step(LAST_VERSION + 1)],
            &[step(6), step(5)],
            &[step(5), step(5)],
        ] {
            let refused = migrations(Dialect::MySql, service);
            assert!(matches!(refused, Err(SchemaError::Versions)), "{service:?}");
        }
        migrations(Dialect::MySql, &[step(5), step(LAST_VERSION)]).unwrap();
    }
}
