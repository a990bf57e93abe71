//! The list of patients, page by page. Concurrent reads of the same page share one statement.

use std::sync::Arc;

use bytes::Bytes;
use domain::NameQuery;
use eventstore::database::Row;
use eventstore::projection::UNFILLED;
use eventstore::{BatchWorker, Connection, Database, Error, Position, Result, Session, checkpoint};
use serde::Serialize;
use uuid::Uuid;

use super::ReadError;
use super::kept_connection::{KeptConnection, ReadQuery};
use super::names::{Matches, Search, SearchBounds};
use super::trust::{Built, Trusts};
use crate::PATIENT_VIEW;

/// Number of times that a search is tried without a snapshot, whose transaction takes two more round trips.
const ATTEMPTS: usize = 3;

/// A request for a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// Id after which the page begins; `None` for the first page.
    pub after: Option<Uuid>,
    /// Maximum number of patients on the page.
    pub limit: u32,
    /// If given, the page contains only the patients whose names match.
    pub name: Option<NameQuery>,
}

/// A page of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientPage {
    /// The patients, in order of id: a JSON array of objects with `id`, `name` and `email`.
    pub json: Bytes,
    /// Id after which the next page begins; `None` on the last page. If it is given, the page may still have
    /// fewer patients than requested, or none.
    pub next: Option<String>,
}

/// A patient in the list.
#[derive(Debug, Serialize)]
pub(crate) struct ListedPatient<'r> {
    pub(crate) id: &'r str,
    pub(crate) name: &'r str,
    pub(crate) email: &'r str,
}

pub(super) struct ListBatch {
    connection: KeptConnection,
    trusts: Trusts,
    bounds: SearchBounds,
}

impl ListBatch {
    pub(super) const fn new(database: Database, trusts: Trusts, bounds: SearchBounds) -> Self {
        Self {
            connection: KeptConnection::new(database),
            trusts,
            bounds,
        }
    }
}

type Answer = std::result::Result<PatientPage, ReadError>;

impl BatchWorker for ListBatch {
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
                    trusts: &self.trusts,
                    bounds: self.bounds,
                };
                match self.connection.read(&page).await {
                    Ok(page) => {
                        read.push((request, page.clone()));
                        Ok(page)
                    }
                    // The other pages do not need this table.
                    Err(error @ Error::NotFilled { .. }) => Err(error.into()),
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
    trusts: &'p Trusts,
    bounds: SearchBounds,
}

impl ReadQuery for Page<'_> {
    type Answer = PatientPage;

    async fn read(&self, connection: &mut Connection) -> Result<PatientPage> {
        let PageRequest { after, limit, name } = self.request;
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        match name {
            None => self.of_all(connection, &after, *limit).await,
            Some(query) => self.of_names(connection, query, &after, *limit).await,
        }
    }
}

impl Page<'_> {
    /// Returns a page of all patients.
    async fn of_all(&self, connection: &mut Connection, after: &str, limit: u32) -> Result<PatientPage> {
        // One extra row shows whether there is a next page.
        let mut rows = rows_after(connection, after, i64::from(limit) + 1).await?;
        let trust = &self.trusts.view;
        let built = rows.last().map(Built::of).transpose()?;
        let generation = built.map(|built| built.generation);
        trust.check_generation(connection, generation).await?;
        let doubtful = match built {
            Some(built) => trust.doubtful(connection, built).await?,
            None => Arc::default(),
        };
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
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
        Ok(PatientPage { json, next })
    }

    /// Returns a page of the patients whose names match.
    async fn of_names(
        &self,
        connection: &mut Connection,
        query: &NameQuery,
        after: &str,
        limit: u32,
    ) -> Result<PatientPage> {
        let search = Search {
            query,
            after,
            bounds: self.bounds,
            trusts: self.trusts,
        };
        let matches = found(&search, connection, limit as usize).await?;
        let doubtful = [
            self.trusts.view.doubtful(connection, matches.tables.view).await?,
            self.trusts
                .names
                .doubtful(connection, matches.tables.names)
                .await?,
        ];
        let patients: Vec<ListedPatient<'_>> = matches
            .patients
            .iter()
            .filter(|patient| {
                doubtful.iter().all(|doubtful| {
                    doubtful.is_empty()
                        || Uuid::try_parse(&patient.id).is_ok_and(|id| !doubtful.contains(&id))
                })
            })
            .map(|patient| ListedPatient {
                id: &patient.id,
                name: &patient.name,
                email: &patient.email,
            })
            .collect();
        let json = serde_json::to_vec(&patients)?.into();
        Ok(PatientPage {
            json,
            next: matches.through,
        })
    }
}

/// Returns at most `most` patients after the id `after`. [`Built`] reads the last two columns.
///
/// The generation and the checkpoint are joined, because in MySQL, subqueries for them take a tenth of the
/// time of the statement.
async fn rows_after(connection: &mut Connection, after: &str, most: i64) -> Result<Vec<Row>> {
    let sql = format!(
        "SELECT v.id, v.name, v.email, p.active_generation, COALESCE(c.position, 0) \
         FROM projections p LEFT JOIN checkpoints c ON c.name = p.name \
         JOIN patient_view v{} ON v.generation = p.active_generation WHERE p.name = ? \
         AND v.id > ? ORDER BY v.id LIMIT ?",
        connection.dialect().by_primary_key()
    );
    connection
        .query(&sql)
        .bind(PATIENT_VIEW)
        .bind(after)
        .bind(most)
        .fetch_all()
        .await
}

/// Returns the matches of a search. Under load, a projection may change its table between the statements of a
/// search. After some attempts, the search is therefore run in a snapshot.
async fn found(search: &Search<'_>, connection: &mut Connection, limit: usize) -> Result<Matches> {
    for _ in 0..ATTEMPTS {
        if let Some(matches) = search.matches(connection, limit).await? {
            return Ok(matches);
        }
    }
    let mut snapshot = connection.snapshot().await?;
    let matches = search.matches(&mut snapshot, limit).await?;
    snapshot.rollback().await?;
    matches.ok_or_else(|| Error::NoSuchGeneration {
        projection: search.trusts.names.projection().to_owned(),
        generation: search.trusts.names.known_generation(),
    })
}

/// Returns the position of a projection.
pub(super) async fn projected(database: &Database, projection: &str) -> Result<Position> {
    let mut connection = database.reader().await?;
    let row = connection
        .query(
            "SELECT COALESCE(c.position, 0), h.position, p.active_generation FROM log_head h \
             LEFT JOIN checkpoints c ON c.name = ? LEFT JOIN projections p ON p.name = ? WHERE h.id = 1",
        )
        .bind(projection)
        .bind(projection)
        .fetch_optional()
        .await?
        .ok_or(Error::MissingHead)?;
    if row.get::<Option<i64>, _>(2)? == Some(UNFILLED) {
        return Err(Error::NotFilled {
            projection: projection.to_owned(),
        });
    }
    let position = row.get(0)?;
    checkpoint::check(projection, position, row.get(1)?)?;
    Ok(position)
}
