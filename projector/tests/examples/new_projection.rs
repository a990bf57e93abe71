//! Example of adding a projection: the number of patients registered on each day.

use std::collections::BTreeMap;

use eventstore::{Dialect, Handler, RecordedEvent, Session, Transaction};

use crate::Example;

/// Content of the migration `migrations/*/NNNN_registrations_by_day.sql`. It is the same in both dialects.
const MIGRATION: &str = "CREATE TABLE IF NOT EXISTS registrations_by_day (day BIGINT NOT NULL PRIMARY KEY, registrations BIGINT NOT NULL)";

/// Name of the subscription, the checkpoint and the table.
const NAME: &str = "registrations_by_day";

const MICROS_A_DAY: i64 = 86_400_000_000;

/// Counts the registrations of each day, in UTC.
struct RegistrationsByDay;

impl Handler for RegistrationsByDay {
    type Error = eventstore::Error;

    async fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[RecordedEvent],
    ) -> Result<(), eventstore::Error> {
        // Fold the events of a batch first, so that the number of statements depends on the number of days
        // and not on the number of events.
        let mut days: BTreeMap<i64, i64> = BTreeMap::new();
        for event in events {
            if event.aggregate_type == "patient" && event.event_type == "PatientRegistered" {
                *days
                    .entry(event.recorded_at.as_micros() / MICROS_A_DAY)
                    .or_default() += 1;
            }
        }
        let sql = match transaction.dialect() {
            Dialect::MySql => {
                "INSERT INTO registrations_by_day (day, registrations) VALUES (?, ?) \
                 ON DUPLICATE KEY UPDATE registrations = registrations + VALUES(registrations)"
            }
            Dialect::Sqlite => {
                "INSERT INTO registrations_by_day (day, registrations) VALUES (?, ?) \
                 ON CONFLICT (day) DO UPDATE SET registrations = registrations + excluded.registrations"
            }
        };
        for (day, registrations) in days {
            transaction
                .query(sql)
                .bind(day)
                .bind(registrations)
                .execute()
                .await?;
        }
        // The handler does not move the checkpoint. The subscription moves it in the same transaction.
        Ok(())
    }
}

#[tokio::test]
async fn each_registration_is_counted_once_however_often_the_projection_is_started() {
    let example = Example::new().await;
    let database = example.log.database();
    database
        .writer()
        .await
        .unwrap()
        .query(MIGRATION)
        .execute()
        .await
        .unwrap();
    for id in ["a", "b"] {
        example.register(id).await;
    }
    example.delete("a").await;
    example.run(NAME, RegistrationsByDay).await;
    example.register("c").await;
    example.run(NAME, RegistrationsByDay).await;
    let sql = "SELECT SUM(registrations) FROM registrations_by_day";
    let rows = database
        .reader()
        .await
        .unwrap()
        .query(sql)
        .fetch_all()
        .await
        .unwrap();
    assert_eq!(rows[0].get::<i64, _>(0).unwrap(), 3);
    // Operators see the projection in the list of subscriptions without any further code.
    let all = eventstore::overview(database, eventstore::Timestamp::default())
        .await
        .unwrap();
    assert!(
        all.iter()
            .any(|followed| followed.name == NAME && followed.lag_events == 0)
    );
}
