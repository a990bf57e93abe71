//! Checks the storage engine of the tables. `MyISAM` has no transactions, so a failed append would leave some
//! of its rows.

use sqlx::migrate::Migration;

use super::{OtherEngine, SchemaError, steps};
use crate::database::{Database, Dialect, Session};

/// Text before each table name in the migrations.
const CREATE: &str = "CREATE TABLE IF NOT EXISTS ";

/// Checks that every existing table that the migrations create uses `InnoDB`.
pub(super) async fn check(database: &Database, migrations: &[Migration]) -> Result<(), SchemaError> {
    if database.dialect() != Dialect::MySql {
        return Ok(());
    }
    let own = own_tables(migrations);
    let rows = database
        .reader()
        .await?
        // The casts use the connection's character set: sqlx decodes the server's own columns as bytes.
        .query(
            "SELECT CAST(table_name AS CHAR(64)), CAST(engine AS CHAR(64)) FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' AND engine <> 'InnoDB' ORDER BY table_name",
        )
        .fetch_all()
        .await?;
    let mut others = Vec::new();
    for row in rows {
        let table: String = row.get(0)?;
        if own.iter().any(|own| own.eq_ignore_ascii_case(&table)) {
            let engine = row.get(1)?;
            others.push(OtherEngine { table, engine });
        }
    }
    if others.is_empty() {
        Ok(())
    } else {
        Err(SchemaError::Engine(others))
    }
}

/// Returns the names of all tables that the migrations create, and of sqlx's table of applied migrations.
fn own_tables(migrations: &[Migration]) -> Vec<&str> {
    let texts = migrations
        .iter()
        .map(|migration| migration.sql.as_ref())
        .chain([steps::leases(Dialect::MySql)]);
    let names = texts.flat_map(|text| text.split(CREATE).skip(1));
    let names = names.filter_map(|rest| {
        rest.split(|end: char| !end.is_ascii_alphanumeric() && end != '_')
            .next()
    });
    names.chain(["_sqlx_migrations"]).collect()
}

/// Lists the tables with their engines.
pub(super) fn tables(others: &[OtherEngine]) -> String {
    let named: Vec<_> = others
        .iter()
        .map(|OtherEngine { table, engine }| format!("{table} ({engine})"))
        .collect();
    let (subject, verb) = if others.len() == 1 {
        ("the table", "does not use")
    } else {
        ("the tables", "do not use")
    };
    format!("{subject} {} {verb}", named.join(", "))
}

/// Returns the statements that change the engines.
pub(super) fn conversions(others: &[OtherEngine]) -> String {
    let statements: Vec<_> = others
        .iter()
        .map(|OtherEngine { table, .. }| format!(" ALTER TABLE `{table}` ENGINE=InnoDB;"))
        .collect();
    statements.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_that_creates_a_table_names_it_where_it_is_found() {
        let migrations = steps::migrations(Dialect::MySql, &[]).unwrap();
        for migration in &migrations {
            let text = migration.sql.to_uppercase();
            assert_eq!(
                text.matches("CREATE TABLE").count(),
                text.matches(&CREATE.to_uppercase()).count(),
                "migration {}",
                migration.version
            );
        }
        let own = own_tables(&migrations);
        for table in ["events", "projections", "leases", "_sqlx_migrations"] {
            assert!(own.contains(&table), "{table} of {own:?}");
        }
    }

    #[test]
    fn the_error_names_each_table_and_the_statement_that_converts_it() {
        let others = ["events", "claims"].map(|table| OtherEngine {
            table: table.into(),
            engine: "MyISAM".into(),
        });
        let said = SchemaError::Engine(others.to_vec()).to_string();
        assert!(
            said.starts_with("the tables events (MyISAM), claims (MyISAM) do not use InnoDB"),
            "{said}"
        );
        assert!(
            said.contains("ALTER TABLE `events` ENGINE=InnoDB; ALTER TABLE `claims` ENGINE=InnoDB;"),
            "{said}"
        );
    }
}
