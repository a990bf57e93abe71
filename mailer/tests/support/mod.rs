//! Shared support for the tests in this folder: an event log with patients, the subscription and workers.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "for tests only: each test program uses only a part of this module"
)]

mod clock;
mod running;
mod scripted;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::{PATIENT_AMENDED, PATIENT_DELETED, PATIENT_REGISTERED};
use eventstore::{
    Append, AppendQueue, Clock, Database, DatabaseOptions, EventLog, ManualClock, NewEvent, Position, Row,
    Session, Signal, Subscription, SubscriptionStatus, SystemClock, Timestamp,
};
use mailer::{
    Composer, Languages, Ledger, Notices, Options, SUBSCRIPTION, Sender, SmtpOptions, Templates, Timeouts,
    Transport, Worker,
};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use clock::WatchedClock;
pub use running::Running;
pub use scripted::{Answer, Scripted};

/// Returns a transport to the server at `url`.
pub fn smtp(url: &str) -> Transport {
    Transport::smtp(url, &SmtpOptions::default()).unwrap()
}

/// Returns timeouts that are all `each`.
pub fn timeouts(each: Duration) -> Timeouts {
    Timeouts {
        connect: each,
        send: each,
        answer: each,
    }
}

/// Maximum time to wait for any condition.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A database with the schema, and its append queue.
pub struct Stage {
    pub name: String,
    pub log: EventLog,
    /// Clock of the subscription handler, the workers and the tests. The log uses the system clock.
    pub clock: Arc<ManualClock>,
    appends: AppendQueue,
    signal: Signal,
    ids: AtomicU64,
    url: String,
    _held: Box<dyn std::any::Any + Send + Sync>,
}

/// A row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub position: Position,
    pub template: String,
    pub state: String,
    pub due_at: Option<Timestamp>,
    pub attempts: i32,
    pub lease: Option<String>,
    pub last_error: Option<String>,
}

