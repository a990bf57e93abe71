//! Erasure of patients: destroys the data key of each patient that was erased.
//!
//! The rows of the read tables need no reaction of their own: projections delete them when they process the
//! erasure, like any other event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cqrs_es::Aggregate;
use domain::{PATIENT_ERASED, Patient};
use eventstore::sealing::KeyStore;
use eventstore::sealing::SealingError;
use eventstore::{Database, Handler, Position, RecordedEvent, Session, Timestamp, Transaction};

use crate::PROJECTIONS;

/// Name of the subscription and of its checkpoint.
pub const ERASER: &str = "eraser";
/// Minimum time between two transactions. The process that records an erasure also destroys the key at once,
/// so the subscription is needed only if that process was killed.
pub const GATHER: Duration = Duration::from_secs(1);

/// Pause between two checks whether the projections have deleted the rows of an erased patient.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum pause between two attempts to truncate the journal.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Number of checks after which the journal is truncated in any case.
const CHECKS: u32 = 300;

/// Destroys data keys, see [`destroy_key`].
#[derive(Debug)]
pub struct Eraser {
    database: Database,
    /// The last erasure of the transaction: the patient, and the position of the event.
    last: Option<(String, Position)>,
    /// Whether a task is truncating the journal.
    truncating: Arc<AtomicBool>,
}

impl Eraser {
    /// Creates the handler of the subscription [`ERASER`].
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self {
            database,
            last: None,
            truncating: Arc::default(),
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
        self.last = None;
        for event in events.iter().filter(|event| is_erasure(event)) {
            // The log has an erasure, so it is sealed.
            let keys = self.database.sealing().ok_or(SealingError::NotOpened)?.keys();
            destroy_key(keys, transaction, &event.aggregate_id, event.recorded_at).await?;
            self.last = Some((event.aggregate_id.clone(), event.position));
        }
        Ok(())
    }

    fn committed(&mut self) {
        if let Some((patient, position)) = self.last.take()
            && self.database.has_journal()
        {
            // A task that is still waiting for a reader also truncates what this transaction has changed.
            if !self.truncating.swap(true, Ordering::Relaxed) {
                let (database, truncating) = (self.database.clone(), Arc::clone(&self.truncating));
                tokio::spawn(async move {
                    truncate_once_rid_of(&database, &patient, position).await;
                    truncating.store(false, Ordering::Relaxed);
                });
            }
        }
    }
}

/// Truncates the journal once the projections have deleted the rows of a patient. Ends at an error of the
/// database, such as its end: the next erasure, and a request for the progress, truncate it then.
async fn truncate_once_rid_of(database: &Database, patient: &str, position: Position) {
    for _ in 0..CHECKS {
        if is_rid_of(database, patient, position).await.unwrap_or(false) {
            break;
        }
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
    let mut pause = CHECK_INTERVAL;
    while let Ok(false) = database.truncate_journal().await {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether no projection has rows of a patient whose last event is at `position`.
async fn is_rid_of(database: &Database, patient: &str, position: Position) -> eventstore::Result<bool> {
    for projection in PROJECTIONS {
        if !projection.is_rid_of(database, patient, position).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether an event erases a patient.
#[must_use]
pub fn is_erasure(event: &RecordedEvent) -> bool {
    event.aggregate_type == Patient::TYPE && event.event_type == PATIENT_ERASED
}

/// Destroys the data key of a patient, which was erased at `at`. `session` is a session of the log. The time
/// of the destruction is recorded as `at`, so it does not change if the key is destroyed again.
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

/// Like [`Database::truncate_journal`], but logs an error and returns false.
pub async fn truncated_journal(database: &Database) -> bool {
    database.truncate_journal().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the write-ahead log was not truncated after an erasure");
        false
    })
}
