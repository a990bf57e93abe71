//! Commands for the same patient at the same time. In a process, they run one after another. A command that
//! conflicts with a command of another process is decided again after a pause.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::CommandError;

/// Maximum number of attempts for a command that conflicts with commands of other processes or with changes
/// of the claim rules. Each conflict means that another command succeeded.
pub(super) const TRIES: u32 = 10;

/// Maximum time that a command waits for earlier commands for the same patient: a quarter of the default of
/// `REQUEST_TIMEOUT`.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Maximum pause after the first conflict, about the time of one append. It doubles with each conflict.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// Maximum pause after any conflict.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Locks of the patients who have commands in progress. Their number never exceeds the number of requests in
/// progress.
#[derive(Debug, Default)]
pub(super) struct PatientLocks(Mutex<HashMap<Uuid, Arc<AsyncMutex<()>>>>);

/// The lock of a patient, or a place in the queue for it. Dropping it releases the lock or leaves the queue.
#[derive(Debug)]
pub(super) struct PatientLock<'l> {
    locks: &'l PatientLocks,
    id: Uuid,
    lock: Arc<AsyncMutex<()>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl PatientLocks {
    /// Locks a patient after all commands that wait for the same patient.
    ///
    /// # Errors
    ///
    /// [`CommandError::Contended`] if the earlier commands take longer than [`LOCK_WAIT`].
    pub(super) async fn lock(&self, id: Uuid) -> Result<PatientLock<'_>, CommandError> {
        let mut place = self.queue(id);
        let locked = timeout(LOCK_WAIT, Arc::clone(&place.lock).lock_owned()).await;
        place.guard = Some(locked.map_err(|_| CommandError::Contended)?);
        Ok(place)
    }

    /// Locks a patient. `None` if the patient is locked.
    pub(super) fn try_lock(&self, id: Uuid) -> Option<PatientLock<'_>> {
        let mut place = self.queue(id);
        place.guard = Some(Arc::clone(&place.lock).try_lock_owned().ok()?);
        Some(place)
    }

    fn queue(&self, id: Uuid) -> PatientLock<'_> {
        let lock = Arc::clone(self.all().entry(id).or_default());
        PatientLock {
            locks: self,
            id,
            lock,
            guard: None,
        }
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Arc<AsyncMutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PatientLock<'_> {
    fn drop(&mut self) {
        let mut all = self.locks.all();
        self.guard = None;
        // New references are made only from the map, which is locked, or from another `PatientLock`.
        let unused = Arc::strong_count(&self.lock) == 2;
        if unused {
            all.remove(&self.id);
        }
    }
}

/// Waits for a random time after a conflict, so that processes do not conflict again and again. `conflicts`
/// is the number of earlier conflicts of the command.
pub(super) async fn pause(conflicts: u32) {
    let longest = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(conflicts));
    sleep(longest.min(LONGEST_PAUSE).mul_f64(fastrand::f64())).await;
}

#[cfg(test)]
mod tests;
