//! Registrations with a key that are under way in this process.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// The ids that are being registered. As many as there are requests under way, at most.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<HashSet<Uuid>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'r> {
    running: &'r Running,
    id: Uuid,
}

impl Running {
    /// Begins to register an id; nothing if somebody else has begun and not ended.
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
