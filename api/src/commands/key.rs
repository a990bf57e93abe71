//! Ids derived from an `Idempotency-Key`, or from the id that a patient had in another service.
//!
//! In a sealed log, the ids are hashes with a secret of the keyring, because keys can contain personal data
//! and could be guessed from plain hashes.

use domain::{ImportSource, OldId};
use eventstore::RecordedEvent;
use eventstore::sealing::Keyring;
use uuid::Uuid;

/// Namespace for ids derived from an actor and a key (UUID version 5, RFC 9562).
const KEYS_OF_CALLERS: Uuid = Uuid::from_u128(0x2f8e_6b0c_53d1_5d0a_9a3e_b6a7_0c41_e8f5);
/// Namespace for ids that earlier versions derived from a key alone.
const KEYS: Uuid = Uuid::from_u128(0x6f1f_0f5e_9d0c_5c3b_8a44_2f6b_7a90_31d7);

/// Namespace for ids of amendments, derived from a patient, an actor and a key.
const AMENDMENTS: Uuid = Uuid::from_u128(0x8f0b_94d4_4a5e_5b02_9c65_27de_a1f3_7c10);

/// Namespace for ids of imported patients, derived from a source and an old id.
const IMPORTS: Uuid = Uuid::from_u128(0x3b7a_51c8_e2d4_5f69_8d17_0fb4_92ce_68a5);

/// Ids of the amendment of a patient that an actor requests with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AmendmentIds {
    /// Id with which the amendment is recorded.
    pub(super) id: Uuid,
    /// Id with which the amendment was recorded in an unencrypted log.
    pub(super) in_clear: Uuid,
}

impl AmendmentIds {
    pub(super) fn of(patient: Uuid, actor: &str, key: &str, keyring: Option<&Keyring>) -> Self {
        let name = format!("{patient}\0{actor}\0{key}");
        let in_clear = Uuid::new_v5(&AMENDMENTS, name.as_bytes());
        Self {
            id: keyring.map_or(in_clear, |keyring| keyed(keyring, "amendment", &name)),
            in_clear,
        }
    }
}

/// Ids of a patient that is imported from another service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ImportIds {
    /// Id with which the patient is imported.
    id: Uuid,
    /// Id with which the patient is imported into an unencrypted log.
    in_clear: Uuid,
}

impl ImportIds {
    /// Derives the ids. A source contains no NUL, so different pairs of source and old id never yield the
    /// same name.
    pub(super) fn of(source: &ImportSource, old_id: &OldId, keyring: Option<&Keyring>) -> Self {
        let name = format!("{source}\0{}", old_id.as_str());
        let in_clear = Uuid::new_v5(&IMPORTS, name.as_bytes());
        Self {
            id: keyring.map_or(in_clear, |keyring| keyed(keyring, "imported patient", &name)),
            in_clear,
        }
    }

    /// All ids.
    pub(super) const fn all(self) -> [Uuid; 2] {
        [self.id, self.in_clear]
    }
}

/// Returns the id that a keyring derives from a name (UUID version 8, RFC 9562).
fn keyed(keyring: &Keyring, kind: &str, name: &str) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&keyring.id_hash(kind, name)[..16]);
    Uuid::new_v8(bytes)
}

/// Ids of the patient that an actor registers with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyedIds {
    /// Id derived from the actor and the key.
    pub(super) id: Uuid,
    /// Id that is derived from the actor and the key in an unencrypted log.
    pub(super) in_clear: Uuid,
    /// Id that earlier versions derived from the key alone, without the actor.
    pub(super) former: Uuid,
}

impl KeyedIds {
    /// Derives the ids for a key of `actor`. An actor contains no NUL, so different pairs of actor and key
    /// never yield the same name.
    pub(super) fn of(actor: &str, key: &str, keyring: Option<&Keyring>) -> Self {
        let name = format!("{actor}\0{key}");
        let in_clear = Uuid::new_v5(&KEYS_OF_CALLERS, name.as_bytes());
        Self {
            id: keyring.map_or(in_clear, |keyring| keyed(keyring, "patient", &name)),
            in_clear,
            former: Uuid::new_v5(&KEYS, key.as_bytes()),
        }
    }

    /// All ids.
    pub(super) const fn all(self) -> [Uuid; 3] {
        [self.id, self.in_clear, self.former]
    }

    /// Returns the registration that the key was used for, from the events of all ids. A registration under
    /// the id that is derived from the key alone counts only if `actor` made it.
    pub(super) fn registration(
        self,
        actor: &str,
        events: Vec<RecordedEvent>,
    ) -> Option<(Uuid, RecordedEvent)> {
        let former = self.former.to_string();
        let mut firsts = events
            .into_iter()
            .filter(|event| event.sequence == 1)
            .collect::<Vec<_>>();
        for id in [self.id, self.in_clear] {
            let spelled = id.to_string();
            if let Some(at) = firsts.iter().position(|first| first.aggregate_id == spelled) {
                return Some((id, firsts.swap_remove(at)));
            }
        }
        firsts
            .into_iter()
            .find(|first| first.aggregate_id == former && first.metadata["actor"] == actor)
            .map(|first| (self.former, first))
    }
}
