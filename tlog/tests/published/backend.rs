//! Logs on every backend, with events that have only a position and a hash of their own.

use eventstore::database::Value;
use eventstore::{Database, DatabaseOptions, Session, SystemClock};
use tlog::{PublishedLog, Tiles, TlogError};
use transparency::Hash;
use transparency::tree::Frontier;

/// Origin of the logs in these tests.
pub(crate) const ORIGIN: &str = "log.example.org/patients";

/// Tests a contract on SQLite.
pub(crate) async fn on_sqlite(contract: impl AsyncFnOnce(Backend)) {
    testkit::with_sqlite(async |url| hold(&url, contract).await).await;
}

/// Tests a contract on every available MySQL and MariaDB server.
pub(crate) async fn on_mysql(contract: impl AsyncFn(Backend)) {
    testkit::with_mysql(async |url| hold(&url, &contract).await).await;
}

async fn hold(url: &str, contract: impl AsyncFnOnce(Backend)) {
    let database = Database::connect(url, DatabaseOptions::default()).await.unwrap();
    migrations::migrate(&database, SystemClock::shared(), "test")
        .await
        .unwrap();
    contract(Backend {
        database: database.clone(),
        size: 0,
    })
    .await;
    database.close().await;
}

/// Returns the entry with this index, as if it were the hash of an event.
pub(crate) fn entry(index: u64) -> [u8; 32] {
    Hash::leaf(&index.to_be_bytes()).0
}

/// Returns the root of the tree over the first `size` entries.
pub(crate) fn root(size: u64) -> Hash {
    let mut tree = Frontier::default();
    tree.extend((0..size).map(|index| Hash::leaf(&entry(index))));
    tree.root()
}

/// A log, initially empty.
pub(crate) struct Backend {
    pub(crate) database: Database,
    size: u64,
}

impl Backend {
    /// Adds events until the log has `size` events.
    pub(crate) async fn grow(&mut self, size: u64) {
        let row = |index: u64| {
            let position = i64::try_from(index + 1).unwrap();
            [
                Value::Text("thing".into()),
                Value::Text(format!("{position}").into()),
                Value::Integer(1),
                Value::Text("Happened".into()),
                Value::Text("1.0".into()),
                Value::Text("{}".into()),
                Value::Text("{}".into()),
                Value::Integer(position),
                Value::Integer(0),
                Value::from(entry(index).to_vec()),
            ]
        };
        let mut connection = self.database.writer().await.unwrap();
        connection
            .insert(
                "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
                 metadata, position, recorded_at, hash) VALUES",
                (self.size..size).map(row),
            )
            .await
            .unwrap();
        // SQLite has one connection for writes.
        drop(connection);
        self.set_size(size).await;
    }

    /// Number of events.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Moves the head of the log.
    pub(crate) async fn set_size(&mut self, size: u64) {
        self.size = size;
        let head = format!("UPDATE log_head SET position = {size} WHERE id = 1");
        self.execute(&head).await;
    }

    pub(crate) fn tiles(&self) -> Tiles {
        Tiles::new(self.database.clone())
    }

    pub(crate) fn published(&self) -> PublishedLog {
        PublishedLog::new(&self.database, ORIGIN.to_owned())
    }

    /// Extends the tiles until they cover the log.
    pub(crate) async fn extend(&self) -> Result<(), TlogError> {
        while !self.tiles().extend(self.size).await? {}
        Ok(())
    }

    pub(crate) async fn execute(&self, sql: &str) -> u64 {
        let mut connection = self.database.writer().await.unwrap();
        connection.query(sql).execute().await.unwrap()
    }
}
