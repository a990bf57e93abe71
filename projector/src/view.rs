//! Projection of events into the read table.

use domain::StoredEventError;
use eventstore::rebuild::lock_active_generation;
use eventstore::{Handler, Position, RecordedEvent, Transaction};

use crate::{PATIENT_VIEW, rows};

/// Reason why an event could not be projected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// This program cannot read the event.
    #[error("position {position}: {source}")]
    Unreadable {
        /// Position of the event.
        position: Position,
        /// Reason why the event cannot be read.
        source: StoredEventError,
    },
    /// The row of `projections` is missing, because the schema was not migrated.
    #[error("the table projections has no row for {PATIENT_VIEW}; run `patients migrate`")]
    NoGeneration,
    /// The read table could not be written.
    #[error(transparent)]
    Store(#[from] eventstore::Error),
}

impl ProjectionError {
    /// Whether an event rather than the database caused the error.
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
