//! Sealing new events, and opening recorded events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::data_key::{DataKey, KeyOwner, WrappedKey};
use super::envelope::{EventContext, SealError, SealedPayload};
use super::key_store::{KeyStore, StoredKey};
use super::keyring::Keyring;
use crate::clock::Timestamp;
use crate::database::Session;
use crate::error::Error;
use crate::event::{NewEvent, Position, RecordedEvent};

/// Name of the member that an opened event has in place of its erased members.
const ERASED: &str = "erased";
/// Maximum number of aggregate ids in one statement.
const IDS: usize = 1000;

/// The personal data of an event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PersonalData {
    /// Names of the payload's members that are sealed.
    pub members: &'static [&'static str],
    /// Version of the payload format before sealing and after opening.
    pub version: &'static str,
    /// Version with which sealed events are stored.
    pub sealed_version: &'static str,
}

/// Declares which event types have personal data.
pub trait DeclarePersonalData: Send + Sync + 'static {
    /// Returns the personal data of an event type, or `None` if it has none.
    fn of(&self, event_type: &str) -> Option<PersonalData>;
}

/// Reason why events could not be sealed or opened. It contains no personal data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealingError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// The encryption failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The aggregate was erased, so nothing can be sealed for it any more.
    #[error("the aggregate was erased")]
    Erased {
        /// Time of the erasure.
        at: Timestamp,
    },
    /// A recorded event cannot be opened.
    #[error("the event at position {position} cannot be opened: {error}")]
    Event {
        /// Position of the event.
        position: Position,
        /// The error.
        #[source]
        error: SealError,
    },
    /// The store never held the key of a sealed event. The event is not treated as erased, because the store
    /// may be the store of another log.
    #[error(
        "the event at position {position} is sealed, but the keys' database never held its key: is it the right database?"
    )]
    KeyMissing {
        /// Position of the event.
        position: Position,
    },
    /// An event has the version of a sealed event, but is not sealed.
    #[error("the event at position {position} has the version of a sealed event, but is not sealed")]
    NotSealed {
        /// Position of the event.
        position: Position,
    },
}

/// New events, sealed, and the key that must be stored before them or together with them.
#[derive(Debug)]
#[must_use = "the new key must be stored, and the events appended"]
pub struct SealedEvents {
    /// The events as they are appended.
    pub events: Vec<NewEvent>,
    /// The new key of the aggregate, if it had none. Store it with [`KeyStore::add`] before the events are
    /// appended. If that fails, the events must not be appended.
    pub new_key: Option<WrappedKey>,
}

/// A recorded event whose personal data was opened or erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedEvent {
    /// The event, with the payload and the version that it had before sealing. If the personal data was
    /// erased, the payload has the member `erased` with the time of the erasure instead.
    pub event: RecordedEvent,
    /// Time at which the personal data was erased.
    pub erased_at: Option<Timestamp>,
}

/// Seals and opens the events of one log. Cheap to clone.
#[derive(Clone)]
pub struct Sealing {
    keyring: Arc<Keyring>,
    store: KeyStore,
    personal: Arc<dyn DeclarePersonalData>,
}

impl Sealing {
    /// Creates the sealing of the log whose keys `store` has.
    #[must_use]
    pub const fn new(keyring: Arc<Keyring>, store: KeyStore, personal: Arc<dyn DeclarePersonalData>) -> Self {
        Self {
            keyring,
            store,
            personal,
        }
    }

    /// Seals new events of one aggregate. If the aggregate is `fresh`, it has no key yet, so none is looked
    /// up. If the new key cannot be stored because of
    /// [`AddKeyError::OtherKey`](super::AddKeyError::OtherKey), seal the original events again with
    /// `fresh = false`.
    ///
    /// # Errors
    ///
    /// [`SealingError::Store`], [`SealingError::Seal`] or [`SealingError::Erased`].
    pub async fn seal(
        &self,
        session: &mut impl Session,
        mut events: Vec<NewEvent>,
        fresh: bool,
    ) -> Result<SealedEvents, SealingError> {
        let personal = |event: &NewEvent| {
            let declared = self.personal.of(&event.event_type)?;
            let has = |member: &&&str| event.payload.get(**member).is_some();
            declared.members.iter().find(has).map(|_| declared)
        };
        let Some(first) = events.iter().find(|event| personal(event).is_some()) else {
            return Ok(SealedEvents {
                events,
                new_key: None,
            });
        };
        let (aggregate_type, aggregate_id) = (first.aggregate_type.clone(), first.aggregate_id.clone());
        let owner = self.store.owner(&aggregate_type, &aggregate_id);
        let stored = if fresh {
            None
        } else {
            let found = self
                .store
                .find(session, &aggregate_type, &[&aggregate_id])
                .await?;
            found.into_values().next()
        };
        let (key, new_key) = match stored {
            Some(StoredKey::Erased(at)) => return Err(SealingError::Erased { at }),
            Some(StoredKey::Present(wrapped)) => (wrapped.unwrap(&self.keyring, &owner)?, None),
            None => {
                let key = DataKey::random()?;
                let wrapped = key.wrap(&self.keyring, &owner)?;
                (key, Some(wrapped))
            }
        };
        for event in &mut events {
            if let Some(declared) = personal(event) {
                seal(event, &key, &owner, declared)?;
            }
        }
        Ok(SealedEvents { events, new_key })
    }

