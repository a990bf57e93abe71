//! Reading the evidence from the database, by plain SQL.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::{Connection, MySqlConnection, SqliteConnection};

use super::sealed::{open, unhex};
use super::{Checkpoint, Delivery, Event, Evidence, Found, Keyring, SubjectKey};
use crate::record::marks;

/// All checkpoints except the position to which SQLite's files were rewritten. It advances only at erasures.
const FOLLOWERS: &str = "checkpoints WHERE name <> 'eraser@files'";

/// The tables with the data of active patients.
const READ_TABLES: [&str; 2] = ["patient_view", "patient_names"];

/// A column of a table.
#[derive(Deserialize)]
struct Column {
    table: String,
    column: String,
}

/// A value in hexadecimal.
#[derive(Deserialize)]
struct Hex {
    value: String,
}

/// A direct connection to the database, without a proxy.
pub(crate) struct Sql {
    connection: SqlConnection,
}

enum SqlConnection {
    Mysql(MySqlConnection),
    Sqlite(SqliteConnection),
}

impl Sql {
    pub(crate) async fn mysql(url: &str) -> Self {
        Self {
            connection: SqlConnection::Mysql(MySqlConnection::connect(url).await.unwrap()),
        }
    }

    pub(crate) async fn sqlite(url: &str) -> Self {
        Self {
            connection: SqlConnection::Sqlite(SqliteConnection::connect(url).await.unwrap()),
        }
    }

    /// Rows of `SELECT … FROM from` with these columns. `JSON_OBJECT` works the same on all three databases.
    async fn rows<T: DeserializeOwned>(&mut self, columns: &[(&str, &str)], from: &str) -> Vec<T> {
        let members: Vec<_> = columns
            .iter()
            .map(|(name, sql)| format!("'{name}', {sql}"))
            .collect();
        let sql = format!(
            "SELECT CAST(JSON_OBJECT({}) AS CHAR) FROM {from}",
            members.join(", ")
        );
        let rows: Vec<String> = match &mut self.connection {
            SqlConnection::Mysql(connection) => sqlx::query_scalar(&sql).fetch_all(connection).await.unwrap(),
            SqlConnection::Sqlite(connection) => {
                sqlx::query_scalar(&sql).fetch_all(connection).await.unwrap()
            }
        };
        rows.iter()
            .map(|row| serde_json::from_str(row).unwrap())
            .collect()
    }

