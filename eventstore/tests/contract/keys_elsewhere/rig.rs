//! A log with its keys in another database.

use eventstore::schema;
use eventstore::sealing::{
    DeclarePersonalData, KeyStore, Keyring, MoveError, PersonalData, SealedEvents, Sealing, SealingError,
};
use eventstore::{
    Append, AppendError, Appended, Database, DatabaseOptions, KeysPlace, LogFormat, NewEvent, Position,
    RecordedEvent, Session, SystemClock, Timestamp,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{TestDatabase, mysql_servers};

use crate::backend::Backend;

/// Where the keys are in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeysOn {
    /// A database of the same kind as the database of the log.
    TheSame,
    Sqlite,
}

pub(super) const KIND: &str = "thing";

struct Names;

impl DeclarePersonalData for Names {
    fn of(&self, event_type: &str) -> Option<PersonalData> {
        (event_type == "Named").then_some(PersonalData {
            members: &["name"],
            versions: &[("1.0", "2.0")],
        })
    }
}

pub(super) fn named(id: &str, sequence: u64, name: &str) -> NewEvent {
    NewEvent {
        aggregate_type: KIND.to_owned(),
        aggregate_id: id.to_owned(),
        sequence,
        event_type: "Named".to_owned(),
        event_version: "1.0".to_owned(),
        payload: json!({"type": "Named", "name": name}),
        metadata: json!({}),
    }
}

pub(super) fn keyring() -> Keyring {
    Keyring::generate(Timestamp::default()).unwrap()
}

/// A database for keys, which is dropped with the test.
pub(super) struct KeysDatabase {
    pub(super) url: String,
    pub(super) database: Database,
    _folder: Option<TempDir>,
    _on_server: Option<TestDatabase>,
}

impl KeysDatabase {
    pub(super) async fn empty(backend: &Backend, on: KeysOn) -> Self {
        let server = mysql_servers()
            .iter()
            .find(|server| on == KeysOn::TheSame && backend.url.starts_with(&server.url));
        let (url, folder, on_server) = if let Some(server) = server {
            let created = server.create_database().await;
            (created.url.clone(), None, Some(created))
        } else {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite://{}", folder.path().join("keys.db").display());
            (url, Some(folder), None)
        };
        let database = Database::connect(&url, DatabaseOptions::default()).await.unwrap();
        Self {
            url,
            database,
            _folder: folder,
            _on_server: on_server,
        }
    }

    pub(super) async fn migrated(backend: &Backend, on: KeysOn) -> Self {
        let keys = Self::empty(backend, on).await;
        for _ in 0..2 {
            schema::migrate_keys(&keys.database, SystemClock::shared(), "test")
                .await
                .unwrap();
        }
        schema::check_keys(&keys.database).await.unwrap();
        keys
    }

    pub(super) fn store(&self, format: LogFormat) -> KeyStore {
        let log = format.log_id().unwrap();
        KeyStore::elsewhere(log, self.database.clone(), SystemClock::shared())
    }

    pub(super) async fn execute(&self, sql: &str) {
        let mut writer = self.database.writer().await.unwrap();
        writer.query(sql).execute().await.unwrap();
    }

    pub(super) async fn count(&self) -> i64 {
        let mut reader = self.database.reader().await.unwrap();
        let count = reader.query("SELECT COUNT(*) FROM subject_keys");
        count.fetch_optional().await.unwrap().unwrap().get(0).unwrap()
    }
}

pub(super) struct Log<'b> {
    pub(super) backend: &'b Backend,
    pub(super) keys: KeysDatabase,
    pub(super) format: LogFormat,
    pub(super) sealing: Sealing,
}

impl<'b> Log<'b> {
    /// A new log, which is sealed with keys in a separate database.
    pub(super) async fn new(backend: &'b Backend, on: KeysOn) -> Self {
        backend.migrate().await;
        let (keys, keyring) = (KeysDatabase::migrated(backend, on).await, keyring());
        let format = LogFormat::seal_if_empty(&backend.database, &keyring, 1, Some(&keys.database)).await;
        let format = format.unwrap();
        assert!(matches!(format, LogFormat::Sealed(_, KeysPlace::Elsewhere)));
        assert_eq!(LogFormat::read(&backend.database).await.unwrap(), format);
        let store = keys.store(format);
        store.check(&backend.database, &keyring).await.unwrap();
        Self {
            sealing: Sealing::new(keyring, store, 1, Names),
            backend,
            keys,
            format,
        }
    }

    /// Returns the sealing of this log with other keys.
    pub(super) fn with(&self, keys: KeyStore) -> Sealing {
        Sealing::new(Keyring::clone(&self.sealing.keyring()), keys, 1, Names)
    }

    pub(super) async fn seal(
        &self,
        events: Vec<NewEvent>,
        fresh: bool,
    ) -> Result<SealedEvents, SealingError> {
        self.sealing.seal(&self.backend.database, events, fresh).await
    }

    pub(super) async fn try_append(
        &self,
        sealing: &Sealing,
        sealed: SealedEvents,
    ) -> Result<Appended, AppendError> {
        let append = Append::new(sealed.events, Vec::new()).unwrap();
        let queue = self.backend.queue();
        let appended = queue.append(append.sealed(sealing.keys(), sealed.new_key)).await;
        queue.shutdown().await;
        appended
    }

    pub(super) async fn append(&self, event: NewEvent) {
        let fresh = event.sequence == 1;
        let sealed = self.seal(vec![event], fresh).await.unwrap();
        self.try_append(&self.sealing, sealed).await.unwrap();
    }

    pub(super) async fn stored(&self) -> Vec<RecordedEvent> {
        let log = &self.backend.log;
        log.stored_feed(Position::BEGINNING, 100).await.unwrap()
    }

    pub(super) async fn open_with(&self, sealing: &Sealing) -> Result<Vec<Value>, SealingError> {
        let events = self.stored().await;
        let mut reader = self.backend.database.reader().await.unwrap();
        let opened = sealing.open(&mut reader, events).await?;
        Ok(opened
            .into_iter()
            .map(|event| event.payload["name"].clone())
            .collect())
    }

    pub(super) async fn open(&self) -> Result<Vec<Value>, SealingError> {
        self.open_with(&self.sealing).await
    }

    pub(super) async fn erase_with(&self, keys: &KeyStore, id: &str) -> eventstore::Result<Timestamp> {
        let mut writer = self.backend.database.writer().await.unwrap();
        keys.erase(&mut writer, KIND, id, Timestamp::from_micros(5)).await
    }

    /// Returns the number of keys in the database of the log.
    pub(super) async fn in_log(&self) -> i64 {
        self.backend.number("SELECT COUNT(*) FROM subject_keys").await
    }

    pub(super) async fn move_keys(&self, from: &KeyStore, to: &KeyStore) -> Result<u64, MoveError> {
        let keyring = self.sealing.keyring();
        from.move_to(to, &self.backend.database, &keyring).await
    }

    pub(super) fn in_log_store(&self) -> KeyStore {
        KeyStore::new(self.format.log_id().unwrap())
    }
}
