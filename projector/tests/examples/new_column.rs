//! Example of adding a column to the read table: the host of the URL of a patient's document.
//!
//! 1. A migration adds the column with a default (*expand*). Running programs of the old version, which do
//!    not use the column, continue to work.
//! 2. `PatientRow` in `patient_view.rs` gets a field for the value, and `insert` writes the value. In this
//!    example, [`NewView`] writes it.
//! 3. Deploy the new program on every machine, and then run `patients projection rebuild`. The rebuild fills
//!    the column of the existing rows while the table is served.
//! 4. After the rebuild, release a version of the API that shows the column. A later release may drop the
//!    default (*contract*).

use domain::PatientDetails;
use eventstore::projection::Follower;
use eventstore::{Connection, Database, Projection, Result, Session, Transaction};
use projector::record::PatientRecord;
use projector::{PATIENT_VIEW, PatientRow, PatientView};

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

/// The projection of the new program.
struct NewView;

impl Projection for NewView {
    const NAME: &'static str = PATIENT_VIEW;

    type State = PatientRecord;
    type Row = PatientRow;

    fn row(id: &str, record: PatientRecord) -> PatientRow {
        PatientView::row(id, record)
    }

    fn aggregate_id(row: &PatientRow) -> &str {
        PatientView::aggregate_id(row)
    }

    async fn delete(transaction: &mut Transaction<'_>, generation: i64, ids: &[String]) -> Result<()> {
        PatientView::delete(transaction, generation, ids).await
    }

    async fn insert(transaction: &mut Transaction<'_>, generation: i64, rows: &[PatientRow]) -> Result<()> {
        PatientView::insert(transaction, generation, rows).await?;
        for row in rows {
            transaction
                .query("UPDATE patient_view SET document_host = ? WHERE generation = ? AND id = ?")
                .bind(document_host(&row.details))
                .bind(generation)
                .bind(row.id.as_str())
                .execute()
                .await?;
        }
        Ok(())
    }

    async fn has_rows(connection: &mut Connection, generation: i64, id: &str) -> Result<bool> {
        PatientView::has_rows(connection, generation, id).await
    }

    async fn delete_some(connection: &mut Connection, generation: i64, limit: u32) -> Result<u64> {
        PatientView::delete_some(connection, generation, limit).await
    }

    async fn page(
        transaction: &mut Transaction<'_>,
        generation: i64,
        after: &str,
        limit: u32,
    ) -> Result<Vec<PatientRow>> {
        PatientView::page(transaction, generation, after, limit).await
    }
}

#[tokio::test]
async fn a_program_that_does_not_know_the_column_goes_on_and_one_that_does_fills_it() {
    let example = Example::new().await;
    example.register("a").await;
    example
        .run(PATIENT_VIEW, Follower::<PatientView>::default())
        .await;
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
    example
        .run(PATIENT_VIEW, Follower::<PatientView>::default())
        .await;
    // The new program continues from the checkpoint of the old program.
    example.register("c").await;
    example.run(PATIENT_VIEW, Follower::<NewView>::default()).await;
    assert_eq!(hosts(database, 1).await, ["", "", "photos.example.com"]);
    example.rebuild(&NewView).await;
    assert_eq!(hosts(database, 2).await, ["photos.example.com"; 3]);
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
