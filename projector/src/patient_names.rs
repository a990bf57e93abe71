//! The projection `patient_names`: the search words of the name of each active patient.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::name_words;
use eventstore::database::{in_list, padded};
use eventstore::{Connection, Dialect, Projection, Result, Session, Transaction};
use serde::Serialize;

use crate::record::PatientRecord;

/// Name of the projection, its subscription, its checkpoint and its table.
pub const PATIENT_NAMES: &str = "patient_names";

const INSERT: &str = "INSERT INTO patient_names (generation, word, id) VALUES";

/// Smallest number of database rows in a page. It exceeds the maximum number of words of a name.
const SMALLEST_PAGE: u32 = 64;

/// The table with the search words of active patients.
#[derive(Debug, Clone, Copy, Default)]
pub struct PatientNames;

/// The rows of a patient in `patient_names`, without their generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NameRow {
    /// The patient's id.
    pub id: String,
    /// [Search words](name_words) of the patient's name. Each word is one database row.
    pub words: BTreeSet<String>,
}

/// Returns the suffix of the table name that makes a query read in order of id.
pub(crate) const fn by_id(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => " FORCE INDEX (patient_names_id)",
        Dialect::Sqlite => "",
    }
}

impl Projection for PatientNames {
    const NAME: &'static str = PATIENT_NAMES;
    // Searches by name may lag slightly behind the list. Fewer transactions leave more disk capacity to the
    // appends.
    const GATHER: Duration = Duration::from_millis(100);

    type State = PatientRecord;
    type Row = NameRow;

    fn row(id: &str, record: PatientRecord) -> NameRow {
        NameRow {
            id: id.to_owned(),
            words: name_words(&record.details.name),
        }
    }

    fn aggregate_id(row: &NameRow) -> &str {
        &row.id
    }

    async fn delete(transaction: &mut Transaction<'_>, generation: i64, ids: &[String]) -> Result<()> {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let sql = format!(
            "DELETE FROM patient_names WHERE generation = ? AND id IN ({})",
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

    async fn insert(transaction: &mut Transaction<'_>, generation: i64, rows: &[NameRow]) -> Result<()> {
        // A plain INSERT fails on an existing row, which would mean that an event was applied twice.
        let words = rows
            .iter()
            .flat_map(|row| row.words.iter().map(|word| (word.as_str(), row.id.as_str())))
            .collect::<Vec<(&str, &str)>>();
        let rows = words
            .into_iter()
            .map(|(word, id)| [generation.into(), word.into(), id.into()]);
        transaction.insert(INSERT, rows).await
    }

    async fn has_rows(connection: &mut Connection, generation: i64, id: &str) -> Result<bool> {
        let row = connection
            .query("SELECT 1 FROM patient_names WHERE generation = ? AND id = ? LIMIT 1")
            .bind(generation)
            .bind(id)
            .fetch_optional()
            .await?;
        Ok(row.is_some())
    }

    async fn delete_some(connection: &mut Connection, generation: i64, limit: u32) -> Result<u64> {
        let sql = format!(
            "SELECT MAX(id) FROM (SELECT id FROM patient_names{} WHERE generation = ? ORDER BY id LIMIT ?) AS some_rows",
            by_id(connection.dialect())
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
            .query("DELETE FROM patient_names WHERE generation = ? AND id <= ?")
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
    ) -> Result<Vec<NameRow>> {
        let most = limit.max(SMALLEST_PAGE);
        // sqlx decodes a column with a binary collation only as bytes.
        let sql = format!(
            "SELECT id, CAST(word AS CHAR) FROM patient_names{} WHERE generation = ? AND id > ? ORDER BY id LIMIT ?",
            by_id(transaction.dialect())
        );
        let rows = transaction
            .query(&sql)
            .bind(generation)
            .bind(after)
            .bind(i64::from(most))
            .fetch_all()
            .await?;
        let full = rows.len() >= most as usize;
        let mut patients: Vec<NameRow> = Vec::new();
        for row in &rows {
            let (id, word): (String, String) = (row.get(0)?, row.get(1)?);
            match patients.last_mut() {
                Some(patient) if patient.id == id => {
                    patient.words.insert(word);
                }
                _ => patients.push(NameRow {
                    id,
                    words: BTreeSet::from([word]),
                }),
            }
        }
        // The page may end within the words of its last patient. A single patient with a whole page of words
        // differs from the log in any case.
        if full && patients.len() > 1 {
            patients.pop();
        }
        patients.truncate(limit as usize);
        Ok(patients)
    }
}
