//! Sealing new events, and opening recorded events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use super::data_key::{DataKey, KeyOwner, WrappedKey};
use super::envelope::{EventContext, SealError, SealedPayload};
use super::key_store::{KeyStore, StoredKey};
use super::keyring::Keyring;
use crate::clock::Timestamp;
use crate::database::{Database, Session};
use crate::error::Error;
use crate::event::{NewEvent, Position, RecordedEvent};

/// Maximum number of aggregate ids in one statement.
const IDS: usize = 1000;

/// The personal data of an event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PersonalData {
    /// Names of the payload's members that are sealed.
    pub members: &'static [&'static str],
    /// The versions of the payload format before sealing and after opening, each with the version with which
    /// sealed events are stored.
    pub versions: &'static [(&'static str, &'static str)],
}

impl PersonalData {
    /// Returns the version with which an event of this version is stored when it is sealed.
    fn sealed_version(&self, version: &str) -> Option<&'static str> {
        let mut versions = self.versions.iter();
        versions
            .find(|(open, _)| *open == version)
            .map(|(_, sealed)| *sealed)
    }

    /// Returns the version that an event with this stored version has after opening; `None` if events with
    /// this stored version are not sealed.
    fn opened_version(&self, stored: &str) -> Option<&'static str> {
        let mut versions = self.versions.iter();
        versions
            .find(|(_, sealed)| *sealed == stored)
            .map(|(open, _)| *open)
    }
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
    /// The keyring has other secrets than the keyring with which the log was sealed.
    #[error("the keyring belongs to another log")]
    OtherKeyring,
    /// The database of the keys has the keys of another log.
    #[error("the keys' database belongs to another log")]
    OtherKeys,
    /// The database of the keys has never had the keys of a log, or its table `key_store` was emptied.
    #[error("the keys' database has no keys of a log")]
    NoKeys,
    /// A new data key is wrapped with a retired wrapping key: this process has an older keyring.
    #[error("the wrapping key is retired: this process has an older keyring")]
    RetiredKey,
    /// The log is sealed, but this process has not opened it with its keyring.
    #[error("the log is sealed, but this process has no keyring")]
    NotOpened,
    /// An event is sealed, but this process has not opened the log with its keyring.
    #[error("the event at position {position} is sealed, but this process has no keyring")]
    NoKeyring {
        /// Position of the event.
        position: Position,
    },
    /// The aggregate was erased, so no further event of it can be sealed.
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
    /// The store has neither the key of a sealed event nor a record that the key was erased. The event is not
    /// treated as erased, because the store may be the store of another log.
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

impl SealingError {
    /// Whether a single event was altered, rather than the keyring or the stored keys being unusable.
    #[must_use]
    pub fn is_of_one_event(&self) -> bool {
        match self {
            Self::Event { error, .. } => !matches!(error, SealError::UnknownWrappingKey(_)),
            Self::NotSealed { .. } => true,
            _ => false,
        }
    }
}

/// New events, sealed, and the key that must be stored together with them.
#[derive(Debug)]
#[must_use = "the new key must be stored, and the events appended"]
pub struct SealedEvents {
    /// The sealed events, ready to be appended.
    pub events: Vec<NewEvent>,
    /// The new key of the aggregate, unless it is stored already. [`Append::sealed`](crate::Append::sealed)
    /// stores it in the transaction of the events.
    pub new_key: Option<WrappedKey>,
}

/// Seals and opens the events of one log. Cheap to clone.
#[derive(Clone)]
pub struct Sealing(Arc<Parts>);

struct Parts {
    keyring: RwLock<Arc<Keyring>>,
    store: KeyStore,
    personal: Box<dyn DeclarePersonalData>,
    claims: AtomicI64,
}

impl Sealing {
    /// Creates the sealing of a log. `keys` are its data keys, or its id if the keys are in the database of
    /// the log. `claims` is the version of the claim rules of the log
    /// ([`LogFormat::claims`](crate::LogFormat::claims)).
    #[must_use]
    pub fn new(
        keyring: Keyring,
        keys: impl Into<KeyStore>,
        claims: i64,
        personal: impl DeclarePersonalData,
    ) -> Self {
        Self(Arc::new(Parts {
            keyring: RwLock::new(Arc::new(keyring)),
            store: keys.into(),
            personal: Box::new(personal),
            claims: AtomicI64::new(claims),
        }))
    }

