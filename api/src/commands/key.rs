//! The ids that an `Idempotency-Key` stands for.

use eventstore::RecordedEvent;
use uuid::Uuid;

/// The namespace in which a caller and its key name a patient (UUID version 5, RFC 9562).
const KEYS_OF_CALLERS: Uuid = Uuid::from_u128(0x2f8e_6b0c_53d1_5d0a_9a3e_b6a7_0c41_e8f5);
/// The namespace in which a key alone named a patient, before keys were scoped to their callers.
const KEYS: Uuid = Uuid::from_u128(0x6f1f_0f5e_9d0c_5c3b_8a44_2f6b_7a90_31d7);

/// The ids of the patient that a caller registers with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyedIds {
    /// The id, which no other caller's key stands for.
    pub(super) id: Uuid,
    /// The id that an earlier version gave a patient with this key, whoever the caller was.
    pub(super) former: Uuid,
}

impl KeyedIds {
    /// The ids for a key of `actor`. An actor has no NUL, so two pairs never make the same name.
    pub(super) fn of(actor: &str, key: &str) -> Self {
        Self {
            id: Uuid::new_v5(&KEYS_OF_CALLERS, format!("{actor}\0{key}").as_bytes()),
            former: Uuid::new_v5(&KEYS, key.as_bytes()),
        }
    }

    /// The registration that the key was used for, among the events of both ids: one of the former id counts
    /// only if `actor` made it.
    pub(super) fn registration(
        self,
        actor: &str,
        events: Vec<RecordedEvent>,
    ) -> Option<(Uuid, RecordedEvent)> {
        let [id, former] = [self.id, self.former].map(|id| id.to_string());
        let mut firsts = events
            .into_iter()
            .filter(|event| event.sequence == 1)
            .collect::<Vec<_>>();
        if let Some(at) = firsts.iter().position(|first| first.aggregate_id == id) {
            return Some((self.id, firsts.swap_remove(at)));
        }
        firsts
            .into_iter()
            .find(|first| first.aggregate_id == former && first.metadata["actor"] == actor)
            .map(|first| (self.former, first))
    }
}
