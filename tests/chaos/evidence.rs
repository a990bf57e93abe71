//! The oracle's evidence: the clients' observations, and the contents of the database and the mail sink
//! afterwards.

use api::commands::ClaimScheme;
use eventstore::sealing::{Keyring, KeyringFile};
use eventstore::{Database, DatabaseOptions, EventLog, LogFormat, Position, Sealing};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::{Connection, MySqlConnection, SqliteConnection};
use uuid::Uuid;

use crate::record::{Changes, Details, Observation};

/// A row of the log.
#[expect(clippy::struct_field_names, reason = "the columns' names")]
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Event {
    pub(crate) position: u64,
    pub(crate) aggregate_type: String,
    pub(crate) aggregate_id: String,
    pub(crate) sequence: u64,
    pub(crate) event_type: String,
    pub(crate) event_version: String,
    /// JSON text as the database returns it.
    pub(crate) payload: String,
    /// The payload with the personal data opened.
    #[serde(skip)]
    pub(crate) opened: Value,
    pub(crate) metadata: String,
    pub(crate) recorded_at: i64,
    /// The hash, in hexadecimal.
    pub(crate) hash: String,
}

impl Event {
    pub(crate) fn id(&self) -> Option<Uuid> {
        self.aggregate_id.parse().ok()
    }

    /// The details in the event, if it is a registration.
    pub(crate) fn registers(&self) -> Option<Details> {
        (self.event_type == "PatientRegistered").then(|| Details::deserialize(&self.opened).ok())?
    }

    /// The changes in the event, if it is an amendment.
    pub(crate) fn amends(&self) -> Option<Changes> {
        (self.event_type == "PatientAmended").then(|| Changes::deserialize(&self.opened).ok())?
    }

    pub(crate) fn deletes(&self) -> bool {
        self.event_type == "PatientDeleted"
    }

    /// The id of the request that wrote the event.
    pub(crate) fn request_id(&self) -> Option<String> {
        let metadata: Value = serde_json::from_str(&self.metadata).ok()?;
        Some(metadata["request_id"].as_str()?.to_owned())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Head {
    pub(crate) position: u64,
    pub(crate) hash: String,
    pub(crate) recorded_at: i64,
}

/// A row of the read table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Row {
    pub(crate) id: Uuid,
    #[serde(flatten)]
    pub(crate) details: Details,
    pub(crate) sequence: u64,
    pub(crate) registered_at: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Claim {
    pub(crate) claim: String,
    pub(crate) aggregate_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) name: String,
    pub(crate) position: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Lease {
    pub(crate) name: String,
    /// The owner of the lease, in the form ROLE@HOST:PID:RANDOM.
    pub(crate) owner: String,
    /// Seconds until expiry at the time of the read, negative if the lease has expired.
    pub(crate) left: f64,
}

/// A row of the mail ledger, with the outcome of each attempt.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Delivery {
    pub(crate) position: u64,
    pub(crate) template: String,
    pub(crate) aggregate_id: String,
    pub(crate) state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) position: u64,
    pub(crate) template: String,
    pub(crate) outcome: String,
}

/// An email in the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) recipient: String,
    pub(crate) message_id: String,
}

/// Memory and descriptors of a role's process, under load before the first fault and at rest after the last
/// one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) role: String,
    pub(crate) memory: u64,
    pub(crate) descriptors: usize,
}

/// All evidence.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    pub(crate) observations: Vec<Observation>,
    pub(crate) log: Vec<Event>,
    pub(crate) head: Option<Head>,
    pub(crate) rows: Vec<Row>,
    pub(crate) claims: Vec<Claim>,
    pub(crate) checkpoints: Vec<Checkpoint>,
    pub(crate) leases: Vec<Lease>,
    /// Names of subscriptions with a recorded failure.
    pub(crate) failures: Vec<String>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) mails: Vec<Arrived>,
    /// Pids of the running processes.
    pub(crate) running: Vec<u32>,
    pub(crate) before: Vec<Usage>,
    pub(crate) after: Vec<Usage>,
    /// Seconds from the end of the last fault until everything worked; `None` if that never happened.
    pub(crate) recovered_after: Option<f64>,
    /// Violations that the test itself observed: a process that exited by itself, or did not exit after
    /// SIGTERM.
    pub(crate) incidents: Vec<String>,
}

/// A direct connection to the database, without a proxy.
pub(crate) struct Sql {
    url: String,
    connection: SqlConnection,
}

enum SqlConnection {
    Mysql(MySqlConnection),
    Sqlite(SqliteConnection),
}

/// Returns the keyring of all tests.
pub(crate) fn keyring() -> Keyring {
    KeyringFile::new(testkit::keyring_file()).load().unwrap()
}

impl Sql {
    pub(crate) async fn mysql(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            connection: SqlConnection::Mysql(MySqlConnection::connect(url).await.unwrap()),
        }
    }

    pub(crate) async fn sqlite(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            connection: SqlConnection::Sqlite(SqliteConnection::connect(url).await.unwrap()),
        }
    }

    /// Opens the personal data of the events.
    async fn open(&self, events: &mut [Event]) {
        let database = Database::connect(&self.url, DatabaseOptions::default())
            .await
            .unwrap();
        let log = LogFormat::read(&database).await.unwrap().log_id().unwrap();
        database.seal_with(Sealing::new(
            keyring(),
            log,
            ClaimScheme::default().version(),
            api::PatientData,
        ));
        let log = EventLog::new(database.clone());
        let mut after = Position::BEGINNING;
        for page in events.chunks_mut(500) {
            let opened = log.feed(after, 500).await.unwrap();
            for (event, opened) in page.iter_mut().zip(opened) {
                assert_eq!(event.position, opened.position.get());
                after = opened.position;
                event.opened = opened.payload;
            }
        }
        database.close().await;
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

    /// Reads all evidence from the database.
    pub(crate) async fn ask(&mut self, now: i64) -> Evidence {
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
        let left = format!("(expires_at - {now}) / 1000000.0");
        let leases = [("name", "name"), ("owner", "owner"), ("left", left.as_str())];
        let failures: Vec<Value> = self.rows(&same(&["name"]), "subscription_failures").await;
        let mut log: Vec<Event> = self.rows(&event, "events ORDER BY position").await;
        self.open(&mut log).await;
        Evidence {
            log,
            head: self.rows(&head, "log_head").await.pop(),
            rows: self.rows(&row, active).await,
            claims: self
                .rows(&with(&["aggregate_id"], &[("claim", "HEX(claim)")]), "claims")
                .await,
            checkpoints: self.rows(&same(&["name", "position"]), "checkpoints").await,
            leases: self.rows(&leases, "leases").await,
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
                .rows(&same(&["position", "template", "outcome"]), "mail_attempts")
                .await,
            ..Evidence::default()
        }
    }

    /// Whether every subscription has processed the log.
    pub(crate) async fn has_caught_up(&mut self, position: u64) -> bool {
        let all: Vec<Checkpoint> = self
            .rows(&[("name", "name"), ("position", "position")], "checkpoints")
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
