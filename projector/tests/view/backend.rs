//! The databases that the projection is tested with, and events for these tests.

use std::time::Duration;

use domain::{PATIENT_DELETED, PATIENT_REGISTERED, PatientDetails};
use eventstore::ProjectionError;
use eventstore::projection::Follower;
use eventstore::{
    Append, AppendQueue, Database, DatabaseOptions, EventLog, Handler, NewEvent, Position, RecordedEvent,
    Row, Session, Signal, Subscription, SystemClock, Transaction,
};
use projector::{PATIENT_VIEW, PatientView};
use serde_json::{Value, json};
use testkit::wait_until;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

/// Maximum time that a test waits for a result that should be available at once.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Tests a contract on SQLite.
pub(crate) async fn on_sqlite(contract: impl AsyncFnOnce(Backend)) {
    testkit::with_sqlite(async |url| hold(&url, contract).await).await;
}

/// Tests a contract on every available MySQL and MariaDB server.
pub(crate) async fn on_mysql(contract: impl AsyncFn(Backend)) {
    testkit::with_mysql(async |url| hold(&url, &contract).await).await;
}

async fn hold(url: &str, contract: impl AsyncFnOnce(Backend)) {
    let backend = Backend::new(url).await;
    let database = backend.log.database().clone();
    contract(backend).await;
    database.close().await;
}

/// A log and a read table, both initially empty.
pub(crate) struct Backend {
    log: EventLog,
    appends: AppendQueue,
}

/// A row of the read table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) generation: i64,
    pub(crate) id: String,
    pub(crate) details: PatientDetails,
    pub(crate) sequence: i64,
    pub(crate) registered_at: i64,
}

impl Backend {
    pub(crate) async fn new(url: &str) -> Self {
        let database = Database::connect(url, DatabaseOptions::default()).await.unwrap();
        migrations::migrate(&database, SystemClock::shared(), "test")
            .await
            .unwrap();
        Self {
            log: EventLog::new(database.clone()),
            appends: AppendQueue::start(database, Signal::in_process(), SystemClock::shared(), 1024, 256),
        }
    }

    /// Appends one event of a patient.
    pub(crate) async fn append(&self, id: &str, sequence: u64, event_type: &str, payload: Value) -> Position {
        let event = NewEvent {
            aggregate_type: "patient".into(),
            aggregate_id: id.into(),
            sequence,
            event_type: event_type.into(),
            event_version: "1.0".into(),
            payload,
            metadata: json!({}),
        };
        self.append_events(Append::new(vec![event], Vec::new()).unwrap())
            .await
    }

    /// Appends several events of a patient. Returns the position of the first event.
    pub(crate) async fn append_events(&self, append: Append) -> Position {
        self.appends.append(append).await.unwrap().first
    }

    pub(crate) async fn register_as(&self, id: &str, details: &PatientDetails) -> Position {
        let payload = json!({
            "type": PATIENT_REGISTERED,
            "name": details.name,
            "email": details.email,
            "phone": details.phone,
            "document_url": details.document_url,
        });
        self.append(id, 1, PATIENT_REGISTERED, payload).await
    }

    pub(crate) async fn register(&self, id: &str) -> Position {
        self.register_as(id, &details(id)).await
    }

    pub(crate) async fn delete(&self, id: &str) -> Position {
        let payload = json!({ "type": PATIENT_DELETED });
        self.append(id, 2, PATIENT_DELETED, payload).await
    }

    /// Runs the projection up to the end of the log. If it stops at an event, returns the reason.
    pub(crate) async fn project(&self) -> Result<(), ProjectionError> {
        match self.run(false).await {
            None => Ok(()),
            Some(Failure::Projection(error)) => Err(error),
            Some(Failure::Spoiled { .. }) => unreachable!("nothing is spoiled"),
        }
    }

    /// Runs the projection with every batch failing after its rows are written, until the projection stops at
    /// an event. Returns the number of rows in that transaction.
    pub(crate) async fn project_and_fail(&self) -> i64 {
        match self.run(true).await {
            Some(Failure::Spoiled { rows }) => rows,
            other => panic!("{other:?}"),
        }
    }

    async fn run(&self, spoil: bool) -> Option<Failure> {
        let (stopped, mut failures) = unbounded_channel();
        let watched = Watched { spoil, stopped };
        let signal = Signal::in_process();
        let clock = SystemClock::shared();
        let subscription = Subscription::new(PATIENT_VIEW, "test", self.log.clone(), &signal, clock, watched);
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(subscription.run(shutdown.clone()));
        let head = self.log.head().await.unwrap().position;
        let failure = tokio::select! {
            () = wait_until(SOON, "the projection is at the head, or stopped", async || {
                self.checkpoint().await == head
            }) => None,
            // Wait for the second failure of a batch with a single event. It shows that the projection did
            // not skip the event after the first failure.
            failure = async {
                failures.recv().await;
                failures.recv().await
            } => failure,
        };
        shutdown.cancel();
        running.await.unwrap();
        failure
    }

