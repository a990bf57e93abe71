//! The projection `patient_view`: one row per active patient.

use domain::{PatientDetails, mailbox_key, name_key};
use eventstore::database::{in_list, padded};
use eventstore::{Connection, Projection, Result, Row, Session, Timestamp, Transaction};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::record::PatientRecord;

/// Name of the projection, its subscription, its checkpoint and its table.
pub const PATIENT_VIEW: &str = "patient_view";

const INSERT: &str = "INSERT INTO patient_view \
                      (generation, id, name_key, name, email, phone, document_url, sequence, registered_at, mailbox_hash) VALUES";

/// The table with the details of active patients.
#[derive(Debug, Clone, Copy, Default)]
pub struct PatientView;

/// A row of `patient_view`, without its generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PatientRow {
    /// The patient's id.
    pub id: String,
    /// Key of the patient's name. Only version 0.1 reads this column, for example during an upgrade to this
    /// version.
    pub name_key: String,
    /// The patient's details.
    pub details: PatientDetails,
    /// Sequence of the patient's last event.
    pub sequence: u64,
    /// When the patient was registered.
    pub registered_at: Timestamp,
    /// Hash of the email address; `None` in rows from before migration 13.
    pub mailbox_hash: Option<i64>,
}

/// Returns the search key of an email address in the table: the first 8 bytes of the SHA-256 hash of the
/// [`mailbox_key`]. Different addresses can have the same hash, so readers compare the addresses.
pub(crate) fn mailbox_hash(email: &str) -> i64 {
    let hash = Sha256::digest(mailbox_key(email));
    let (first, _) = hash.split_first_chunk().unwrap_or((&[0; 8], &[]));
    i64::from_be_bytes(*first)
}

impl Projection for PatientView {
    const NAME: &'static str = PATIENT_VIEW;

    type State = PatientRecord;
    type Row = PatientRow;

    fn row(id: &str, record: PatientRecord) -> PatientRow {
        PatientRow {
            id: id.to_owned(),
            name_key: name_key(&record.details.name),
            mailbox_hash: Some(mailbox_hash(&record.details.email)),
            details: record.details,
            sequence: record.sequence,
            registered_at: record.registered_at,
        }
    }

    fn aggregate_id(row: &PatientRow) -> &str {
        &row.id
    }

    async fn delete(transaction: &mut Transaction<'_>, generation: i64, ids: &[String]) -> Result<()> {
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

    async fn insert(transaction: &mut Transaction<'_>, generation: i64, rows: &[PatientRow]) -> Result<()> {
        // A plain INSERT fails on an existing row, which would mean that an event was applied twice.
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
                row.mailbox_hash.into(),
            ]
        });
        transaction.insert(INSERT, rows).await
    }

    async fn has_rows(connection: &mut Connection, generation: i64, id: &str) -> Result<bool> {
        let row = connection
            .query("SELECT 1 FROM patient_view WHERE generation = ? AND id = ? LIMIT 1")
            .bind(generation)
            .bind(id)
            .fetch_optional()
            .await?;
        Ok(row.is_some())
    }

    async fn delete_some(connection: &mut Connection, generation: i64, limit: u32) -> Result<u64> {
        let sql = format!(
            "SELECT MAX(id) FROM (SELECT id FROM patient_view{} WHERE generation = ? ORDER BY id LIMIT ?) AS some_rows",
            connection.dialect().by_primary_key()
        );
        let last = connection
            .query(&sql)
            .bind(generation)
            .bind(i64::from(limit))
            .fetch_optional()
            .await?;
        let last: Option<String> = last.map(|row| row.get(0)).transpose()?.flatten();
        let Some(last) = last else { return Ok(0) };
        connection
            .query("DELETE FROM patient_view WHERE generation = ? AND id <= ?")
            .bind(generation)
            .bind(last)
            .execute()
            .await
    }

    async fn page(
        transaction: &mut Transaction<'_>,
        generation: i64,
        after: &str,
        limit: u32,
    ) -> Result<Vec<PatientRow>> {
        // sqlx decodes a column with a binary collation only as bytes.
        let sql = format!(
            "SELECT id, name, email, phone, document_url, sequence, registered_at, CAST(name_key AS CHAR), mailbox_hash \
             FROM patient_view{} WHERE generation = ? AND id > ? ORDER BY id LIMIT ?",
            transaction.dialect().by_primary_key()
        );
        let rows = transaction
            .query(&sql)
            .bind(generation)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all()
            .await?;
        rows.iter().map(PatientRow::read).collect()
    }
}

impl PatientRow {
    fn read(row: &Row) -> Result<Self> {
        let sequence: i64 = row.get(5)?;
        Ok(Self {
            id: row.get(0)?,
            name_key: row.get(7)?,
            details: PatientDetails {
                name: row.get(1)?,
                email: row.get(2)?,
                phone: row.get(3)?,
                document_url: row.get(4)?,
            },
            sequence: sequence.unsigned_abs(),
            registered_at: row.get(6)?,
            mailbox_hash: row.get(8)?,
        })
    }
}
