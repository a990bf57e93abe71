use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::append::{Append, AppendQueue};
use crate::clock::SystemClock;
use crate::database::DatabaseOptions;
use crate::event::NewEvent;
use crate::schema;
use crate::signal::Signal;

/// Returns a log with one event that two subscriptions read.
async fn shared_log(folder: &TempDir) -> EventLog {
    let url = format!("sqlite://{}/log.db", folder.path().display());
    let database = Database::connect(&url, DatabaseOptions::default()).await.unwrap();
    schema::migrate(&database, SystemClock::shared(), "test", &[])
        .await
        .unwrap();
    let (signal, clock) = (Signal::in_process(), SystemClock::shared());
    let queue = AppendQueue::start(database.clone(), signal, clock, 16, 16);
    let event = NewEvent {
        aggregate_type: "counter".to_owned(),
        aggregate_id: "a".to_owned(),
        sequence: 1,
        event_type: "Counted".to_owned(),
        event_version: "1.0".to_owned(),
        payload: json!({}),
        metadata: json!({}),
    };
    queue
        .append(Append::new(vec![event], Vec::new()).unwrap())
        .await
        .unwrap();
    queue.shutdown().await;
    let log = EventLog::new(database);
    log.add_subscription();
    log.add_subscription();
    log
}

async fn event_type(log: &EventLog) -> String {
    let read = log.feed_for_subscription(Position::BEGINNING, 10, |_| true);
    let read = tokio::time::timeout(Duration::from_secs(20), read).await;
    let events = read.unwrap().unwrap();
    assert_eq!(events.len(), 1);
    events[0].event_type.clone()
}

#[tokio::test]
async fn a_read_that_hangs_does_not_stop_the_other_subscriptions() {
    let folder = TempDir::new().unwrap();
    let log = shared_log(&folder).await;
    let hanging = log.shared_reads.recent.lock().await;
    assert_eq!(event_type(&log).await, "Counted");
    drop(hanging);
}

#[tokio::test]
async fn after_a_failure_the_subscriptions_read_the_database_again() {
    let folder = TempDir::new().unwrap();
    let log = shared_log(&folder).await;
    assert_eq!(event_type(&log).await, "Counted");
    let mut writer = log.database().writer().await.unwrap();
    let repair = "UPDATE events SET event_type = 'Repaired'";
    writer.query(repair).execute().await.unwrap();
    drop(writer);
    log.forget_reads();
    assert_eq!(event_type(&log).await, "Repaired");
}
