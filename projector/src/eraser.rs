//! Erasure of patients: destroys the data key of each patient that was erased.
//!
//! The rows of the read tables need no reaction of their own: projections delete them when they process the
//! erasure, like any other event.

use std::sync::Arc;
use std::time::Duration;

use cqrs_es::Aggregate;
use domain::{PATIENT_ERASED, Patient};
use eventstore::{Clock, Database, Dialect, Handler, RecordedEvent, Session, Timestamp, Transaction};

/// Name of the subscription and of its checkpoint.
pub const ERASER: &str = "eraser";
/// Minimum time between two transactions. The process that records an erasure also destroys the key at once, so
/// the subscription is needed only if that process was killed.
pub const GATHER: Duration = Duration::from_secs(1);

/// Destroys data keys, see [`destroy_keys`].
#[derive(Debug)]
pub struct Eraser {
    database: Database,
    clock: Arc<dyn Clock>,
    due: bool,
}

impl Eraser {
    /// Creates the handler of the subscription [`ERASER`].
    #[must_use]
    pub const fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self {
            database,
            clock,
            due: false,
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
        self.due = false;
        for event in events.iter().filter(|event| is_erasure(event)) {
            destroy_key(transaction, &event.aggregate_id, self.clock.now()).await?;
            self.due = true;
        }
        Ok(())
    }

    fn committed(&mut self) {
        if std::mem::take(&mut self.due) {
            let database = self.database.clone();
            tokio::spawn(async move { truncate_journal(&database).await });
        }
    }
}

/// Whether an event erases a patient.
#[must_use]
pub fn is_erasure(event: &RecordedEvent) -> bool {
    event.aggregate_type == Patient::TYPE && event.event_type == PATIENT_ERASED
}

/// Destroys the data key of a patient. Returns the time at which the key was destroyed, which is earlier than
/// `now` if it was already destroyed. In a log in clear, there is no key.
///
/// # Errors
///
/// The errors of [`KeyStore::erase`](eventstore::sealing::KeyStore::erase).
pub async fn destroy_key(
    session: &mut impl Session,
    patient: &str,
    now: Timestamp,
) -> eventstore::Result<Option<Timestamp>> {
    let Some(sealing) = session.sealing().cloned() else {
        return Ok(None);
    };
    let keys = sealing.keys();
    let owner = keys.owner(Patient::TYPE, patient);
    keys.erase(session, &owner, now).await.map(Some)
}

/// Removes earlier versions of pages from SQLite's write-ahead log, which may contain erased keys and rows.
/// Readers that are still running delay this until a later erasure or the next checkpoint.
pub async fn truncate_journal(database: &Database) {
    if database.dialect() != Dialect::Sqlite {
        return;
    }
    let truncated = async {
        let mut writer = database.writer().await?;
        writer
            .query("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_optional()
            .await
    };
    if let Err(error) = truncated.await {
        tracing::warn!(%error, "the write-ahead log was not truncated after an erasure");
    }
}
