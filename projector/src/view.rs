//! The projection itself.

use domain::StoredEventError;
use eventstore::database::{in_list, padded, values_list};
use eventstore::{Handler, Position, RecordedEvent, Session, Transaction};

use crate::PATIENT_VIEW;
use crate::changes::{Changes, PatientRow, changes};

/// Why an event could not be projected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// The event at that position is not one that this program can read.
    #[error("position {position}: {source}")]
    Unreadable {
        /// Where it is.
        position: Position,
        /// What is wrong with it.
        source: StoredEventError,
    },
    /// The row of `projections` is missing: the schema has not been migrated.
    #[error("projections has no row for {PATIENT_VIEW}; run the migrations")]
    NoGeneration,
    /// The read table could not be written.
    #[error(transparent)]
    Store(#[from] eventstore::Error),
}

/// Keeps the active generation of `patient_view` up to date.
#[derive(Debug, Clone, Copy, Default)]
pub struct PatientView;

impl Handler for PatientView {
    type Error = ProjectionError;

    async fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[RecordedEvent],
    ) -> Result<(), ProjectionError> {
        let Changes { deleted, inserted } =
            changes(events).map_err(|(event, source)| ProjectionError::Unreadable {
                position: event.position,
                source,
            })?;
        let generation = lock_active_generation(transaction).await?;
        delete(transaction, generation, &deleted).await?;
        insert(transaction, generation, &inserted).await?;
        Ok(())
    }
}

async fn lock_active_generation(transaction: &mut Transaction<'_>) -> Result<i64, ProjectionError> {
    let sql = format!(
        "SELECT active_generation FROM projections WHERE name = ?{}",
        transaction.dialect().for_update()
    );
    let row = transaction
        .query(&sql)
        .bind(PATIENT_VIEW)
        .fetch_optional()
        .await?;
    Ok(row.ok_or(ProjectionError::NoGeneration)?.get(0)?)
}

async fn delete(
    transaction: &mut Transaction<'_>,
    generation: i64,
    ids: &[String],
) -> Result<(), eventstore::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let sql = format!(
        "DELETE FROM patient_view WHERE generation = ? AND id IN ({})",
        in_list(ids.len())
    );
    transaction
        .query(&sql)
        .bind(generation)
        .bind_all(padded(&ids))
        .execute()
        .await?;
    Ok(())
}

async fn insert(
    transaction: &mut Transaction<'_>,
    generation: i64,
    rows: &[PatientRow],
) -> Result<(), eventstore::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    // A plain INSERT: a row that is there already would mean an event applied twice, and must not pass unseen.
    let sql = format!(
        "INSERT INTO patient_view (generation, id, name, email, phone, document_url, sequence, registered_at) \
         VALUES {}",
        values_list(rows.len(), 8)
    );
    rows.iter()
        .fold(transaction.query(&sql), |query, row| {
            query
                .bind(generation)
                .bind(row.id.as_str())
                .bind(row.details.name.as_str())
                .bind(row.details.email.as_str())
                .bind(row.details.phone.as_str())
                .bind(row.details.document_url.as_str())
                .bind(row.sequence.cast_signed())
                .bind(row.registered_at)
        })
        .execute()
        .await?;
    Ok(())
}
