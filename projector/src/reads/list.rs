//! The list of patients, page by page. Concurrent reads of the same page share one statement.

use std::sync::Arc;

use bytes::Bytes;
use eventstore::database::Row;
use eventstore::{Batch, Connection, Database, Error, Position, Result, Session, checkpoint};
use serde::Serialize;
use uuid::Uuid;

use super::ReadError;
use super::by_name::NameRange;
use super::kept::{KeptConnection, Read};
use super::trust::{Built, Trust};
use crate::PATIENT_VIEW;

/// A request for a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// Id after which the page begins; `None` for the first page.
    pub after: Option<Uuid>,
    /// Maximum number of patients on the page.
    pub limit: u32,
    /// Range of names. If given, the page contains only these patients, ordered by name.
    pub named: Option<NameRange>,
}

/// A page of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientPage {
    /// The patients, in order: a JSON array of objects with `id`, `name` and `email`.
    pub json: Bytes,
    /// Id after which the next page begins; `None` on the last page.
    pub next: Option<String>,
}

/// A patient in the list.
#[derive(Debug, Serialize)]
pub(crate) struct ListedPatient<'r> {
    pub(crate) id: &'r str,
    pub(crate) name: &'r str,
    pub(crate) email: &'r str,
}

/// Returns the beginning of a page's statement, which binds the projection. [`Trust`] needs the last two
/// columns.
///
/// The generation and the checkpoint are joined, because in MySQL, subqueries for them take a tenth of the
/// time of the statement. `index` is a suffix of the table name.
pub(super) fn page_of(index: &str) -> String {
    format!(
        "SELECT v.id, v.name, v.email, p.active_generation, COALESCE(c.position, 0) \
         FROM projections p LEFT JOIN checkpoints c ON c.name = p.name \
         JOIN patient_view v{index} ON v.generation = p.active_generation WHERE p.name = ?"
    )
}

pub(super) struct ListBatch {
    connection: KeptConnection,
    trust: Arc<Trust>,
}

impl ListBatch {
    pub(super) const fn new(database: Database, trust: Arc<Trust>) -> Self {
        Self {
            connection: KeptConnection::new(database),
            trust,
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
                // Without this check, every page would wait for an unavailable database again.
                Err(error.clone())
            } else {
                let page = Page {
                    request: &request,
                    trust: &self.trust,
                };
                match self.connection.read(&page).await {
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

impl Built {
    /// Reads the checkpoint and the generation from the columns that follow the patient's columns.
    fn of(row: &Row) -> Result<Self> {
        Ok(Self {
            generation: row.get(3)?,
            checkpoint: row.get(4)?,
        })
    }
}

/// A page to read.
struct Page<'p> {
    request: &'p PageRequest,
    trust: &'p Trust,
}

impl Read for Page<'_> {
    /// `None` if the names cannot be searched yet.
    type Answer = Option<PatientPage>;

    async fn read(&self, connection: &mut Connection) -> Result<Option<PatientPage>> {
        let PageRequest { after, limit, named } = self.request;
        // One extra row shows whether there is a next page.
        let most = i64::from(*limit) + 1;
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let mut rows = match named {
            None => of_all(connection, &after, most).await?,
            Some(range) => match range.rows(connection, &after, most).await? {
                Some(rows) => rows,
                None => return Ok(None),
            },
        };
        // A page by name may take two statements. The skips that concern the rows of the second statement
        // include the skips that concern the rows of the first.
        let built = rows.last().map(Built::of).transpose()?;
        let generation = built.map(|built| built.generation);
        self.trust.check_generation(connection, generation).await?;
        let doubtful = match built {
            Some(built) => self.trust.doubtful(connection, built).await?,
            None => Arc::default(),
        };
        let more = rows.len() > *limit as usize;
        rows.truncate(*limit as usize);
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
        let next = if more {
            patients.last().map(|patient| patient.id.to_owned())
        } else {
            None
        };
        // These rows may be wrong, and may show a deleted patient. A read by id reports the reason.
        if !doubtful.is_empty() {
            patients.retain(|patient| Uuid::try_parse(patient.id).is_ok_and(|id| !doubtful.contains(&id)));
        }
        let json = serde_json::to_vec(&patients)?.into();
        Ok(Some(PatientPage { json, next }))
    }
}

/// Returns at most `most` patients after the id `after`.
async fn of_all(connection: &mut Connection, after: &str, most: i64) -> Result<Vec<Row>> {
    let page = page_of(connection.dialect().by_primary_key());
    let sql = format!("{page} AND v.id > ? ORDER BY v.id LIMIT ?");
    connection
        .query(&sql)
        .bind(PATIENT_VIEW)
        .bind(after)
        .bind(most)
        .fetch_all()
        .await
}

/// Returns the position of the projection.
pub(super) async fn projected(database: &Database) -> Result<Position> {
    let mut connection = database.reader().await?;
    let row = connection
        .query(
            "SELECT COALESCE(c.position, 0), h.position FROM log_head h LEFT JOIN checkpoints c ON c.name = ? \
             WHERE h.id = 1",
        )
        .bind(PATIENT_VIEW)
        .fetch_optional()
        .await?
        .ok_or(Error::NoHead)?;
    let position = row.get(0)?;
    checkpoint::check(PATIENT_VIEW, position, row.get(1)?)?;
    Ok(position)
}
