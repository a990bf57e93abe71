//! Runs the worked examples of CONTRIBUTING.md: a new event version, a new projection, and a new column of
//! the read table.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failure fails the test")]

mod event_version;
mod new_column;
mod new_projection;

use std::sync::Arc;
use std::time::Duration;

use eventstore::projection::{Outcome, Requested, RunContext};
use eventstore::{
    Append, AppendQueue, Database, DatabaseOptions, EventLog, Handler, NewEvent, Position, Rebuild,
    Registered, Runner, Session, Signal, Subscription, SubscriptionStatus, SystemClock, Timestamp,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::wait_until;
use tokio_util::sync::CancellationToken;

/// A log with the service's schema.
struct Example {
    log: EventLog,
    appends: AppendQueue,
    _folder: TempDir,
}

impl Example {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("patients.db").display());
        let database = Database::connect(&url, DatabaseOptions::default()).await.unwrap();
        let clock = SystemClock::shared();
        migrations::migrate(&database, Arc::clone(&clock), "example")
            .await
            .unwrap();
        Self {
            log: EventLog::new(database.clone()),
            appends: AppendQueue::start(database, Signal::in_process(), clock, 16, 16),
            _folder: folder,
        }
    }

    async fn append(&self, id: &str, sequence: u64, event_type: &str, payload: Value) -> Position {
        self.append_version(id, sequence, (event_type, "1.0"), payload)
            .await
    }

    /// Appends an event of a type and version.
    async fn append_version(
        &self,
        id: &str,
        sequence: u64,
        (event_type, event_version): (&str, &str),
        payload: Value,
    ) -> Position {
        let event = NewEvent {
            aggregate_type: "patient".into(),
            aggregate_id: id.into(),
            sequence,
            event_type: event_type.into(),
            event_version: event_version.into(),
            payload,
            metadata: json!({}),
        };
        let append = Append::new(vec![event], Vec::new()).unwrap();
        self.appends.append(append).await.unwrap().last
    }

    async fn register(&self, id: &str) -> Position {
        let payload = json!({
            "type": "PatientRegistered", "name": "María", "email": format!("{id}@example.com"), "phone": "123-4567",
            "document_url": "https://photos.example.com/maria.jpg",
        });
        self.append(id, 1, "PatientRegistered", payload).await
    }

    async fn delete(&self, id: &str) -> Position {
        self.append(id, 2, "PatientDeleted", json!({ "type": "PatientDeleted" }))
            .await
    }

    /// Runs a handler as a subscription until it has processed all events.
    async fn run(&self, name: &str, handler: impl Handler) {
        let (signal, clock, stop) = (
            Signal::in_process(),
            SystemClock::shared(),
            CancellationToken::new(),
        );
        let subscription = Subscription::new(name, "example", self.log.clone(), &signal, clock, handler);
        let running = tokio::spawn(subscription.run(stop.clone()));
        self.wait_for(name).await;
        stop.cancel();
        running.await.unwrap();
    }

    /// Waits until a subscription has processed all events.
    async fn wait_for(&self, name: &str) {
        wait_until(Duration::from_secs(20), "all events are processed", async || {
            let status = SubscriptionStatus::of(self.log.database(), name, Timestamp::default())
                .await
                .unwrap();
            status.lag() == 0
        })
        .await;
    }

    /// Returns the context for running a projection.
    fn context(&self) -> RunContext {
        RunContext {
            log: self.log.clone(),
            signal: Signal::in_process(),
            clock: SystemClock::shared(),
            owner: "example".to_owned(),
            poll: Duration::from_millis(10),
            stop: CancellationToken::new(),
        }
    }

    /// Rebuilds a projection, like `patients projection rebuild`.
    async fn rebuild(&self, projection: &dyn Registered) {
        let (database, clock) = (self.log.database(), SystemClock::shared());
        let requested = Rebuild::request(
            database,
            projection.name(),
            Runner::Command,
            "example",
            clock.now(),
        );
        let Requested::New(rebuild) = requested.await.unwrap() else {
            panic!("another rebuild is unfinished");
        };
        let outcome = projection
            .rebuild(
                self.log.clone(),
                clock,
                "example".to_owned(),
                &rebuild,
                &CancellationToken::new(),
                &mut |_| {},
            )
            .await;
        assert_eq!(outcome.unwrap(), Outcome::Done);
    }

    async fn execute(&self, sql: &str) {
        let mut connection = self.log.database().writer().await.unwrap();
        connection.query(sql).execute().await.unwrap();
    }
}
