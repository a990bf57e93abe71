//! Reads by id, answered together.
//!
//! One statement asks for the rows of all ids, the projection's checkpoint and the log's head. A statement sees one
//! moment, so if the checkpoint is at the head, a row is the whole truth about its patient, and needs nothing more.
//! Otherwise the log is asked for what came after the checkpoint. A patient without a row is looked up in the log in
//! any case: it alone tells a deleted one from one that never was.

use std::collections::HashMap;
use std::time::Duration;

use cqrs_es::Aggregate;
use domain::{Patient, PatientDetails, PatientEvent};
use eventstore::database::{in_list, padded};
use eventstore::{Batch, Connection, Error, EventLog, Position, RecordedEvent, Session};
use uuid::Uuid;

use super::{Found, PROJECTION, ReadError};

/// How long a batch may take.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct PatientBatch {
    log: EventLog,
    /// Kept from batch to batch: giving it back to the pool would cost a round trip.
    connection: Option<Connection>,
}

impl PatientBatch {
    pub(super) const fn new(log: EventLog) -> Self {
        Self {
            log,
            connection: None,
        }
    }
}

type Answers = HashMap<Uuid, Result<Found, ReadError>>;

impl Batch for PatientBatch {
    type Item = Uuid;
    type Answer = Result<Found, ReadError>;

    async fn run(&mut self, ids: Vec<Uuid>) -> Vec<Self::Answer> {
        let mut read = self.try_read(&ids).await;
        if read.as_ref().is_err_and(Error::is_connection) {
            // The connection may have died since the last batch; a new one tells whether the database has.
            read = self.try_read(&ids).await;
        }
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

impl PatientBatch {
    async fn try_read(&mut self, ids: &[Uuid]) -> Result<Answers, Error> {
        let read = tokio::time::timeout(TIMEOUT, async {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                none => none.insert(self.log.database().reader().await?),
            };
            read(connection, ids).await
        })
        .await
        .unwrap_or(Err(Error::Timeout(TIMEOUT)));
        if read.is_err()
            && let Some(mut connection) = self.connection.take()
        {
            connection.close_on_drop();
        }
        read
    }
}

async fn read(connection: &mut Connection, ids: &[Uuid]) -> Result<Answers, Error> {
    let keys: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (mut patients, checkpoint, head) = rows(connection, &keys).await?;

    let (present, absent): (Vec<&str>, Vec<&str>) = keys.iter().partition(|key| patients.contains_key(**key));
    let mut events = EventLog::events_of(connection, Patient::TYPE, &absent, Position::BEGINNING).await?;
    if checkpoint < head {
        events.extend(EventLog::events_of(connection, Patient::TYPE, &present, checkpoint).await?);
    }
    apply(&mut patients, events);
    Ok(ids
        .iter()
        .filter_map(|id| Some((*id, patients.remove(id.to_string().as_str())?)))
        .collect())
}

type Patients = HashMap<String, Result<Found, ReadError>>;

/// The projected rows by id, and how far the projection and the log are, all of one moment.
async fn rows(connection: &mut Connection, keys: &[&str]) -> Result<(Patients, Position, Position), Error> {
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
    let mut patients = Patients::with_capacity(rows.len());
    for row in &rows {
        let Some(id) = row.get::<Option<String>, _>(2)? else {
            continue;
        };
        let sequence: i64 = row.get(7)?;
        let details = PatientDetails {
            name: row.get(3)?,
            email: row.get(4)?,
            phone: row.get(5)?,
            document_url: row.get(6)?,
        };
        patients.insert(id, Ok(Found::Active(details, sequence.unsigned_abs())));
    }
    Ok((patients, checkpoint, head))
}

/// Applies what the log says beyond the rows. A row may be newer than the checkpoint that was read with it, so an event
/// that the row shows already is passed over.
fn apply(patients: &mut Patients, events: Vec<RecordedEvent>) {
    for event in events {
        if let Some(Ok(Found::Active(_, sequence))) = patients.get(&event.aggregate_id)
            && *sequence >= event.sequence
        {
            continue;
        }
        let found = PatientEvent::from_stored(&event.event_type, &event.event_version, event.payload)
            .map(|read| {
                read.into_details()
                    .map_or(Found::Deleted, |details| Found::Active(details, event.sequence))
            })
            .map_err(|source| ReadError::Unreadable {
                position: event.position,
                source,
            });
        patients.insert(event.aggregate_id, found);
    }
}
