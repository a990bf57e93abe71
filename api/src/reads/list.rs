//! The list of patients, page by page. Those who wait for the same page share one statement.

use axum::body::Bytes;
use eventstore::database::Row;
use eventstore::{Batch, Connection, Database, Position, Result, Session};
use serde::Serialize;
use uuid::Uuid;

use super::by_name::NameRange;
use super::kept::{KeptConnection, Read};
use super::{PROJECTION, ReadError};

/// Which page: the patients after an id, at most so many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// The id after which the page begins; without it, the first page.
    pub after: Option<Uuid>,
    /// The most patients on it.
    pub limit: u32,
    /// Only these, in the order of their names.
    pub named: Option<NameRange>,
}

/// A page of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientPage {
    /// The patients in their order: a JSON array of objects with `id`, `name` and `email`.
    pub json: Bytes,
    /// The id after which the next page begins; nothing on the last page.
    pub next: Option<String>,
}

/// A patient as the list shows it.
#[derive(Debug, Serialize)]
pub(crate) struct ListedPatient<'r> {
    pub(crate) id: &'r str,
    pub(crate) name: &'r str,
    pub(crate) email: &'r str,
}

pub(super) struct ListBatch {
    connection: KeptConnection,
}

impl ListBatch {
    pub(super) const fn new(database: Database) -> Self {
        Self {
            connection: KeptConnection::new(database),
        }
    }
}

type Answer = std::result::Result<PatientPage, ReadError>;

impl Batch for ListBatch {
    type Item = PageRequest;
    type Answer = Answer;

    async fn run(&mut self, requests: Vec<PageRequest>) -> Vec<Answer> {
        let mut read: Vec<(PageRequest, PatientPage)> = Vec::with_capacity(requests.len());
        let mut failed: Option<ReadError> = None;
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let answer = if let Some((_, page)) = read.iter().find(|(known, _)| *known == request) {
                Ok(page.clone())
            } else if let Some(error) = &failed {
                // A database that is away is not waited for again and again.
                Err(error.clone())
            } else {
                match self.connection.read(&request).await {
                    Ok(Some(page)) => {
                        read.push((request, page.clone()));
                        Ok(page)
                    }
                    Ok(None) => Err(ReadError::RebuildNeeded),
                    Err(error) => Err(failed.insert(error.into()).clone()),
                }
            };
            answers.push(answer);
        }
        answers
    }
}

impl Read for PageRequest {
    /// Nothing if the names cannot be searched yet.
    type Answer = Option<PatientPage>;

    async fn read(&self, connection: &mut Connection) -> Result<Option<PatientPage>> {
        // One more than asked for tells whether there is a next page.
        let most = i64::from(self.limit) + 1;
        let after = self.after.map(|id| id.to_string()).unwrap_or_default();
        let mut rows = match &self.named {
            None => of_all(connection, &after, most).await?,
            Some(range) => match range.rows(connection, &after, most).await? {
                Some(rows) => rows,
                None => return Ok(None),
            },
        };
        let more = rows.len() > self.limit as usize;
        rows.truncate(self.limit as usize);
        let patients = rows
            .iter()
            .map(|row| {
                Ok(ListedPatient {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    email: row.get(2)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let next = if more {
            patients.last().map(|patient| patient.id.to_owned())
        } else {
            None
        };
        let json = serde_json::to_vec(&patients)?.into();
        Ok(Some(PatientPage { json, next }))
    }
}

/// At most so many patients after an id.
async fn of_all(connection: &mut Connection, after: &str, most: i64) -> Result<Vec<Row>> {
    let sql = format!(
        "SELECT id, name, email FROM patient_view{} \
         WHERE generation = (SELECT active_generation FROM projections WHERE name = ?) AND id > ? \
         ORDER BY id LIMIT ?",
        connection.dialect().by_primary_key()
    );
    connection
        .query(&sql)
        .bind(PROJECTION)
        .bind(after)
        .bind(most)
        .fetch_all()
        .await
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
