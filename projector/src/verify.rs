//! Comparison of the read table with a replay of the log.
//!
//! Both are read from one snapshot, so they show the same point in time although the projector continues. The
//! replay ends at the projection's checkpoint. Both are read in pages in order of id, so memory use does not
//! depend on the number of patients.

use std::collections::{BTreeSet, VecDeque};

use cqrs_es::Aggregate;
use domain::{Patient, PatientDetails};
use eventstore::{EventLog, Hash, Position, RecordedEvent, Session, Skip, Transaction, checkpoint};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::PATIENT_VIEW;
use crate::changes::{PatientRow, changes};
use crate::view::ProjectionError;

/// Number of patients in a page.
const PAGE: i64 = 1000;
/// Maximum number of differences that are listed.
const NAMED: usize = 10;

/// Result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Whether the table matches the log.
    pub same: bool,
    /// Position at which the table and the log were compared.
    pub position: Position,
    /// The active generation.
    pub generation: i64,
    /// Rows of the table.
    pub table: Sum,
    /// Rows of the replay.
    pub replay: Sum,
    /// Events that an operator has skipped. The table and the replay both omit these events, so both are
    /// incomplete for the patients of these events.
    pub skipped: Vec<Position>,
    /// Number of patients that differ.
    pub differing: u64,
    /// The first differences.
    pub first: Vec<Difference>,
}

/// Number and checksum of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// Number of rows.
    pub rows: u64,
    /// SHA-256 over all columns of all rows, in order of id.
    pub checksum: Hash,
}

/// A patient whose row does not match the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The patient's id.
    pub id: String,
    /// How the row differs.
    pub what: What,
}

/// How a row differs from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The row is missing from the table.
    Missing,
    /// The table contains the row, but the replay does not.
    Unexpected,
    /// The row has different values.
    Different,
}

/// Compares the active generation with a replay of the log. Calls `progress` with the number of patients
/// compared so far.
///
/// # Errors
///
/// [`ProjectionError::Unreadable`] if this program cannot read an event of the log,
/// [`ProjectionError::NoGeneration`], [`ProjectionError::Store`].
pub async fn verify(
    log: &EventLog,
    mut progress: impl FnMut(u64) + Send,
) -> Result<Verification, ProjectionError> {
    let mut snapshot = log.database().snapshot().await?;
    let (generation, position) = served(&mut snapshot).await?;
    let skips = Skip::all(&mut snapshot, PATIENT_VIEW).await?;
    let mut replay = Replay {
        position,
        skips: skips.iter().map(|skip| skip.position).collect(),
        after: Some(String::new()),
        rows: VecDeque::new(),
    };
    let mut table = Table {
        generation,
        after: Some(String::new()),
        rows: VecDeque::new(),
    };
    let (mut expected, mut found) = (Adding::default(), Adding::default());
    let (mut differing, mut first, mut compared) = (0_u64, Vec::new(), 0_u64);
    loop {
        replay.fill(&mut snapshot).await?;
        table.fill(&mut snapshot).await?;
        let (id, what) = match (replay.rows.front(), table.rows.front()) {
            (None, None) => break,
            (Some(due), None) => (due.id.clone(), Some(What::Missing)),
            (None, Some(row)) => (row.id.clone(), Some(What::Unexpected)),
            (Some(due), Some(row)) if due.id < row.id => (due.id.clone(), Some(What::Missing)),
            (Some(due), Some(row)) if due.id > row.id => (row.id.clone(), Some(What::Unexpected)),
            (Some(due), Some(row)) => (due.id.clone(), (due != row).then_some(What::Different)),
        };
        if what != Some(What::Unexpected) {
            replay.rows.pop_front().iter().for_each(|row| expected.add(row));
        }
        if what != Some(What::Missing) {
            table.rows.pop_front().iter().for_each(|row| found.add(row));
        }
        if let Some(what) = what {
            differing += 1;
            if first.len() < NAMED {
                first.push(Difference { id, what });
            }
        }
        compared += 1;
        if compared.is_multiple_of(PAGE.unsigned_abs()) {
            progress(compared);
        }
    }
    progress(compared);
    snapshot.rollback().await?;
    Ok(Verification {
        same: differing == 0,
        position,
        generation,
        table: found.sum(),
        replay: expected.sum(),
        skipped: skips.iter().map(|skip| skip.position).collect(),
        differing,
        first,
    })
}

