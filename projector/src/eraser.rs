//! Erasure of patients: destroys the data key of each patient that was erased.
//!
//! The subscription does not delete the rows of the read tables: the projections do so when they process the
//! event of the erasure.

pub mod files;

use std::sync::Arc;
use std::time::Duration;

use cqrs_es::Aggregate;
use domain::{PATIENT_ERASED, Patient};
use eventstore::sealing::KeyStore;
use eventstore::sealing::SealingError;
use eventstore::{Database, Handler, RecordedEvent, Session, Timestamp, Transaction};
use tokio::sync::Notify;

/// Name of the subscription and of its checkpoint.
pub const ERASER: &str = "eraser";
/// Minimum time between two transactions. The process that records an erasure also destroys the key
/// immediately, so the subscription is needed only if that process was killed.
pub const GATHER: Duration = Duration::from_secs(1);

/// Destroys data keys, see [`destroy_key`].
#[derive(Debug)]
pub struct Eraser {
    database: Database,
    erased: Arc<Notify>,
    /// Whether the transaction has an erasure.
    has_erasure: bool,
}

impl Eraser {
    /// Creates the handler of the subscription [`ERASER`]. It notifies `erased` after each transaction with
    /// an erasure: see [`files::follow`].
    #[must_use]
    pub const fn new(database: Database, erased: Arc<Notify>) -> Self {
        Self {
            database,
            erased,
            has_erasure: false,
        }
    }
}

impl Handler for Eraser {
    type Error = eventstore::Error;

    const EVENT_TYPE: Option<&'static str> = Some(PATIENT_ERASED);

    fn is_of_events(error: &eventstore::Error) -> bool {
        error.is_of_data()
    }

    async fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[RecordedEvent],
    ) -> eventstore::Result<()> {
        self.has_erasure = false;
        for event in events.iter().filter(|event| is_erasure(event)) {
            // The log has an erasure, so it is sealed.
            let keys = self.database.sealing().ok_or(SealingError::NotOpened)?.keys();
            destroy_key(keys, transaction, &event.aggregate_id, event.recorded_at).await?;
            self.has_erasure = true;
        }
        Ok(())
    }

    fn committed(&mut self) {
        if self.has_erasure {
            self.erased.notify_one();
        }
    }
}

/// Whether an event erases a patient.
#[must_use]
pub fn is_erasure(event: &RecordedEvent) -> bool {
    event.aggregate_type == Patient::TYPE && event.event_type == PATIENT_ERASED
}

/// Destroys the data key of a patient who was erased at `at`. `session` is a session of the log. `at` is
/// recorded as the time of the destruction, and stays unchanged if the key is destroyed again. Returns the
/// recorded time.
///
/// # Errors
///
/// The errors of [`KeyStore::erase`].
pub async fn destroy_key(
    keys: &KeyStore,
    session: &mut impl Session,
    patient: &str,
    at: Timestamp,
) -> eventstore::Result<Timestamp> {
    keys.erase(session, Patient::TYPE, patient, at).await
}
