//! Erasures of patients: the event, and whether everything that it destroys is destroyed.

mod certificate;

use std::collections::BTreeMap;
use std::time::Duration;

use cqrs_es::Aggregate;
use domain::{
    ErasureReason, ErasureScope, PATIENT_DELETED, PATIENT_ERASED, PATIENT_HELD, PATIENT_HOLD_RELEASED,
    Patient, PatientEvent, is_personal, is_sealed_version,
};
use eventstore::database::{in_list, padded};
use eventstore::sealing::StoredKey;
use eventstore::{Database, EventFilter, EventLog, Position, Registered, Session, Timestamp};
use mailer::Ledger;
use projector::PROJECTIONS;
use projector::eraser::files;
use projector::reads::ReadError;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::hold::RecordedHold;

pub use certificate::{Attestation, Certificate, CertificateError, CertificateFault};

/// Name of SQLite's files in [`ErasureStatus::pending`].
pub(crate) const FILE: &str = "file";
/// Name of the replica in [`ErasureStatus::pending`].
pub(crate) const REPLICA: &str = "replica";
/// Number of events read at a time.
const PAGE: u32 = 500;

/// An erasure, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Id of the patient.
    pub patient: Uuid,
    /// Position of the event.
    pub position: Position,
    /// Time of the event.
    pub recorded_at: Timestamp,
    /// Reason for the erasure.
    pub reason: ErasureReason,
    /// Which of the patient's events it makes unreadable.
    pub scope: ErasureScope,
}

/// Progress of an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Erasure)]
pub struct ErasureStatus {
    /// Id of the patient.
    #[schema(example = "01a20c52-84f4-752b-9b94-14a23061549a")]
    pub id: Uuid,
    /// Position of the erasure in the log.
    #[schema(value_type = i64, minimum = 1, example = 16)]
    pub position: Position,
    /// When the erasure was recorded.
    #[schema(value_type = String, format = DateTime, example = "2026-11-24T08:38:47.323577Z")]
    pub erased_at: Timestamp,
    /// Reason: `request`, `retention` or `error`.
    #[schema(value_type = String, example = "request")]
    pub reason: ErasureReason,
    /// `full`, or `partial` if the log has unencrypted events of the patient.
    #[schema(value_type = String, example = "full")]
    pub scope: ErasureScope,
    /// The time that is recorded for the destruction of the patient's data key, which is the time of the
    /// erasure; `null` as long as the key exists.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-24T08:38:47.323577Z")]
    pub key_destroyed_at: Option<Timestamp>,
    /// The stores that still have data of the patient: `key`, read tables by name, `mail`, on SQLite `file`
    /// (the database file, which is rewritten last, or its write-ahead log), and with a replica `replica`.
    #[schema(value_type = Vec<String>, example = json!([]))]
    pub pending: Vec<&'static str>,
    /// Positions of the patient's events that stay readable in the log, in exports and in the feed, because
    /// they were recorded before the log was sealed. Other responses do not show their personal data.
    #[schema(value_type = Vec<i64>, example = json!([]))]
    pub positions_in_clear: Vec<Position>,
    /// Whether nothing is pending.
    #[schema(example = true)]
    pub complete: bool,
}

/// Returns the stores that an erasure reaches on every database: the names in [`ErasureStatus::pending`].
fn stores() -> impl Iterator<Item = &'static str> {
    let tables = PROJECTIONS.into_iter().map(Registered::name);
    ["key"].into_iter().chain(tables).chain(["mail"])
}

/// Returns the erasure of a patient, if the patient was erased.
///
/// # Errors
///
/// [`ReadError`].
pub async fn find(log: &EventLog, patient: Uuid) -> Result<Option<Erasure>, ReadError> {
    let filter = EventFilter {
        event_type: Some(PATIENT_ERASED.to_owned()),
        aggregate: Some((Patient::TYPE.to_owned(), patient.to_string())),
    };
    let page = log.page(&filter, Position::BEGINNING, Position::LAST, 1).await?;
    let Some(event) = page.events.first() else {
        return Ok(None);
    };
    let read = PatientEvent::from_stored(&event.event_type, &event.event_version, &event.payload);
    match read {
        Ok(PatientEvent::PatientErased { reason, scope }) => Ok(Some(Erasure {
            patient,
            position: event.position,
            recorded_at: event.recorded_at,
            reason,
            scope,
        })),
        // The type of the event was filtered.
        Ok(_) => Ok(None),
        Err(source) => Err(ReadError::Unreadable {
            position: event.position,
            source,
        }),
    }
}

/// Rewrites SQLite's files for the erasures whose rows are already deleted, unless another task of this
/// process is already doing so, see [`files::rewrite`]. An error is only logged, because the projector role
/// tries again. Returns false after an error.
pub async fn rewrite_files(log: &EventLog, patience: Duration) -> bool {
    let rewritten = files::rewrite(log, patience).await;
    if let Err(error) = &rewritten {
        tracing::warn!(%error, "the database file is not rewritten yet; the projector role rewrites it");
    }
    rewritten.is_ok()
}

