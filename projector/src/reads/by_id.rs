//! Reads by id, answered together.
//!
//! One statement returns the rows of all ids, the projection's checkpoint and the log's head. A statement
//! sees a single point in time. If the checkpoint is at the head, the rows are complete and no further read
//! is needed. Otherwise, the events after the checkpoint are read from the log.
//!
//! The statement also reads whether the server accepts writes. The connection is kept, so it may lead to an
//! old primary after a switch of the database server. Such a server is read-only, and its rows are not used.
//!
//! A patient without a row is always looked up in the log, because only the log distinguishes a deleted
//! patient from an unknown id. A patient with an event that the projection skips is also looked up in the
//! log, because the row does not include that event.

use std::collections::HashMap;
use std::sync::Arc;

use cqrs_es::Aggregate;
use domain::{Patient, PatientDetails, PatientEvent, evolve};
use eventstore::database::{in_list, padded};
use eventstore::{
    BatchWorker, Connection, Database, Error, EventLog, Position, RecordedEvent, Session, checkpoint,
};
use uuid::Uuid;

use super::kept_connection::{KeptConnection, ReadQuery};
use super::trust::{Built, Trust};
use super::{Found, ReadError};
use crate::PATIENT_VIEW;

pub(super) struct PatientBatch {
    connection: KeptConnection,
    trust: Arc<Trust>,
}

impl PatientBatch {
    pub(super) const fn new(database: Database, trust: Arc<Trust>) -> Self {
        Self {
            connection: KeptConnection::new(database),
            trust,
        }
    }
}

/// The patients to read.
struct Patients<'p> {
    ids: &'p [Uuid],
    trust: &'p Trust,
}

type Answers = HashMap<Uuid, Result<Found, ReadError>>;

impl BatchWorker for PatientBatch {
    type Item = Uuid;
    type Answer = Result<Found, ReadError>;

    async fn run(&mut self, ids: Vec<Uuid>) -> Vec<Self::Answer> {
        let patients = Patients {
            ids: &ids,
            trust: &self.trust,
        };
        match self.connection.read(&patients).await {
            Ok(answers) => ids
                .iter()
                .map(|id| answers.get(id).cloned().unwrap_or(Ok(Found::Nothing)))
                .collect(),
            Err(error) => {
                let error = ReadError::from(error);
                vec![Err(error); ids.len()]
            }
        }
    }
}

impl ReadQuery for Patients<'_> {
    type Answer = Answers;

    async fn read(&self, connection: &mut Connection) -> Result<Answers, Error> {
        let keys: Vec<String> = self.ids.iter().map(Uuid::to_string).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let Rows {
            mut answers,
            built,
            head,
        } = rows(connection, &keys).await?;
        let doubtful = self.trust.doubtful(connection, built).await?;
        let checkpoint = built.checkpoint;
        // If the checkpoint is invalid, no row can be trusted.
        let checkpoint =
            checkpoint::check(PATIENT_VIEW, checkpoint, head).map_or(Position::BEGINNING, |()| checkpoint);

        let (mut present, mut whole) = (Vec::with_capacity(keys.len()), Vec::new());
        for (id, key) in self.ids.iter().zip(keys) {
            if answers.contains_key(id) && !doubtful.contains(id) {
                present.push(key);
            } else {
                whole.push(key);
            }
        }
        let mut events = EventLog::events_of(connection, Patient::TYPE, &whole, Position::BEGINNING).await?;
        if checkpoint < head {
            events.extend(EventLog::events_of(connection, Patient::TYPE, &present, checkpoint).await?);
        }
        apply(&mut answers, events);
        Ok(answers)
    }
}

/// Result of one statement, at a single point in time.
struct Rows {
    /// The projected rows by id.
    answers: Answers,
    /// Checkpoint and generation of the rows.
    built: Built,
    /// Position of the log's head.
    head: Position,
}

async fn rows(connection: &mut Connection, keys: &[&str]) -> Result<Rows, Error> {
    let sql = format!(
        "SELECT h.position, COALESCE(c.position, 0), v.id, v.name, v.email, v.phone, v.document_url, v.sequence, \
         p.active_generation, CAST({} AS SIGNED) \
         FROM log_head h \
         JOIN projections p ON p.name = ? \
         LEFT JOIN checkpoints c ON c.name = p.name \
         LEFT JOIN patient_view v ON v.generation = p.active_generation AND v.id IN ({}) \
         WHERE h.id = 1",
        connection.dialect().is_read_only(),
        in_list(keys.len())
    );
    let rows = connection
        .query(&sql)
        .bind(PATIENT_VIEW)
        .bind_all(padded(keys))
        .fetch_all()
        .await?;
    let first = rows.first().ok_or(Error::MissingHead)?;
    connection.check_read_only(first.get(9)?)?;
    let head = first.get(0)?;
    let built = Built {
        checkpoint: first.get(1)?,
        generation: first.get(8)?,
    };
    let mut answers = Answers::with_capacity(rows.len());
    for row in &rows {
        let Some(id) = row.get::<Option<&str>, _>(2)?.and_then(parse) else {
            continue;
        };
        let sequence: i64 = row.get(7)?;
        let details = PatientDetails {
            name: row.get(3)?,
            email: row.get(4)?,
            phone: row.get(5)?,
            document_url: row.get(6)?,
        };
        let found = Found::Active(Arc::new(details), sequence.unsigned_abs());
        answers.insert(id, Ok(found));
    }
    Ok(Rows { answers, built, head })
}

/// Parses an id. The rows contain only ids from the statement, so other text can be ignored.
fn parse(id: &str) -> Option<Uuid> {
    Uuid::try_parse(id).ok()
}

/// Applies the events that the rows do not include. A row may be newer than the checkpoint that was read with
/// it, so events that the row already includes are skipped.
fn apply(answers: &mut Answers, events: Vec<RecordedEvent>) {
    for event in events {
        // MySQL ignores the case of an id, and spaces at its end.
        let Some(id) = parse(event.aggregate_id.trim_end()) else {
            continue;
        };
        let mut spelled = Uuid::encode_buffer();
        if *id.hyphenated().encode_lower(&mut spelled) != *event.aggregate_id {
            let damage = Error::Damaged {
                position: event.position,
                what: "its aggregate id has uppercase letters or a trailing space",
            };
            answers.insert(id, Err(damage.into()));
            continue;
        }
        match answers.get(&id) {
            Some(Ok(Found::Active(_, sequence))) if *sequence >= event.sequence => continue,
            // The state after an unreadable event is unknown.
            Some(Err(_)) => continue,
            _ => {}
        }
        let before = match answers.remove(&id) {
            Some(Ok(Found::Active(details, _))) => Some(Arc::unwrap_or_clone(details)),
            _ => None,
        };
        let found = event
            .content(PatientEvent::from_stored)
            .map(|parsed| match parsed {
                None | Some(PatientEvent::PatientErased { .. }) => Found::Erased,
                Some(parsed) => evolve(before, parsed).map_or(Found::Deleted, |details| {
                    Found::Active(Arc::new(details), event.sequence)
                }),
            })
            .map_err(|source| ReadError::Unreadable {
                position: event.position,
                source,
            });
        answers.insert(id, found);
    }
}
