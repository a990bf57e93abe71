//! Limits on the number of streams, in total and per caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::ApiError;

/// Maximum number of streams at a time. Further streams are rejected.
const STREAMS: usize = 100;
/// Maximum number of streams of one caller at a time. At least four callers are needed to use up all streams.
const OF_ONE_CALLER: usize = STREAMS / 4;

/// Slots for streams. Cheap to clone; all clones share their slots.
#[derive(Debug, Clone)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    /// Number of open streams of each caller with at least one open stream.
    taken: Arc<Mutex<HashMap<String, usize>>>,
}

/// Slot for a stream. Dropping it releases the slot.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    holder: Option<String>,
    _of_all: OwnedSemaphorePermit,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(STREAMS)),
            taken: Arc::default(),
        }
    }
}

impl Places {
    /// Takes a slot for a stream of `holder`. Without access control, callers cannot be distinguished, and
    /// `holder` is `None`.
    pub(super) fn take(&self, holder: Option<&str>) -> Result<Place, ApiError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let open = holder.and_then(|holder| taken.get(holder)).copied().unwrap_or(0);
        if open >= OF_ONE_CALLER {
            return Err(ApiError::TooManyOwnStreams(open));
        }
        let of_all = Arc::clone(&self.all)
            .try_acquire_owned()
            .map_err(|_| ApiError::TooManyStreams)?;
        if let Some(holder) = holder {
            taken.insert(holder.to_owned(), open + 1);
        }
        Ok(Place {
            places: self.clone(),
            holder: holder.map(str::to_owned),
            _of_all: of_all,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(holder) = self.holder.take() else {
            return;
        };
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = taken.get_mut(&holder) {
            *open -= 1;
            if *open == 0 {
                taken.remove(&holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_has_a_quarter_and_the_others_still_have_theirs() {
        let places = Places::default();
        let mut held: Vec<_> = (0..OF_ONE_CALLER)
            .map(|_| places.take(Some("desk")).unwrap())
            .collect();
        let refused = places.take(Some("desk")).unwrap_err();
        assert!(
            matches!(refused, ApiError::TooManyOwnStreams(OF_ONE_CALLER)),
            "{refused:?}"
        );
        for caller in ["a", "b", "c"] {
            held.extend((0..OF_ONE_CALLER).map(|_| places.take(Some(caller)).unwrap()));
        }
        for holder in [Some("d"), None] {
            let refused = places.take(holder).unwrap_err();
            assert!(matches!(refused, ApiError::TooManyStreams), "{refused:?}");
        }
        held.remove(0);
        held.push(places.take(Some("desk")).unwrap());
        drop(held);
        assert!(
            places.taken.lock().unwrap().is_empty(),
            "callers without streams are forgotten"
        );
    }
}