/// Facts about a patient's stored events. The events are not opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StoredEvents {
    /// Sequence of the last event, 0 without events.
    pub(crate) last_sequence: u64,
    /// Position and time of the deletion, if the patient was deleted.
    pub(crate) deletion: Option<(Position, Timestamp)>,
    /// The hold that was recorded last and not released.
    pub(crate) hold: Option<RecordedHold>,
    /// Whether the patient was erased.
    pub(crate) is_erased: bool,
    /// Positions of the events whose personal data is unencrypted.
    pub(crate) in_clear: Vec<Position>,
}

impl StoredEvents {
    pub(crate) async fn read(log: &EventLog, patient: Uuid) -> Result<Self, ReadError> {
        let filter = EventFilter {
            event_type: None,
            aggregate: Some((Patient::TYPE.to_owned(), patient.to_string())),
        };
        let (mut stored, mut after) = (Self::default(), Position::BEGINNING);
        loop {
            let page = log.page(&filter, after, Position::LAST, PAGE).await?;
            for event in &page.events {
                stored.last_sequence = event.sequence;
                match event.event_type.as_str() {
                    PATIENT_DELETED => stored.deletion = Some((event.position, event.recorded_at)),
                    PATIENT_HELD => stored.hold = Some(RecordedHold::of(event)?),
                    PATIENT_HOLD_RELEASED => stored.hold = None,
                    PATIENT_ERASED => stored.is_erased = true,
                    _ => {}
                }
                let in_clear = is_personal(&event.event_type) && !is_sealed_version(&event.event_version);
                stored.in_clear.extend(in_clear.then_some(event.position));
            }
            after = page.reaches;
            if page.events.len() < PAGE as usize {
                return Ok(stored);
            }
        }
    }
}

/// Returns the patients among `ids` that were erased, with the times of their erasures.
pub(crate) async fn erased_among(
    log: &EventLog,
    ids: &[&str],
) -> eventstore::Result<BTreeMap<String, Timestamp>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT aggregate_id, recorded_at FROM events WHERE aggregate_id IN ({}) AND aggregate_type = ? AND event_type = ?",
        in_list(ids.len())
    );
    let mut reader = log.database().reader().await?;
    let query = reader.query(&sql).bind_all(padded(ids));
    let rows = query.bind(Patient::TYPE).bind(PATIENT_ERASED).fetch_all().await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Returns the time that marks the data key of a patient as destroyed, if it is.
async fn destruction_of_key(database: &Database, id: &str) -> Result<Option<Timestamp>, ReadError> {
    let Some(sealing) = database.sealing() else {
        return Ok(None);
    };
    let mut reader = database.reader().await?;
    let found = sealing.keys().find(&mut reader, Patient::TYPE, &[id]).await?;
    Ok(match found.get(id) {
        Some(StoredKey::Erased(at)) => Some(*at),
        _ => None,
    })
}

impl Erasure {
    /// Returns the status of an erasure whose progress cannot be read: everything is pending.
    pub(crate) fn unknown_status(&self) -> ErasureStatus {
        ErasureStatus {
            id: self.patient,
            position: self.position,
            erased_at: self.recorded_at,
            reason: self.reason,
            scope: self.scope,
            key_destroyed_at: None,
            pending: stores().collect(),
            positions_in_clear: Vec::new(),
            complete: false,
        }
    }

    /// Returns the read tables that may still have rows of the patient.
    async fn tables_with_rows(&self, database: &Database, id: &str) -> Result<Vec<&'static str>, ReadError> {
        let mut tables = Vec::new();
        for projection in PROJECTIONS {
            if !projection.is_rid_of(database, id, self.position).await? {
                tables.push(projection.name());
            }
        }
        Ok(tables)
    }

    /// Returns the progress of the erasure.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn status(&self, log: &EventLog) -> Result<ErasureStatus, ReadError> {
        let (database, id) = (log.database(), self.patient.to_string());
        let key_destroyed_at = destruction_of_key(database, &id).await?;
        let mut pending = Vec::new();
        if key_destroyed_at.is_none() {
            pending.push("key");
        }
        pending.extend(self.tables_with_rows(database, &id).await?);
        let ledger = Ledger::new(database.clone());
        if !ledger.is_rid_of(&id, self.position).await? {
            pending.push("mail");
        }
        // The file is rewritten only after the rows are deleted.
        if pending.is_empty() && !files::are_rewritten(database, self.position).await? {
            pending.push(FILE);
        }
        if let Some(replica) = database.replica()
            && (destruction_of_key(replica, &id).await?.is_none()
                || !self.tables_with_rows(replica, &id).await?.is_empty())
        {
            pending.push(REPLICA);
        }
        Ok(ErasureStatus {
            id: self.patient,
            position: self.position,
            erased_at: self.recorded_at,
            reason: self.reason,
            scope: self.scope,
            key_destroyed_at,
            complete: pending.is_empty(),
            pending,
            positions_in_clear: match self.scope {
                ErasureScope::Full => Vec::new(),
                ErasureScope::Partial => StoredEvents::read(log, self.patient).await?.in_clear,
            },
        })
    }
}
