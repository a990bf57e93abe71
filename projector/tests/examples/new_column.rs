//! Example of adding a column to the read table: the host of the URL of a patient's document.
//!
//! 1. A migration adds the column with a default (*expand*). Running programs of the old version, which do
//!    not use the column, continue to work.
//! 2. `PatientRow` in `changes.rs` gets a field for the value, and `insert` in `rows.rs` writes the value. In
//!    this example, [`NewView`] does both.
//! 3. Deploy the new program on every machine, and then run `patients projection rebuild`. The rebuild fills
//!    the column of the existing rows while the table is served.
//! 4. After the rebuild, release a version of the API that shows the column. A later release may drop the
//!    default (*contract*).

use domain::{PatientDetails, PatientEvent};
use eventstore::rebuild::lock_active_generation;
use eventstore::{Database, Handler, Position, RecordedEvent, Session, Transaction};
use projector::{PATIENT_VIEW, PatientView, ProjectionError};

use crate::Example;

/// Content of `migrations/sqlite/NNNN_document_host.sql`. In `migrations/mysql/`, the type is `VARCHAR(253)`.
const MIGRATION: &str = "ALTER TABLE patient_view ADD COLUMN document_host TEXT NOT NULL DEFAULT ''";

/// Returns the value of the column. The value depends only on the event, so a rebuild writes the same value.
fn document_host(details: &PatientDetails) -> &str {
    let after_scheme = details
        .document_url
        .split_once("://")
        .map_or("", |(_, rest)| rest);
    after_scheme
        .split(['/', ':', '?', '#'])
        .next()
        .unwrap_or_default()
}

/// The projection of the new program. The example omits deletions, because they do not change.
struct NewView;

impl Handler for NewView {
    type Error = ProjectionError;

    async fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[RecordedEvent],
    ) -> Result<(), ProjectionError> {
        let generation = lock_active_generation(transaction, PATIENT_VIEW)
            .await?
            .ok_or(ProjectionError::NoGeneration)?;
        write(transaction, generation, events).await
    }
}

/// Writes the rows. In the program, `rows.rs` does this for the projection and for rebuilds.
async fn write(
    transaction: &mut Transaction<'_>,
    generation: i64,
    events: &[RecordedEvent],
) -> Result<(), ProjectionError> {
    for event in events {
        let read = PatientEvent::from_stored(&event.event_type, &event.event_version, &event.payload);
        let read = read.map_err(|source| ProjectionError::Unreadable {
            position: event.position,
            source,
        })?;
        let Some(details) = read.into_details() else {
            continue;
        };
        transaction
            .query(
                "INSERT INTO patient_view (generation, id, name, email, phone, document_url, sequence, registered_at, \
                 document_host) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(generation)
            .bind(event.aggregate_id.as_str())
            .bind(details.name.as_str())
            .bind(details.email.as_str())
            .bind(details.phone.as_str())
            .bind(details.document_url.as_str())
            .bind(event.sequence.cast_signed())
            .bind(event.recorded_at)
            .bind(document_host(&details))
            .execute()
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_program_that_does_not_know_the_column_goes_on_and_one_that_does_fills_it() {
    let example = Example::new().await;
    example.register("a").await;
    example.run(PATIENT_VIEW, PatientView).await;
    let database = example.log.database();
    database
        .writer()
        .await
        .unwrap()
        .query(MIGRATION)
        .execute()
        .await
        .unwrap();
    // The old program uses the new schema.
    example.register("b").await;
    example.run(PATIENT_VIEW, PatientView).await;
    // The new program continues from the checkpoint of the old program.
    example.register("c").await;
    example.run(PATIENT_VIEW, NewView).await;
    assert_eq!(hosts(database, 1).await, ["", "", "photos.example.com"]);
    // Like a rebuild, fill the next generation from the first event.
    let events = example.log.feed(Position::BEGINNING, 100).await.unwrap();
    let mut transaction = database.begin().await.unwrap();
    write(&mut transaction, 2, &events).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(hosts(database, 2).await, ["photos.example.com"; 3]);
    assert_eq!(hosts(database, 1).await, ["", "", "photos.example.com"]);
}

/// Returns the values of the column in a generation, in order of patient id.
async fn hosts(database: &Database, generation: i64) -> Vec<String> {
    let mut connection = database.reader().await.unwrap();
    let rows = connection
        .query("SELECT document_host FROM patient_view WHERE generation = ? ORDER BY id")
        .bind(generation)
        .fetch_all()
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}