    /// Opens recorded events. Their keys are read with one statement for each aggregate type.
    ///
    /// # Errors
    ///
    /// [`SealingError`], except [`SealingError::Seal`] and [`SealingError::Erased`].
    pub async fn open(
        &self,
        session: &mut impl Session,
        events: Vec<RecordedEvent>,
    ) -> Result<Vec<OpenedEvent>, SealingError> {
        let keys = self.keys(session, &events).await?;
        events
            .into_iter()
            .map(|event| self.open_one(event, &keys))
            .collect()
    }

    /// Reads the keys of the aggregates of sealed events, by type and id.
    async fn keys(&self, session: &mut impl Session, events: &[RecordedEvent]) -> Result<Keys, SealingError> {
        let mut sealed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for event in events
            .iter()
            .filter(|event| SealedPayload::is_sealed(&event.payload))
        {
            let ids = sealed.entry(&event.aggregate_type).or_default();
            ids.insert(&event.aggregate_id);
        }
        let mut keys = Keys::new();
        for (aggregate_type, ids) in sealed {
            let ids: Vec<&str> = ids.into_iter().collect();
            let of_type = keys.entry(aggregate_type.to_owned()).or_default();
            for ids in ids.chunks(IDS) {
                for (id, stored) in self.store.find(session, aggregate_type, ids).await? {
                    let owner = self.store.owner(aggregate_type, &id);
                    let key = match stored {
                        StoredKey::Present(wrapped) => Key::Present(wrapped.unwrap(&self.keyring, &owner)),
                        StoredKey::Erased(at) => Key::Erased(at),
                    };
                    of_type.insert(id, key);
                }
            }
        }
        Ok(keys)
    }

    fn open_one(&self, mut event: RecordedEvent, keys: &Keys) -> Result<OpenedEvent, SealingError> {
        let position = event.position;
        let declared = self.personal.of(&event.event_type);
        if !SealedPayload::is_sealed(&event.payload) {
            return match declared {
                Some(declared) if declared.sealed_version == event.event_version => {
                    Err(SealingError::NotSealed { position })
                }
                _ => Ok(OpenedEvent {
                    event,
                    erased_at: None,
                }),
            };
        }
        let of_event = |error| SealingError::Event { position, error };
        let declared = declared.filter(|declared| declared.sealed_version == event.event_version);
        let declared = declared.ok_or_else(|| {
            of_event(SealError::Malformed(
                "events of this type and version are not sealed",
            ))
        })?;
        let sealed = SealedPayload::parse(&event.payload).map_err(of_event)?;
        let key = keys
            .get(&event.aggregate_type)
            .and_then(|keys| keys.get(&event.aggregate_id));
        let (payload, erased_at) = match key {
            None => return Err(SealingError::KeyMissing { position }),
            Some(Key::Erased(at)) => {
                let mut members = sealed.clear().clone();
                members.insert(ERASED.to_owned(), Value::String(at.to_string()));
                (Value::Object(members), Some(*at))
            }
            Some(Key::Present(Err(error))) => return Err(of_event(error.clone())),
            Some(Key::Present(Ok(key))) => {
                let context = EventContext {
                    log: self.store.log(),
                    aggregate_type: &event.aggregate_type,
                    aggregate_id: &event.aggregate_id,
                    sequence: event.sequence,
                    event_type: &event.event_type,
                    event_version: &event.event_version,
                };
                (sealed.open(key, &context).map_err(of_event)?, None)
            }
        };
        event.payload = payload;
        declared.version.clone_into(&mut event.event_version);
        Ok(OpenedEvent { event, erased_at })
    }
}

/// The keys of aggregates, by type and id.
type Keys = BTreeMap<String, BTreeMap<String, Key>>;

enum Key {
    Present(Result<DataKey, SealError>),
    Erased(Timestamp),
}

fn seal(
    event: &mut NewEvent,
    key: &DataKey,
    owner: &KeyOwner<'_>,
    declared: PersonalData,
) -> Result<(), SealError> {
    let context = EventContext {
        log: owner.log,
        aggregate_type: owner.aggregate_type,
        aggregate_id: owner.aggregate_id,
        sequence: event.sequence,
        event_type: &event.event_type,
        event_version: declared.sealed_version,
    };
    let payload = std::mem::take(&mut event.payload);
    event.payload = key.seal(payload, declared.members, &context)?;
    declared.sealed_version.clone_into(&mut event.event_version);
    Ok(())
}

impl std::fmt::Debug for Sealing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealing").finish_non_exhaustive()
    }
}