    /// Reads all evidence from the database. The log is opened with this keyring.
    pub(crate) async fn ask(&mut self, now: i64, keyring: Keyring) -> Evidence {
        let same = |names: &[&'static str]| names.iter().map(|name| (*name, *name)).collect::<Vec<_>>();
        let with = |names: &[&'static str], more: &[(&'static str, &'static str)]| {
            let mut columns = same(names);
            columns.extend_from_slice(more);
            columns
        };
        let text = |name| -> (&'static str, &'static str) {
            match name {
                "payload" => ("payload", "CAST(payload AS CHAR)"),
                _ => ("metadata", "CAST(metadata AS CHAR)"),
            }
        };
        let event = with(
            &[
                "position",
                "aggregate_type",
                "aggregate_id",
                "sequence",
                "event_type",
                "event_version",
                "recorded_at",
            ],
            &[text("payload"), text("metadata"), ("hash", "HEX(hash)")],
        );
        let head = with(&["position", "recorded_at"], &[("hash", "HEX(hash)")]);
        let row = same(&[
            "id",
            "name",
            "email",
            "phone",
            "document_url",
            "sequence",
            "registered_at",
        ]);
        let active = "patient_view WHERE generation = (SELECT active_generation FROM projections \
                      WHERE name = 'patient_view')";
        // First, because the time left is relative to `now`, and the leases are renewed meanwhile.
        let left = format!("(expires_at - {now}) / 1000000.0");
        let leases = [("name", "name"), ("owner", "owner"), ("left", left.as_str())];
        let leases = self.rows(&leases, "leases").await;
        let failures: Vec<Value> = self.rows(&same(&["name"]), "subscription_failures").await;
        let mut log: Vec<Event> = self.rows(&event, "events ORDER BY position").await;
        let keys = self.keys().await;
        let format: Vec<Value> = self.rows(&[("log_id", "HEX(log_id)")], "log_format").await;
        let log_id = format[0]["log_id"].as_str().unwrap_or_default();
        open(&mut log, &keyring, log_id, &keys);
        let mut listed = Vec::new();
        for table in READ_TABLES {
            let columns = [("table", format!("'{table}'")), ("id", "id".to_owned())];
            let columns = columns.each_ref().map(|(name, sql)| (*name, sql.as_str()));
            listed.extend(self.rows(&columns, table).await);
        }
        Evidence {
            log,
            keyring,
            keys,
            listed,
            found: self.search().await,
            head: self.rows(&head, "log_head").await.pop(),
            rows: self.rows(&row, active).await,
            claims: self
                .rows(&with(&["aggregate_id"], &[("claim", "HEX(claim)")]), "claims")
                .await,
            checkpoints: self.rows(&same(&["name", "position"]), "checkpoints").await,
            leases,
            failures: failures
                .iter()
                .map(|failure| failure["name"].to_string())
                .collect(),
            deliveries: self
                .rows(
                    &same(&["position", "template", "aggregate_id", "state"]),
                    "mail_deliveries",
                )
                .await,
            attempts: self
                .rows(
                    &same(&["position", "template", "outcome", "started_at"]),
                    "mail_attempts",
                )
                .await,
            ..Evidence::default()
        }
    }

    async fn keys(&mut self) -> Vec<SubjectKey> {
        let columns = [
            ("aggregate_type", "aggregate_type"),
            ("aggregate_id", "aggregate_id"),
            // SQLite has an empty text for HEX(NULL).
            ("key_id", "NULLIF(HEX(key_id), '')"),
            ("wrapping_key", "wrapping_key"),
            ("wrapped", "NULLIF(HEX(wrapped), '')"),
            ("erased_at", "erased_at"),
        ];
        self.rows(&columns, "subject_keys").await
    }

    /// Searches all columns of all tables for marks.
    async fn search(&mut self) -> Vec<Found> {
        let columns: Vec<Column> = match &self.connection {
            SqlConnection::Mysql(_) => {
                let columns = [("table", "table_name"), ("column", "column_name")];
                let from = "information_schema.columns \
                            WHERE table_schema = DATABASE() AND data_type NOT LIKE '%int'";
                self.rows(&columns, from).await
            }
            SqlConnection::Sqlite(_) => {
                let columns = [("table", "m.name"), ("column", "c.name")];
                let from = "sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'";
                self.rows(&columns, from).await
            }
        };
        let mut found = BTreeSet::new();
        for Column { table, column } in columns {
            // The bytes of the values, whatever their type and character set.
            let place = format!("{table}.{column}");
            let from = format!("`{table}` WHERE `{column}` IS NOT NULL");
            let value = format!("HEX(`{column}`)");
            let values: Vec<Hex> = self.rows(&[("value", value.as_str())], &from).await;
            for Hex { value } in values {
                let value = unhex(&value).unwrap_or_default();
                found.extend(marks(&value).map(|mark| Found {
                    place: place.clone(),
                    mark,
                }));
            }
        }
        found.into_iter().collect()
    }

    /// Returns the position of the last event.
    pub(crate) async fn head(&mut self) -> u64 {
        let head: Vec<Value> = self.rows(&[("position", "position")], "log_head").await;
        head[0]["position"].as_u64().unwrap_or_default()
    }

    /// Whether every subscription has processed the log.
    pub(crate) async fn has_caught_up(&mut self, position: u64) -> bool {
        let all: Vec<Checkpoint> = self
            .rows(&[("name", "name"), ("position", "position")], FOLLOWERS)
            .await;
        all.len() >= 3 && all.iter().all(|checkpoint| checkpoint.position >= position)
    }

    /// Whether the emails of these positions have been sent or cancelled.
    pub(crate) async fn has_left(&mut self, positions: &[u64]) -> bool {
        let columns = [("position", "position")];
        let left: Vec<Value> = self
            .rows(&columns, "mail_deliveries WHERE state IN ('sent', 'cancelled')")
            .await;
        let left: Vec<_> = left
            .iter()
            .filter_map(|delivery| delivery["position"].as_u64())
            .collect();
        positions.iter().all(|position| left.contains(position))
    }

    /// Deliveries that are neither sent nor cancelled.
    pub(crate) async fn unfinished(&mut self) -> Vec<Delivery> {
        let columns: Vec<_> = ["position", "template", "aggregate_id", "state"]
            .map(|name| (name, name))
            .to_vec();
        self.rows(
            &columns,
            "mail_deliveries WHERE state NOT IN ('sent', 'cancelled')",
        )
        .await
    }
}
