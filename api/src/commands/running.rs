//! Registrations with a key that are in progress in this process.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// Ids of the registrations in progress. Their number never exceeds the number of requests in progress.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<HashSet<Uuid>>);

/// Guard of a registration in progress. Dropping it marks the registration as finished.
#[derive(Debug)]
pub(super) struct Turn<'r> {
    running: &'r Running,
    id: Uuid,
}

impl Running {
    /// Begins the registration of an id. `None` if a registration of this id is in progress.
    pub(super) fn begin(&self, id: Uuid) -> Option<Turn<'_>> {
        let began = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        began.then_some(Turn { running: self, id })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut running = self.running.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.id);
    }
}