impl Stage {
    /// Creates a stage on a new SQLite file.
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/patients.db", folder.path().display());
        Self::on("SQLite".to_owned(), &url, Box::new(folder)).await
    }

    /// Creates one stage on SQLite and one on each available MySQL and MariaDB server.
    pub async fn on_every_backend() -> Vec<Self> {
        let mut stages = vec![Self::sqlite().await];
        for server in testkit::mysql_servers() {
            let database = server.create_database().await;
            let url = database.url.clone();
            stages.push(Self::on(server.flavour.to_string(), &url, Box::new(database)).await);
        }
        stages
    }

    /// Creates a stage on a new SQLite file with one due email, to `ana@example.com`.
    pub async fn with_one_email() -> Self {
        let stage = Self::sqlite().await;
        stage.register("Ana", "ana@example.com").await;
        stage.follow().await;
        stage
    }

    pub async fn on(name: String, url: &str, held: Box<dyn std::any::Any + Send + Sync>) -> Self {
        let database = Database::connect(url, DatabaseOptions::default()).await.unwrap();
        migrations::migrate(&database, SystemClock::shared(), "test")
            .await
            .unwrap();
        let signal = Signal::in_process();
        let appends = AppendQueue::start(database.clone(), signal.clone(), SystemClock::shared(), 1000, 100);
        Self {
            name,
            log: EventLog::new(database),
            clock: ManualClock::at(SystemClock.now()),
            appends,
            signal,
            ids: AtomicU64::new(1),
            url: url.to_owned(),
            _held: held,
        }
    }

    /// Registers a patient. Returns the patient's id and the event's position.
    pub async fn register(&self, name: &str, email: &str) -> (String, Position) {
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        let id = format!("00000000-0000-7000-8000-{number:012}");
        let payload = json!({
            "type": PATIENT_REGISTERED,
            "name": name,
            "email": email,
            "phone": "+1-555-123-4567",
            "document_url": "https://example.com/document.jpg",
        });
        let position = self.append("patient", &id, 1, PATIENT_REGISTERED, payload).await;
        (id, position)
    }

    /// Registers `how_many` patients with the addresses `p1@example.com`, `p2@example.com` and so on.
    pub async fn register_many(&self, how_many: usize) {
        let registrations = (1..=how_many).map(async |number| {
            self.register(&format!("Patient {number}"), &format!("p{number}@example.com"))
                .await
        });
        futures::future::join_all(registrations).await;
    }

    /// Amends a patient. `changes` contains the changed fields, and `sequence` is the number of the event.
    pub async fn amend(&self, id: &str, sequence: u64, changes: serde_json::Value) -> Position {
        let mut payload = json!({ "type": PATIENT_AMENDED });
        let fields = payload.as_object_mut().unwrap();
        fields.extend(changes.as_object().unwrap().clone());
        self.append("patient", id, sequence, PATIENT_AMENDED, payload)
            .await
    }

    pub async fn delete(&self, id: &str) {
        self.delete_at(id, 2).await;
    }

    /// Like [`Stage::delete`], with the number of the event.
    pub async fn delete_at(&self, id: &str, sequence: u64) {
        let payload = json!({ "type": PATIENT_DELETED });
        self.append("patient", id, sequence, PATIENT_DELETED, payload)
            .await;
    }

    pub async fn append(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        sequence: u64,
        event_type: &str,
        payload: serde_json::Value,
    ) -> Position {
        // Only version 1.1 has this member.
        let event_version = match payload.get("confirmation") {
            Some(_) => "1.1",
            None => "1.0",
        };
        let event = NewEvent {
            aggregate_type: aggregate_type.to_owned(),
            aggregate_id: aggregate_id.to_owned(),
            sequence,
            event_type: event_type.to_owned(),
            event_version: event_version.to_owned(),
            payload,
            metadata: json!({}),
        };
        let append = Append::new(vec![event], Vec::new()).unwrap();
        self.appends.append(append).await.unwrap().first
    }

    /// Runs the subscription until it has processed the whole log.
    pub async fn follow(&self) {
        self.follow_with(Notices::default()).await;
    }

    /// Like [`Stage::follow`], with the given emails.
    pub async fn follow_with(&self, notices: Notices) {
        let (handler, _) = mailer::handler(self.clock.clone(), notices);
        let subscription = Subscription::new(
            SUBSCRIPTION,
            "test",
            self.log.clone(),
            &self.signal,
            SystemClock::shared(),
            handler,
        );
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(subscription.run(shutdown.clone()));
        testkit::wait_until(PATIENCE, "the subscription is at the head", async || {
            let now = SystemClock.now();
            let status = SubscriptionStatus::of(self.log.database(), SUBSCRIPTION, now)
                .await
                .unwrap();
            status.position == status.head
        })
        .await;
        shutdown.cancel();
        running.await.unwrap();
    }

    /// Starts a worker that uses the stage's clock and polls every 20 ms.
    pub fn work(&self, transport: Transport) -> Running {
        self.work_with(transport, Options::default())
    }

    /// Starts a worker with its own database connections, like a worker in another process. [`Running::kill`]
    /// closes them.
    pub async fn work_separately(&self, transport: Transport) -> Running {
        self.work_separately_with(DatabaseOptions::default(), transport, Options::default())
            .await
    }

    /// Like [`Stage::work_separately`], with the given options. A default poll interval is replaced by 20 ms.
    pub async fn work_separately_with(
        &self,
        database: DatabaseOptions,
        transport: Transport,
        options: Options,
    ) -> Running {
        let database = Database::connect(&self.url, database).await.unwrap();
        self.work_on(database, transport, options)
    }

    /// Starts a worker with the given options. A default poll interval is replaced by 20 ms.
    pub fn work_with(&self, transport: Transport, options: Options) -> Running {
        self.work_on(self.log.database().clone(), transport, options)
    }

    fn work_on(&self, database: Database, transport: Transport, options: Options) -> Running {
        let composer = Composer::new(
            Templates::built_in().unwrap(),
            Languages::default(),
            Sender::default(),
        );
        let seldom = options.poll != Options::default().poll;
        let options = Options {
            poll: if seldom {
                options.poll
            } else {
                Duration::from_millis(20)
            },
            ..options
        };
        let clock = Arc::new(WatchedClock::new(self.clock.clone()));
        let worker = Worker::new(
            EventLog::new(database.clone()),
            clock.clone(),
            composer,
            transport,
            options,
            Arc::new(Notify::new()),
        );
        let shutdown = CancellationToken::new();
        Running {
            task: tokio::spawn(worker.run(shutdown.clone())),
            shutdown,
            database,
            clock,
        }
    }

    /// Returns the rows of the ledger, ordered by position and template.
    pub async fn deliveries(&self) -> Vec<Delivery> {
        let mut connection = self.log.database().reader().await.unwrap();
        let rows = connection
            .query(
                "SELECT position, state, due_at, attempts, lease, last_error, template FROM mail_deliveries \
                 ORDER BY position, template",
            )
            .fetch_all()
            .await
            .unwrap();
        let delivery = |row: &Row| Delivery {
            position: row.get(0).unwrap(),
            state: row.get(1).unwrap(),
            due_at: row.get(2).unwrap(),
            attempts: row.get(3).unwrap(),
            lease: row.get(4).unwrap(),
            last_error: row.get(5).unwrap(),
            template: row.get(6).unwrap(),
        };
        rows.iter().map(delivery).collect()
    }

    /// Returns the first row of the ledger.
    pub async fn first_delivery(&self) -> Delivery {
        self.deliveries().await.remove(0)
    }

    /// Waits until no delivery has a lease, and then advances the clock. No lease can therefore expire during
    /// an attempt, even on a slow machine, and no attempt that ends afterwards schedules the next probe from
    /// the new time.
    pub async fn pass(&self, time: Duration) {
        testkit::wait_until(PATIENCE, "no delivery is under a lease", async || {
            self.deliveries()
                .await
                .iter()
                .all(|delivery| delivery.lease.is_none())
        })
        .await;
        self.clock.advance(time);
    }

    pub async fn states(&self) -> Vec<String> {
        self.deliveries()
            .await
            .into_iter()
            .map(|delivery| delivery.state)
            .collect()
    }

    /// Waits until every delivery is in `state`.
    pub async fn until_all(&self, state: &str) {
        let what = format!("{}: every delivery is {state}", self.name);
        testkit::wait_until(PATIENCE, &what, async || {
            let states = self.states().await;
            !states.is_empty() && states.iter().all(|found| found == state)
        })
        .await;
    }

    /// Returns the finished attempts of the delivery at that position, in order: number, outcome and error.
    pub async fn history(&self, position: u64) -> Vec<(u32, String, Option<String>)> {
        let ledger = Ledger::new(self.log.database().clone());
        let position = Position::new(position).unwrap();
        let attempts = ledger.at(position).await.unwrap().attempts;
        attempts
            .into_iter()
            .map(|attempt| (attempt.attempt, attempt.outcome, attempt.error))
            .collect()
    }

    /// Runs SQL statements on the database.
    pub async fn execute(&self, sql: &str) {
        let mut connection = self.log.database().writer().await.unwrap();
        connection.query(sql).execute().await.unwrap();
    }
}

/// Returns the file names in an outbox, sorted.
pub fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
