//! Reads by id, answered together.
//!
//! One statement asks for the rows of all ids, the projection's checkpoint and the log's head. A statement sees one
//! moment, so if the checkpoint is at the head, a row is the whole truth about its patient, and needs nothing more.
//! Otherwise the log is asked for what came after the checkpoint. A patient without a row is looked up in the log in
//! any case: it alone tells a deleted one from one that never was.

use std::collections::HashMap;
use std::sync::Arc;

use cqrs_es::Aggregate;
use domain::{Patient, PatientDetails, PatientEvent};
use eventstore::database::{in_list, padded};
use eventstore::{Batch, Connection, Database, Error, EventLog, Position, RecordedEvent, Session};
use uuid::Uuid;

use super::kept::{KeptConnection, Read};
use super::{Found, PROJECTION, ReadError};

pub(super) struct PatientBatch {
    connection: KeptConnection,
}

impl PatientBatch {
    pub(super) const fn new(database: Database) -> Self {
        Self {
            connection: KeptConnection::new(database),
        }
    }
}

type Answers = HashMap<Uuid, Result<Found, ReadError>>;

impl Batch for PatientBatch {
    type Item = Uuid;
    type Answer = Result<Found, ReadError>;

    async fn run(&mut self, ids: Vec<Uuid>) -> Vec<Self::Answer> {
        let read = self.connection.read(&ids).await;
        match read {
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

impl Read for Vec<Uuid> {
    type Answer = Answers;

    async fn read(&self, connection: &mut Connection) -> Result<Answers, Error> {
        let keys: Vec<String> = self.iter().map(Uuid::to_string).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let (mut answers, checkpoint, head) = rows(connection, &keys).await?;

        let (mut present, mut absent) = (Vec::with_capacity(keys.len()), Vec::new());
        for (id, key) in self.iter().zip(keys) {
            if answers.contains_key(id) {
                present.push(key);
            } else {
                absent.push(key);
            }
        }
        let mut events = EventLog::events_of(connection, Patient::TYPE, &absent, Position::BEGINNING).await?;
        if checkpoint < head {
            events.extend(EventLog::events_of(connection, Patient::TYPE, &present, checkpoint).await?);
        }
        apply(&mut answers, events);
        Ok(answers)
    }
}

/// The projected rows by id, and how far the projection and the log are, all of one moment.
async fn rows(connection: &mut Connection, keys: &[&str]) -> Result<(Answers, Position, Position), Error> {
    let sql = format!(
        "SELECT h.position, COALESCE(c.position, 0), v.id, v.name, v.email, v.phone, v.document_url, v.sequence \
         FROM log_head h \
         JOIN projections p ON p.name = ? \
         LEFT JOIN checkpoints c ON c.name = p.name \
         LEFT JOIN patient_view v ON v.generation = p.active_generation AND v.id IN ({}) \
         WHERE h.id = 1",
        in_list(keys.len())
    );
    let rows = connection
        .query(&sql)
        .bind(PROJECTION)
        .bind_all(padded(keys))
        .fetch_all()
        .await?;
    let first = rows.first().ok_or(Error::NoHead)?;
    let (head, checkpoint) = (first.get(0)?, first.get(1)?);
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
    Ok((answers, checkpoint, head))
}

/// The ids are those of the statement, so each is one; another would be nobody's answer.
fn parse(id: &str) -> Option<Uuid> {
    Uuid::try_parse(id).ok()
}

/// Applies what the log says beyond the rows. A row may be newer than the checkpoint that was read with it, so an event
/// that the row shows already is passed over.
fn apply(answers: &mut Answers, events: Vec<RecordedEvent>) {
    for event in events {
        let Some(id) = parse(&event.aggregate_id) else {
            continue;
        };
        if let Some(Ok(Found::Active(_, sequence))) = answers.get(&id)
            && *sequence >= event.sequence
        {
            continue;
        }
        let found = PatientEvent::from_stored(&event.event_type, &event.event_version, &event.payload)
            .map(|read| {
                read.into_details().map_or(Found::Deleted, |details| {
                    Found::Active(Arc::new(details), event.sequence)
                })
            })
            .map_err(|source| ReadError::Unreadable {
                position: event.position,
                source,
            });
        answers.insert(id, found);
    }
}
