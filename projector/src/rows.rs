//! Writing to a generation of the read table `patient_view`.

use std::collections::BTreeSet;

use eventstore::database::{in_list, padded};
use eventstore::{Position, RecordedEvent, Session, Transaction};

use crate::PATIENT_VIEW;
use crate::changes::{Changes, PatientRow, changes};
use crate::view::ProjectionError;

/// Maximum number of ids in one statement.
const IDS: usize = 1000;
const INSERT: &str = "INSERT INTO patient_view \
                      (generation, id, name_key, name, email, phone, document_url, sequence, registered_at) VALUES";

/// Applies `events` to the rows of `generation`.
pub(crate) async fn write(
    transaction: &mut Transaction<'_>,
    generation: i64,
    events: &[RecordedEvent],
) -> Result<(), ProjectionError> {
    let skipped = skipped(transaction, events).await?;
    let folded = changes(events.iter().filter(|event| !skipped.contains(&event.position)));
    let changes = folded.map_err(|(event, source)| ProjectionError::Unreadable {
        position: event.position,
        source,
    })?;
    write_changes(transaction, generation, &changes).await?;
    Ok(())
}

/// Writes changes that are already folded.
pub(crate) async fn write_changes(
    transaction: &mut Transaction<'_>,
    generation: i64,
    changes: &Changes,
) -> Result<(), eventstore::Error> {
    for ids in changes.deleted.chunks(IDS) {
        delete(transaction, generation, ids).await?;
    }
    insert(transaction, generation, &changes.inserted).await
}

/// Returns the positions among `events` that an operator has skipped.
pub(crate) async fn skipped(
    session: &mut impl Session,
    events: &[RecordedEvent],
) -> Result<BTreeSet<Position>, eventstore::Error> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Ok(BTreeSet::new());
    };
    session
        .query("SELECT position FROM projection_skips WHERE projection = ? AND position BETWEEN ? AND ?")
        .bind(PATIENT_VIEW)
        .bind(first.position)
        .bind(last.position)
        .fetch_all()
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect()
}

async fn delete(
    transaction: &mut Transaction<'_>,
    generation: i64,
    ids: &[String],
) -> Result<(), eventstore::Error> {
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
    // A plain INSERT fails on an existing row. An existing row would mean that an event was applied twice.
    let rows = rows.iter().map(|row| {
        [
            generation.into(),
            (&row.id).into(),
            (&row.name_key).into(),
            (&row.details.name).into(),
            (&row.details.email).into(),
            (&row.details.phone).into(),
            (&row.details.document_url).into(),
            row.sequence.cast_signed().into(),
            row.registered_at.into(),
        ]
    });
    transaction.insert(INSERT, rows).await
}
