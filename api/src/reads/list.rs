//! The list of patients.

use eventstore::{Database, Position, Result, Session};
use serde::Serialize;
use uuid::Uuid;

use super::PROJECTION;

/// A patient as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedPatient {
    /// The patient's id.
    pub id: String,
    /// The patient's name.
    pub name: String,
    /// The patient's email.
    pub email: String,
}

/// A page of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientPage {
    /// The patients, in the order of their ids.
    pub patients: Vec<ListedPatient>,
    /// The id after which the next page begins; nothing on the last page.
    pub next: Option<String>,
}

pub(super) async fn read(database: &Database, after: Option<Uuid>, limit: u32) -> Result<PatientPage> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let mut connection = database.reader().await?;
    let rows = connection
        .query(
            "SELECT id, name, email FROM patient_view \
             WHERE generation = (SELECT active_generation FROM projections WHERE name = ?) AND id > ? \
             ORDER BY id LIMIT ?",
        )
        .bind(PROJECTION)
        .bind(after)
        // One more than asked for tells whether there is a next page.
        .bind(i64::from(limit) + 1)
        .fetch_all()
        .await?;
    let mut patients = rows
        .iter()
        .map(|row| {
            Ok(ListedPatient {
                id: row.get(0)?,
                name: row.get(1)?,
                email: row.get(2)?,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let more = patients.len() > limit as usize;
    patients.truncate(limit as usize);
    let next = if more {
        patients.last().map(|patient| patient.id.clone())
    } else {
        None
    };
    Ok(PatientPage { patients, next })
}

/// How far the projection is.
pub(super) async fn projected(database: &Database) -> Result<Position> {
    let mut connection = database.reader().await?;
    let row = connection
        .query("SELECT position FROM checkpoints WHERE name = ?")
        .bind(PROJECTION)
        .fetch_optional()
        .await?;
    row.map_or(Ok(Position::BEGINNING), |row| row.get(0))
}
