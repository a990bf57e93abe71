//! The projection itself.

use domain::StoredEventError;
use eventstore::rebuild::lock_active_generation;
use eventstore::{Handler, Position, RecordedEvent, Transaction};

use crate::{PATIENT_VIEW, rows};

/// Why an event could not be projected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// The event at that position is not one that this program can read.
    #[error("position {position}: {source}")]
    Unreadable {
        /// Where it is.
        position: Position,
        /// What is wrong with it.
        source: StoredEventError,
    },
    /// The row of `projections` is missing: the schema has not been migrated.
    #[error("projections has no row for {PATIENT_VIEW}; run the migrations")]
    NoGeneration,
    /// The read table could not be written.
    #[error(transparent)]
    Store(#[from] eventstore::Error),
}

impl ProjectionError {
    /// Whether an event is at fault, rather than the database.
    #[must_use]
    pub fn is_of_events(&self) -> bool {
        match self {
            Self::Unreadable { .. } => true,
            Self::NoGeneration => false,
            Self::Store(error) => error.is_of_data(),
        }
    }
}

/// Keeps the active generation of `patient_view` up to date.
#[derive(Debug, Clone, Copy, Default)]
pub struct PatientView;

impl Handler for PatientView {
    type Error = ProjectionError;

    fn is_of_events(error: &ProjectionError) -> bool {
        error.is_of_events()
    }

    async fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[RecordedEvent],
    ) -> Result<(), ProjectionError> {
        let generation = lock_active_generation(transaction, PATIENT_VIEW)
            .await?
            .ok_or(ProjectionError::NoGeneration)?;
        rows::write(transaction, generation, events).await
    }
}