    /// Returns the version of the claim rules that this process knows. If an append is rejected with
    /// [`AppendError::OtherClaims`](crate::AppendError::OtherClaims), read the version again.
    #[must_use]
    pub fn claims(&self) -> i64 {
        self.0.claims.load(Ordering::Relaxed)
    }

    /// Sets the version of the claim rules.
    pub fn set_claims(&self, claims: i64) {
        self.0.claims.store(claims, Ordering::Relaxed);
    }

    /// Returns the current keyring.
    #[must_use]
    pub fn keyring(&self) -> Arc<Keyring> {
        let keyring = self.0.keyring.read();
        Arc::clone(&keyring.unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the keyring, for example because another wrapping key became active.
    pub fn replace_keyring(&self, keyring: Keyring) {
        let current = self.0.keyring.write();
        *current.unwrap_or_else(PoisonError::into_inner) = Arc::new(keyring);
    }

    /// Returns the key with which the processes of this log authenticate heads
    /// ([`Signal::share_heads`](crate::Signal::share_heads)).
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn head_key(&self) -> crate::signal::HeadKey {
        let log = self.keys().log().to_string();
        crate::signal::HeadKey::new(self.keyring().id_hash("acknowledged heads", &log))
    }

    /// The stored data keys.
    #[must_use]
    pub fn keys(&self) -> &KeyStore {
        &self.0.store
    }

    /// Seals new events of one aggregate. If the aggregate is `fresh`, it has no key yet, so the database is
    /// not read. Two processes may seal the first event of an aggregate at the same time. They then use the
    /// same key, or two keys, of which only one is accepted, together with its events.
    ///
    /// # Errors
    ///
    /// [`SealingError::Store`], [`SealingError::Seal`] or [`SealingError::Erased`]. If the keys are in a
    /// separate database, also [`SealingError::RetiredKey`], [`SealingError::NoKeys`] or
    /// [`SealingError::OtherKeys`].
    pub async fn seal(
        &self,
        database: &Database,
        mut events: Vec<NewEvent>,
        fresh: bool,
    ) -> Result<SealedEvents, SealingError> {
        let (keyring, Parts { store, personal, .. }) = (&*self.keyring(), &*self.0);
        let personal = |event: &NewEvent| {
            let declared = personal.of(&event.event_type)?;
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
        let owner = store.owner(&aggregate_type, &aggregate_id);
        let stored = if fresh {
            None
        } else {
            let mut reader = database.reader().await?;
            let found = store.find(&mut reader, &aggregate_type, &[&aggregate_id]).await?;
            found.into_values().next()
        };
        let (key, new_key) = match stored {
            Some(StoredKey::Erased(at)) => return Err(SealingError::Erased { at }),
            Some(StoredKey::Present(wrapped)) => (wrapped.unwrap(keyring, &owner)?, None),
            None => {
                let key = DataKey::random()?;
                let wrapped = key.wrap(keyring, &owner)?;
                match store.store_before_events(&owner, &wrapped).await? {
                    None => (key, Some(wrapped)),
                    // Another request may have stored a key of its own, for example if its append failed.
                    Some(StoredKey::Present(stored)) => (stored.unwrap(keyring, &owner)?, None),
                    Some(StoredKey::Erased(at)) => return Err(SealingError::Erased { at }),
                }
            }
        };
        for event in &mut events {
            if let Some(declared) = personal(event) {
                seal(event, &key, &owner, declared)?;
            }
        }
        Ok(SealedEvents { events, new_key })
    }

    /// Opens stored events: each event gets the payload and the version that it had before sealing. If its
    /// personal data was erased, [`RecordedEvent::erased_at`] is set. The keys are read with one statement
    /// for each aggregate type.
    ///
    /// # Errors
    ///
    /// [`SealingError`], except [`SealingError::Seal`] and [`SealingError::Erased`].
    pub async fn open(
        &self,
        session: &mut impl Session,
        events: Vec<RecordedEvent>,
    ) -> Result<Vec<RecordedEvent>, SealingError> {
        let keys = self.keys_of(session, &events).await?;
        let open = |mut event| self.open_one(&mut event, &keys).map(|()| event);
        events.into_iter().map(open).collect()
    }

    /// Like [`Sealing::open`], but an event that was altered is returned as stored. It then affects only its
    /// own aggregate, because readers of the payload reject its version. A missing key or keyring affects the
    /// whole log, and is an error.
    ///
    /// # Errors
    ///
    /// [`SealingError::KeyMissing`]; [`SealingError::Event`] if the keyring lacks a wrapping key;
    /// [`SealingError::Store`].
    pub async fn open_unaltered(
        &self,
        session: &mut impl Session,
        mut events: Vec<RecordedEvent>,
    ) -> Result<Vec<RecordedEvent>, SealingError> {
        let keys = self.keys_of(session, &events).await?;
        for event in &mut events {
            match self.open_one(event, &keys) {
                Ok(()) => {}
                Err(error) if error.is_of_one_event() => {
                    tracing::error!(%error, "an event cannot be opened");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(events)
    }

    /// Reads the keys of the aggregates of events with personal data, by type and id.
    async fn keys_of(
        &self,
        session: &mut impl Session,
        events: &[RecordedEvent],
    ) -> Result<Keys, SealingError> {
        let (keyring, Parts { store, personal, .. }) = (&*self.keyring(), &*self.0);
        let mut wanted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for event in events
            .iter()
            .filter(|event| personal.of(&event.event_type).is_some())
        {
            let ids = wanted.entry(&event.aggregate_type).or_default();
            ids.insert(&event.aggregate_id);
        }
        let mut keys = Keys::new();
        for (aggregate_type, ids) in wanted {
            let ids: Vec<&str> = ids.into_iter().collect();
            let of_type = keys.entry(aggregate_type.to_owned()).or_default();
            for ids in ids.chunks(IDS) {
                for (id, stored) in store.find(session, aggregate_type, ids).await? {
                    let owner = store.owner(aggregate_type, &id);
                    let key = match stored {
                        StoredKey::Present(wrapped) => Key::Present(wrapped.unwrap(keyring, &owner)),
                        StoredKey::Erased(at) => Key::Erased(at),
                    };
                    of_type.insert(id, key);
                }
            }
        }
        Ok(keys)
    }

    fn open_one(&self, event: &mut RecordedEvent, keys: &Keys) -> Result<(), SealingError> {
        let position = event.position;
        let Some(declared) = self.0.personal.of(&event.event_type) else {
            return Ok(());
        };
        let key = keys.get(&event.aggregate_type).and_then(|keys| {
            let spelled = event.aggregate_id.trim_end_matches(' ');
            // MySQL ignores the case of ids, and spaces at their end. An id with another spelling was
            // altered, and the data does not open, because it is bound to the id.
            keys.get(&event.aggregate_id).or_else(|| {
                let mut keys = keys.iter();
                keys.find(|(id, _)| id.eq_ignore_ascii_case(spelled))
                    .map(|(_, key)| key)
            })
        });
        if !SealedPayload::is_sealed(&event.payload) {
            if declared.opened_version(&event.event_version).is_some() {
                return Err(SealingError::NotSealed { position });
            }
            // The log still contains this personal data unencrypted, but readers get the event without it.
            if let Some(Key::Erased(at)) = key {
                event.erase_members(declared.members, *at);
            }
            return Ok(());
        }
        let of_event = |error| SealingError::Event { position, error };
        let Some(version) = declared.opened_version(&event.event_version) else {
            return Err(of_event(SealError::Malformed(
                "events of this type and version are not sealed",
            )));
        };
        let sealed = SealedPayload::parse(&event.payload).map_err(of_event)?;
        event.payload = match key {
            None => return Err(SealingError::KeyMissing { position }),
            Some(Key::Erased(_)) => Value::Object(sealed.clear().clone()),
            Some(Key::Present(Err(error))) => return Err(of_event(error.clone())),
            Some(Key::Present(Ok(key))) => {
                let context = EventContext {
                    log: self.0.store.log(),
                    aggregate_type: &event.aggregate_type,
                    aggregate_id: &event.aggregate_id,
                    sequence: event.sequence,
                    event_type: &event.event_type,
                    event_version: &event.event_version,
                };
                sealed.open(key, &context).map_err(of_event)?
            }
        };
        version.clone_into(&mut event.event_version);
        if let Some(Key::Erased(at)) = key {
            event.erase_members(&[], *at);
        }
        Ok(())
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
    let version = declared.sealed_version(&event.event_version);
    let version = version.ok_or(SealError::UnknownVersion)?;
    let context = EventContext {
        log: owner.log,
        aggregate_type: owner.aggregate_type,
        aggregate_id: owner.aggregate_id,
        sequence: event.sequence,
        event_type: &event.event_type,
        event_version: version,
    };
    let payload = std::mem::take(&mut event.payload);
    event.payload = key.seal(payload, declared.members, &context)?;
    version.clone_into(&mut event.event_version);
    Ok(())
}

impl std::fmt::Debug for Sealing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealing").finish_non_exhaustive()
    }
}
