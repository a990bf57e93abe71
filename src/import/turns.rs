//! The order of rows with the same old id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::OldId;
use tokio::sync::Semaphore;

/// Rows in progress, by their old ids. Rows are registered at the same time, but a row waits until all
/// earlier rows with its old id have ended. Which of these rows is imported therefore does not depend on the
/// time that each row takes.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<OldId, Arc<Semaphore>>>);

/// The turn of one row. Dropping it lets the next row with the same old id continue.
pub(super) struct Turn<'t> {
    turns: &'t Turns,
    old_id: OldId,
    /// Closed when the previous row with this old id has ended.
    previous: Option<Arc<Semaphore>>,
    /// Closed when this row has ended.
    ended: Arc<Semaphore>,
}

impl Turns {
    /// Adds a row after all rows that were added before.
    pub(super) fn begin(&self, old_id: OldId) -> Turn<'_> {
        let ended = Arc::new(Semaphore::new(0));
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let previous = last.insert(old_id.clone(), Arc::clone(&ended));
        Turn {
            turns: self,
            old_id,
            previous,
            ended,
        }
    }
}

impl Turn<'_> {
    /// Waits for the previous row with the same old id.
    pub(super) async fn wait(&self) {
        if let Some(previous) = &self.previous {
            // It has no permits, so this waits until it is closed.
            drop(previous.acquire().await);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.ended.close();
        let mut last = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last
            .get(&self.old_id)
            .is_some_and(|last| Arc::ptr_eq(last, &self.ended))
        {
            last.remove(&self.old_id);
        }
    }
}