    pub(crate) const fn log(&self) -> &EventLog {
        &self.log
    }

    /// Returns the projection, to run concurrently with other tasks.
    pub(crate) fn projector(&self) -> Subscription<Follower<PatientView>> {
        let (signal, clock) = (Signal::in_process(), SystemClock::shared());
        Subscription::new(
            PATIENT_VIEW,
            "projector",
            self.log.clone(),
            &signal,
            clock,
            Follower::default(),
        )
        .with_poll(Duration::from_millis(5))
    }

    /// Runs a statement.
    pub(crate) async fn execute(&self, sql: &str) {
        let mut connection = self.log.database().writer().await.unwrap();
        connection.query(sql).execute().await.unwrap();
    }

    pub(crate) async fn query(&self, sql: &str) -> Vec<Row> {
        let mut connection = self.log.database().reader().await.unwrap();
        connection.query(sql).fetch_all().await.unwrap()
    }

    /// Returns the position of the last event that the projection has processed.
    pub(crate) async fn checkpoint(&self) -> Position {
        let rows = self
            .query("SELECT position FROM checkpoints WHERE name = 'patient_view'")
            .await;
        rows.first()
            .map_or(Position::BEGINNING, |row| row.get(0).unwrap())
    }

    /// Returns the number of rows and the checkpoint, both from a single statement.
    pub(crate) async fn rows_and_checkpoint(&self) -> (i64, i64) {
        let sql = "SELECT (SELECT COUNT(*) FROM patient_view), \
                   COALESCE((SELECT position FROM checkpoints WHERE name = 'patient_view'), 0)";
        let rows = self.query(sql).await;
        (rows[0].get(0).unwrap(), rows[0].get(1).unwrap())
    }

    /// Returns the rows of the read table, in order of generation and id.
    pub(crate) async fn shown(&self) -> Vec<Shown> {
        let sql = "SELECT generation, id, name, email, phone, document_url, sequence, registered_at \
                   FROM patient_view ORDER BY generation, id";
        let shown = |row: &Row| Shown {
            generation: row.get(0).unwrap(),
            id: row.get(1).unwrap(),
            details: PatientDetails {
                name: row.get(2).unwrap(),
                email: row.get(3).unwrap(),
                phone: row.get(4).unwrap(),
                document_url: row.get(5).unwrap(),
            },
            sequence: row.get(6).unwrap(),
            registered_at: row.get(7).unwrap(),
        };
        self.query(sql).await.iter().map(shown).collect()
    }

    /// Returns the ids in the read table, in order.
    pub(crate) async fn ids(&self) -> Vec<String> {
        self.shown().await.into_iter().map(|row| row.id).collect()
    }

    /// Returns the time at which each event was recorded, in microseconds since 1970.
    pub(crate) async fn recorded_at(&self) -> Vec<i64> {
        let events = self.log.feed(Position::BEGINNING, 1000).await.unwrap();
        events.iter().map(|event| event.recorded_at.as_micros()).collect()
    }
}

/// The projection, with a channel that receives the failures of batches with a single event.
struct Watched {
    /// Whether a batch fails after it has been written.
    spoil: bool,
    stopped: UnboundedSender<Failure>,
}

#[derive(Debug)]
enum Failure {
    Projection(ProjectionError),
    Spoiled { rows: i64 },
}

#[derive(Debug, thiserror::Error)]
#[error("a batch failed")]
struct Failed;

impl Handler for Watched {
    type Error = Failed;

    async fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[RecordedEvent],
    ) -> Result<(), Failed> {
        let failure = match Follower::<PatientView>::default()
            .apply(transaction, events)
            .await
        {
            Ok(()) if !self.spoil => return Ok(()),
            Ok(()) => {
                let count = transaction.query("SELECT COUNT(*) FROM patient_view");
                let row = count.fetch_optional().await.unwrap().unwrap();
                Failure::Spoiled {
                    rows: row.get(0).unwrap(),
                }
            }
            Err(error) => Failure::Projection(error),
        };
        if events.len() == 1 {
            // The receiver is dropped once the test has received enough failures.
            let _ = self.stopped.send(failure);
        }
        Err(Failed)
    }
}

/// Returns details that differ for each patient.
pub(crate) fn details(id: &str) -> PatientDetails {
    PatientDetails {
        name: format!("Patient {id}"),
        email: format!("{id}@example.com"),
        phone: "+1-555-123-4567".into(),
        document_url: format!("https://example.com/{id}.jpg"),
    }
}
