//! Projections: tables of rows that follow from the events of the log.
//!
//! An [`AggregateState`] folds events, and a [`Projection`] makes rows from the state and reads and writes
//! its own table. The engine in this module does everything else, the same for every projection: it follows
//! the log, fills and switches generations, verifies, skips events on request, and reports the status.
//!
//! ```text
//! read a batch -> fold it into at most one change per aggregate -> one transaction: delete, insert, checkpoint
//! ```
//!
//! # Generations
//!
//! A generation is one build of the table, and `projections` names the generation that serves queries.
//! Generation 0 means that the projection was added to a log that already had events: it serves no queries,
//! and the engine fills generation 1 before it follows the log ([`Registered::run`]). A rebuild fills the
//! next generation while the active generation serves queries ([`rebuilder`]).
//!
//! # Guarantees
//!
//! - Rows and the checkpoint that covers them are committed together ([`crate::subscription`]).
//! - Rows are written while their generation is locked in `projections`, so a switch of generations never
//!   separates an event from its row.
//! - An event that cannot be applied stops the projection. The event is skipped only if an operator requests
//!   it ([`skip`]).
//! - Readers do not notice a rebuild ([`rebuilder`]). The table can be compared with the log at any time
//!   ([`mod@verify`]).
//!
//! # Adding a projection
//!
//! 1. Create its table in a migration, with the columns `generation` and the id of the aggregate in its
//!    primary key.
//! 2. Implement [`Projection`].
//! 3. Add it to the program's list of [`Registered`] projections. All commands, routes, metrics and alerts
//!    use the names in this list.

mod fold;
mod generation;
mod rebuild;
pub mod rebuilder;
mod registered;
mod run;
pub mod skip;
pub mod verify;

use std::time::Duration;

use serde::Serialize;

use crate::database::{Connection, Transaction};
use crate::event::{Position, RecordedEvent};
use crate::subscription::DEFAULT_GATHER;

pub use generation::{ActiveGeneration, UNFILLED, create, lock_active_generation};
pub use rebuild::{Rebuild, RebuildState, Requested, Runner};
pub use rebuilder::{Outcome, RebuildError, Rebuilder, Step};
pub use registered::{Registered, find};
pub use run::{Follower, RunContext};
pub use skip::{LONGEST_NAME, LONGEST_REASON, Skip, SkipError};
pub use verify::{Difference, RowChecksum, RowDifference, Verification};

/// An error of a projection's reader of events.
pub type ReadError = Box<dyn std::error::Error + Send + Sync>;

/// The state of an aggregate, folded from its events. Several projections can make their rows from one state.
pub trait AggregateState: Sized + Send + Sync + 'static {
    /// Aggregate type of the events. Projections ignore other events.
    const AGGREGATE_TYPE: &'static str;

    /// A parsed event.
    type Event: Send + Sync;

    /// Parses an event.
    ///
    /// # Errors
    ///
    /// Any error stops the projection at this event. The text of the error must not contain personal data.
    fn read(event: &RecordedEvent) -> Result<Self::Event, ReadError>;

    /// Whether the state after the event follows from the event alone. If not, the engine reads the earlier
    /// events of the aggregate.
    fn is_self_contained(event: &Self::Event) -> bool;

    /// Returns the state of the aggregate after an event, or `None` if the aggregate has no row after it.
    fn evolve(before: Option<Self>, event: Self::Event, recorded: &RecordedEvent) -> Option<Self>;
}

/// A table of rows, at most one per aggregate, that follows from the events of one aggregate type. A row may
/// consist of several database rows.
pub trait Projection: Send + Sync + 'static {
    /// Name of the projection, its subscription and its checkpoint: at most 48 bytes of ASCII, without `@`.
    const NAME: &'static str;

    /// Minimum time between two transactions while the projection follows the log, unless a transaction is
    /// full. A longer time leaves more disk capacity to the appends.
    const GATHER: Duration = DEFAULT_GATHER;

    /// State from which a row is made.
    type State: AggregateState;
    /// What the table contains about an aggregate.
    type Row: PartialEq + Serialize + Send + Sync;

    /// Returns the row of an aggregate.
    fn row(aggregate_id: &str, state: Self::State) -> Self::Row;

    /// Returns the id of the aggregate that a row belongs to.
    fn aggregate_id(row: &Self::Row) -> &str;

    /// Deletes the rows of the given aggregates. Aggregates without rows are ignored.
    fn delete(
        transaction: &mut Transaction<'_>,
        generation: i64,
        aggregate_ids: &[String],
    ) -> impl Future<Output = crate::Result<()>> + Send;

    /// Inserts rows. Must fail if a row exists, because an event would then be applied twice.
    fn insert(
        transaction: &mut Transaction<'_>,
        generation: i64,
        rows: &[Self::Row],
    ) -> impl Future<Output = crate::Result<()>> + Send;

    /// Deletes about `limit` database rows of a generation that serves no queries. Returns the number of
    /// deleted rows, which is 0 only if the generation has no rows.
    fn delete_some(
        connection: &mut Connection,
        generation: i64,
        limit: u32,
    ) -> impl Future<Output = crate::Result<u64>> + Send;

    /// Whether a generation has rows of an aggregate. The erasure of an aggregate is complete only once no
    /// table has rows of it.
    fn has_rows(
        connection: &mut Connection,
        generation: i64,
        aggregate_id: &str,
    ) -> impl Future<Output = crate::Result<bool>> + Send;

    /// Returns the rows of the next aggregates after `after`, in order of aggregate id: at most `limit` rows,
    /// and none only if no aggregate follows.
    fn page(
        transaction: &mut Transaction<'_>,
        generation: i64,
        after: &str,
        limit: u32,
    ) -> impl Future<Output = crate::Result<Vec<Self::Row>>> + Send;
}

/// Reason why a projection could not be written or verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// This program cannot read the event.
    #[error("position {position}: {source}")]
    Unreadable {
        /// Position of the event.
        position: Position,
        /// Reason why the event cannot be read.
        source: ReadError,
    },
    /// The projection has no row in `projections`, because the schema was not migrated.
    #[error("the table projections has no row for {projection}; run `migrate`")]
    NoGeneration {
        /// Name of the projection.
        projection: &'static str,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] crate::Error),
}

impl ProjectionError {
    /// Whether an event rather than the database caused the error.
    #[must_use]
    pub fn is_of_events(&self) -> bool {
        match self {
            Self::Unreadable { .. } => true,
            Self::NoGeneration { .. } => false,
            Self::Store(error) => error.is_of_data(),
        }
    }
}