/// Returns the active generation and its checkpoint.
async fn served(snapshot: &mut Transaction<'_>) -> Result<(i64, Position), ProjectionError> {
    let row = snapshot
        .query(
            "SELECT p.active_generation, COALESCE(c.position, 0), h.position FROM projections p \
             JOIN log_head h ON h.id = 1 LEFT JOIN checkpoints c ON c.name = p.name WHERE p.name = ?",
        )
        .bind(PATIENT_VIEW)
        .fetch_optional()
        .await?
        .ok_or(ProjectionError::NoGeneration)?;
    let position = row.get(1)?;
    checkpoint::check(PATIENT_VIEW, position, row.get(2)?)?;
    Ok((row.get(0)?, position))
}

/// The expected rows, replayed from the log.
struct Replay {
    position: Position,
    skips: BTreeSet<Position>,
    /// Id after which the next page starts, or `None` at the end.
    after: Option<String>,
    rows: VecDeque<PatientRow>,
}

impl Replay {
    async fn fill(&mut self, snapshot: &mut Transaction<'_>) -> Result<(), ProjectionError> {
        while self.rows.is_empty()
            && let Some(after) = self.after.take()
        {
            let ids: Vec<String> = snapshot
                .query(
                    "SELECT aggregate_id FROM events WHERE aggregate_id > ? AND aggregate_type = ? AND sequence = 1 \
                     ORDER BY aggregate_id LIMIT ?",
                )
                .bind(after)
                .bind(Patient::TYPE)
                .bind(PAGE)
                .fetch_all()
                .await?
                .iter()
                .map(|row| row.get(0))
                .collect::<Result<_, _>>()?;
            let keys: Vec<&str> = ids.iter().map(String::as_str).collect();
            let events = EventLog::events_of(snapshot, Patient::TYPE, &keys, Position::BEGINNING).await?;
            self.replay(&events)?;
            self.after = ids.into_iter().next_back();
        }
        Ok(())
    }

    fn replay(&mut self, events: &[RecordedEvent]) -> Result<(), ProjectionError> {
        let due = events
            .iter()
            .filter(|event| event.position <= self.position && !self.skips.contains(&event.position));
        let changes = changes(due).map_err(|(event, source)| ProjectionError::Unreadable {
            position: event.position,
            source,
        })?;
        self.rows.extend(changes.inserted);
        Ok(())
    }
}

/// The actual rows of the table.
struct Table {
    generation: i64,
    /// Id after which the next page starts, or `None` at the end.
    after: Option<String>,
    rows: VecDeque<PatientRow>,
}

impl Table {
    async fn fill(&mut self, snapshot: &mut Transaction<'_>) -> Result<(), ProjectionError> {
        if self.rows.is_empty()
            && let Some(after) = self.after.take()
        {
            // sqlx decodes a column with a binary collation only as bytes.
            let sql = format!(
                "SELECT id, name, email, phone, document_url, sequence, registered_at, CAST(name_key AS CHAR) \
                 FROM patient_view{} WHERE generation = ? AND id > ? ORDER BY id LIMIT ?",
                snapshot.dialect().by_primary_key()
            );
            let rows = snapshot
                .query(&sql)
                .bind(self.generation)
                .bind(after)
                .bind(PAGE)
                .fetch_all()
                .await?;
            for row in &rows {
                let sequence: i64 = row.get(5)?;
                self.rows.push_back(PatientRow {
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
                });
            }
            self.after = self.rows.back().map(|row| row.id.clone());
        }
        Ok(())
    }
}

#[derive(Default)]
struct Adding {
    rows: u64,
    hash: Sha256,
}

impl Adding {
    fn add(&mut self, row: &PatientRow) {
        let PatientDetails {
            name,
            email,
            phone,
            document_url,
        } = &row.details;
        for text in [&row.id, &row.name_key, name, email, phone, document_url] {
            // Because of the length prefix, different rows never yield the same bytes to hash.
            self.hash.update((text.len() as u64).to_be_bytes());
            self.hash.update(text.as_bytes());
        }
        self.hash.update(row.sequence.to_be_bytes());
        self.hash.update(row.registered_at.as_micros().to_be_bytes());
        self.rows += 1;
    }

    fn sum(self) -> Sum {
        Sum {
            rows: self.rows,
            checksum: Hash(self.hash.finalize().into()),
        }
    }
}
