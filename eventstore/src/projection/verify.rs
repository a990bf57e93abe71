//! Comparison of a projection's table with a replay of the log.
//!
//! Both are read from one snapshot, so they show the same point in time although the projector continues. The
//! replay ends at the projection's checkpoint. Both are read in pages in order of id, so memory use does not
//! depend on the number of aggregates.

use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{AggregateState, Projection, ProjectionError, Skip, fold};
use crate::checkpoint;
use crate::database::{Session, Transaction};
use crate::event::{Hash, Position};
use crate::log::EventLog;

/// Number of aggregates in a page.
const PAGE: u32 = 1000;
/// Maximum number of differences that are listed.
const NAMED: usize = 10;

/// Result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Name of the projection.
    pub projection: &'static str,
    /// Whether the table matches the log.
    pub same: bool,
    /// Position at which the table and the log were compared.
    pub position: Position,
    /// The active generation.
    pub generation: i64,
    /// Rows of the table.
    pub table: RowChecksum,
    /// Rows of the replay.
    pub replay: RowChecksum,
    /// Events that an operator has skipped. The table and the replay both omit these events, so both are
    /// incomplete for the aggregates of these events.
    pub skipped: Vec<Position>,
    /// Number of aggregates that differ.
    pub differing: u64,
    /// The first differences.
    pub first: Vec<Difference>,
}

/// Number and checksum of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowChecksum {
    /// Number of rows.
    pub rows: u64,
    /// SHA-256 over all columns of all rows, in order of id.
    pub checksum: Hash,
}

/// An aggregate whose row does not match the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The aggregate's id.
    pub id: String,
    /// How the row differs.
    pub what: RowDifference,
}

/// How a row differs from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RowDifference {
    /// The row is missing from the table.
    Missing,
    /// The table contains the row, but the replay does not.
    Unexpected,
    /// The row has different values.
    Different,
}

/// Compares the active generation with a replay of the log. Calls `progress` with the number of aggregates
/// compared so far.
///
/// # Errors
///
/// [`ProjectionError::Unreadable`] if this program cannot read an event of the log,
/// [`ProjectionError::NoGeneration`], [`ProjectionError::Store`].
pub async fn verify<P: Projection>(
    log: &EventLog,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<Verification, ProjectionError> {
    let mut snapshot = log.database().snapshot().await?;
    let (generation, position) = served::<P>(&mut snapshot).await?;
    let skips = Skip::all(&mut snapshot, P::NAME).await?;
    let mut replay = Replay::<P> {
        position,
        skips: skips.iter().map(|skip| skip.position).collect(),
        after: Some(String::new()),
        rows: VecDeque::new(),
    };
    let mut table = Table::<P> {
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
            (Some(due), None) => (P::aggregate_id(due), Some(RowDifference::Missing)),
            (None, Some(row)) => (P::aggregate_id(row), Some(RowDifference::Unexpected)),
            (Some(due), Some(row)) => {
                let (due_id, id) = (P::aggregate_id(due), P::aggregate_id(row));
                match due_id.cmp(id) {
                    Ordering::Less => (due_id, Some(RowDifference::Missing)),
                    Ordering::Greater => (id, Some(RowDifference::Unexpected)),
                    Ordering::Equal => (id, (due != row).then_some(RowDifference::Different)),
                }
            }
        };
        let id = id.to_owned();
        if what != Some(RowDifference::Unexpected) {
            expected.add(replay.rows.pop_front().as_ref())?;
        }
        if what != Some(RowDifference::Missing) {
            found.add(table.rows.pop_front().as_ref())?;
        }
        if let Some(what) = what {
            differing += 1;
            if first.len() < NAMED {
                first.push(Difference { id, what });
            }
        }
        compared += 1;
        if compared.is_multiple_of(u64::from(PAGE)) {
            progress(compared);
        }
    }
    progress(compared);
    snapshot.rollback().await?;
    Ok(Verification {
        projection: P::NAME,
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
async fn served<P: Projection>(snapshot: &mut Transaction<'_>) -> Result<(i64, Position), ProjectionError> {
    let row = snapshot
        .query(
            "SELECT p.active_generation, COALESCE(c.position, 0), h.position FROM projections p \
             JOIN log_head h ON h.id = 1 LEFT JOIN checkpoints c ON c.name = p.name WHERE p.name = ?",
        )
        .bind(P::NAME)
        .fetch_optional()
        .await?
        .ok_or(ProjectionError::NoGeneration { projection: P::NAME })?;
    let position = row.get(1)?;
    checkpoint::check(P::NAME, position, row.get(2)?)?;
    Ok((row.get(0)?, position))
}

/// The expected rows, replayed from the log.
struct Replay<P: Projection> {
    position: Position,
    skips: BTreeSet<Position>,
    /// Id after which the next page starts, or `None` at the end.
    after: Option<String>,
    rows: VecDeque<P::Row>,
}

impl<P: Projection> Replay<P> {
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
                .bind(P::State::AGGREGATE_TYPE)
                .bind(i64::from(PAGE))
                .fetch_all()
                .await?
                .iter()
                .map(|row| row.get(0))
                .collect::<Result<_, _>>()?;
            let end = self.position.next();
            let ends = ids.iter().map(|id| (id.clone(), end)).collect();
            let states = fold::states::<P::State>(snapshot, &ends, &self.skips).await?;
            self.rows
                .extend(states.into_iter().map(|(id, state)| P::row(&id, state)));
            self.after = ids.into_iter().next_back();
        }
        Ok(())
    }
}

/// The actual rows of the table.
struct Table<P: Projection> {
    generation: i64,
    /// Id after which the next page starts, or `None` at the end.
    after: Option<String>,
    rows: VecDeque<P::Row>,
}

impl<P: Projection> Table<P> {
    async fn fill(&mut self, snapshot: &mut Transaction<'_>) -> Result<(), ProjectionError> {
        if self.rows.is_empty()
            && let Some(after) = self.after.take()
        {
            self.rows = P::page(snapshot, self.generation, &after, PAGE).await?.into();
            self.after = self.rows.back().map(|row| P::aggregate_id(row).to_owned());
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
    fn add(&mut self, row: Option<&impl Serialize>) -> crate::Result<()> {
        let Some(row) = row else { return Ok(()) };
        let json = serde_json::to_vec(row)?;
        // The length prefix keeps different rows from hashing the same bytes.
        self.hash.update((json.len() as u64).to_be_bytes());
        self.hash.update(&json);
        self.rows += 1;
        Ok(())
    }

    fn sum(self) -> RowChecksum {
        RowChecksum {
            rows: self.rows,
            checksum: Hash(self.hash.finalize().into()),
        }
    }
}
