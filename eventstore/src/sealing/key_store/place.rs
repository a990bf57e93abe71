//! The database of the keys: the database of the log, or a separate database.
//!
//! A separate database has the table `key_store`, whose row names the log. Every write locks or reads this
//! row, so a process that is connected to another database neither adds a key nor treats a key as erased. A
//! new key is committed before the events that are sealed with it. If their append fails, the key stays, and
//! the next events of the aggregate use it.

use std::fmt;
use std::sync::Arc;

use super::super::data_key::{KeyOwner, WrappedKey};
use super::super::events::SealingError;
use super::super::keyring::{Keyring, WrappingKeyId};
use super::super::secret::LogId;
use super::{KeyStore, StoredKey, erase_in, find_in, insert_in, unknown};
use crate::clock::Clock;
use crate::database::{Database, Row, Session};
use crate::error::{Error, Result};
use crate::format::{FormatError, KeysPlace, LogFormat};

/// Columns of the row that names the log.
const COLUMNS: &str = "log_id, keyring, retired";

#[derive(Clone)]
pub(super) enum Place {
    /// The database of the log.
    InLog,
    Elsewhere {
        database: Database,
        clock: Arc<dyn Clock>,
    },
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InLog => "InLog",
            Self::Elsewhere { .. } => "Elsewhere",
        })
    }
}

/// The row of `key_store`.
struct Owner {
    log: LogId,
    keyring: Vec<u8>,
    retired: String,
}

impl Owner {
    /// Reads the row, and locks it until the transaction ends if `lock` is the end of a locking query.
    async fn read(session: &mut impl Session, lock: &str) -> Result<Option<Self>> {
        let sql = format!("SELECT {COLUMNS} FROM key_store WHERE id = 1{lock}");
        let row = session.query(&sql).fetch_optional().await?;
        row.as_ref().map(Self::of).transpose()
    }

    fn of(row: &Row) -> Result<Self> {
        let log: Vec<u8> = row.get(0)?;
        let log = log.try_into().map_err(|_| Error::UnknownValue {
            table: "key_store",
            column: "log_id",
            value: "(not 16 bytes)".to_owned(),
        })?;
        Ok(Self {
            log: LogId(log),
            keyring: row.get(1)?,
            retired: row.get(2)?,
        })
    }

    async fn of_log(session: &mut impl Session, lock: &str, log: LogId) -> Result<Self, SealingError> {
        match Self::read(session, lock).await? {
            None => Err(SealingError::NoKeys),
            Some(owner) if owner.log != log => Err(SealingError::OtherKeys),
            Some(owner) => Ok(owner),
        }
    }

    async fn insert(&self, session: &mut impl Session) -> Result<()> {
        let inserted = session
            .query("INSERT INTO key_store (id, log_id, keyring, retired) VALUES (1, ?, ?, ?)")
            .bind(self.log.0.as_slice())
            .bind(self.keyring.as_slice())
            .bind(self.retired.as_str());
        inserted.execute().await?;
        Ok(())
    }

    async fn set_retired(session: &mut impl Session, retired: &str) -> Result<()> {
        let update = session.query("UPDATE key_store SET retired = ? WHERE id = 1");
        update.bind(retired).execute().await?;
        Ok(())
    }
}

impl KeyStore {
    /// Creates a store of the keys of the log `log`, which are in a separate database
    /// ([`schema::migrate_keys`](crate::schema::migrate_keys)). [`KeyStore::check`] checks that the database
    /// has the keys of this log.
    ///
    /// Sessions and databases in the parameters of other methods always belong to the log. A call may hold a
    /// connection to the log while it waits for a connection to `database`, but never the reverse.
    #[must_use]
    pub fn elsewhere(log: LogId, database: Database, clock: Arc<dyn Clock>) -> Self {
        Self {
            log,
            place: Place::Elsewhere { database, clock },
        }
    }

    /// Returns the format of a log with these keys.
    #[must_use]
    pub const fn format(&self) -> LogFormat {
        let place = match self.place {
            Place::InLog => KeysPlace::InLog,
            Place::Elsewhere { .. } => KeysPlace::Elsewhere,
        };
        LogFormat::Sealed(self.log, place)
    }

    /// Returns the database of the keys, if it is not the database of the log.
    pub(crate) const fn own_database(&self) -> Option<&Database> {
        match &self.place {
            Place::InLog => None,
            Place::Elsewhere { database, .. } => Some(database),
        }
    }

    /// Returns the database of the keys.
    pub(super) fn database<'d>(&'d self, log: &'d Database) -> &'d Database {
        self.own_database().unwrap_or(log)
    }

    /// Checks that a separate database has the keys of this log, and that the log had this keyring when the
    /// keys were put there.
    pub(super) async fn check_owner(&self, keyring: &Keyring) -> Result<(), SealingError> {
        let Some(database) = self.own_database() else {
            return Ok(());
        };
        let checked = async {
            let owner = Owner::of_log(&mut database.reader().await?, "", self.log).await?;
            if owner.keyring != keyring.check_hash(self.log) {
                return Err(SealingError::OtherKeyring);
            }
            Ok(())
        };
        checked.await.map_err(of_keys)
    }

    /// Stores the new key of an aggregate in a separate database, and returns the stored key, which is
    /// another key if the aggregate already has one. Returns `None` if the keys are in the database of the
    /// log: the append then stores the key.
    pub(in crate::sealing) async fn store_before_events(
        &self,
        owner: &KeyOwner<'_>,
        key: &WrappedKey,
    ) -> Result<Option<StoredKey>, SealingError> {
        let Place::Elsewhere { database, clock } = &self.place else {
            return Ok(None);
        };
        let stored = async {
            let mut transaction = database.begin().await?;
            // Until the commit, no wrapping key is retired.
            let lock = transaction.dialect().for_share();
            let of_log = Owner::of_log(&mut transaction, lock, self.log).await?;
            let aggregate = (owner.aggregate_type, owner.aggregate_id);
            insert_in(&mut transaction, aggregate, key, clock.now()).await?;
            let found = find_in(&mut transaction, owner.aggregate_type, &[owner.aggregate_id]).await?;
            let found = found
                .into_values()
                .next()
                .ok_or_else(|| unknown("aggregate_id"))?;
            let is_new = matches!(&found, StoredKey::Present(found) if found.id == key.id);
            if is_new && of_log.retired.contains(key.wrapping_key.as_str()) {
                transaction.rollback().await?;
                return Err(SealingError::RetiredKey);
            }
            transaction.commit().await?;
            Ok(found)
        };
        stored.await.map(Some).map_err(of_keys)
    }

    /// Erases the key in a separate database.
    pub(super) async fn erase_elsewhere(
        &self,
        database: &Database,
        aggregate_type: &str,
        aggregate_id: &str,
        now: crate::Timestamp,
    ) -> Result<crate::Timestamp, SealingError> {
        let erased = async {
            let mut transaction = database.begin().await?;
            Owner::of_log(&mut transaction, "", self.log).await?;
            let at = erase_in(&mut transaction, aggregate_type, aggregate_id, now).await?;
            transaction.commit().await?;
            Ok(at)
        };
        erased.await.map_err(of_keys)
    }

    /// Permanently retires wrapping keys that `active` has replaced: from then on, no process can store a
    /// data key that is wrapped with a retired key, even with an older keyring. Returns false and retires
    /// nothing if `active` itself is retired.
    ///
    /// # Errors
    ///
    /// [`SealingError::NoKeys`], [`SealingError::OtherKeys`], [`SealingError::Store`].
    pub async fn retire(
        &self,
        log: &Database,
        active: &WrappingKeyId,
        ids: &[WrappingKeyId],
    ) -> Result<bool, SealingError> {
        let Some(database) = self.own_database() else {
            return Ok(LogFormat::retire(log, active, ids).await?);
        };
        let retired = async {
            let mut transaction = database.begin().await?;
            let lock = transaction.dialect().for_update();
            let owner = Owner::of_log(&mut transaction, lock, self.log).await?;
            if owner.retired.contains(active.as_str()) {
                transaction.rollback().await?;
                return Ok(false);
            }
            let ids = ids.iter().map(WrappingKeyId::as_str);
            Owner::set_retired(&mut transaction, &joined(&owner.retired, ids)).await?;
            transaction.commit().await?;
            Ok(true)
        };
        retired.await.map_err(of_keys)
    }

    /// Whether a wrapping key is retired.
    ///
    /// # Errors
    ///
    /// Same as [`KeyStore::retire`].
    pub async fn is_retired(&self, log: &Database, id: &WrappingKeyId) -> Result<bool, SealingError> {
        Ok(self.retired(log).await?.contains(id.as_str()))
    }

    async fn retired(&self, log: &Database) -> Result<String, SealingError> {
        let Some(database) = self.own_database() else {
            return Ok(LogFormat::all_retired(log).await?);
        };
        let retired = async {
            let owner = Owner::of_log(&mut database.reader().await?, "", self.log).await?;
            Ok(owner.retired)
        };
        retired.await.map_err(of_keys)
    }

    /// Prepares a database for the keys of this log, which are moved there: it must have no keys, or keys of
    /// this log. The wrapping keys that are retired in `from` are also retired there.
    pub(super) async fn adopt(
        &self,
        log: &Database,
        from: &Self,
        keyring: &Keyring,
    ) -> Result<(), SealingError> {
        let retired = from.retired(log).await?;
        let retired: Vec<WrappingKeyId> = retired.split(',').filter_map(WrappingKeyId::parse).collect();
        if retired.contains(keyring.active_id()) {
            return Err(SealingError::RetiredKey);
        }
        let Some(database) = self.own_database() else {
            let is_current = LogFormat::retire(log, keyring.active_id(), &retired).await?;
            return is_current.then_some(()).ok_or(SealingError::RetiredKey);
        };
        let adopted = async {
            let mut transaction = database.begin().await?;
            let lock = transaction.dialect().for_update();
            let ids = retired.iter().map(WrappingKeyId::as_str);
            match Owner::read(&mut transaction, lock).await? {
                None => {
                    let owner = Owner {
                        log: self.log,
                        keyring: keyring.check_hash(self.log).to_vec(),
                        retired: joined("", ids),
                    };
                    owner.insert(&mut transaction).await?;
                }
                Some(owner) if owner.log == self.log => {
                    Owner::set_retired(&mut transaction, &joined(&owner.retired, ids)).await?;
                }
                Some(_) => return Err(SealingError::OtherKeys),
            }
            transaction.commit().await?;
            Ok(())
        };
        adopted.await.map_err(of_keys)
    }
}

/// Reserves a database of keys for a log that is about to be sealed, and returns the id for the log. If an
/// earlier call reserved the database with the same keyring, but no key was added, returns that id: the
/// process may have been killed before it sealed the log.
pub(crate) async fn reserve(database: &Database, keyring: &Keyring) -> Result<LogId, FormatError> {
    let mut transaction = database.begin().await.map_err(Error::of_keys)?;
    let reserved = async {
        let lock = transaction.dialect().for_update();
        if let Some(owner) = Owner::read(&mut transaction, lock).await? {
            let any = transaction.query("SELECT 1 FROM subject_keys LIMIT 1");
            let is_empty = any.fetch_optional().await?.is_none();
            if !is_empty || owner.keyring != keyring.check_hash(owner.log) {
                return Err(FormatError::Sealing(SealingError::OtherKeys));
            }
            return Ok(owner.log);
        }
        let log = LogId::random()?;
        let owner = Owner {
            log,
            keyring: keyring.check_hash(log).to_vec(),
            retired: String::new(),
        };
        owner.insert(&mut transaction).await?;
        Ok(log)
    };
    let log = reserved.await?;
    transaction.commit().await.map_err(Error::of_keys)?;
    Ok(log)
}

/// Adds ids to a list that is separated by commas.
pub(crate) fn joined<'i>(list: &'i str, ids: impl Iterator<Item = &'i str>) -> String {
    let mut all: Vec<&str> = list.split(',').filter(|id| !id.is_empty()).collect();
    all.extend(ids.filter(|id| !list.contains(*id)));
    all.join(",")
}

/// Marks an error of the store as an error of the keys' database.
fn of_keys(error: SealingError) -> SealingError {
    match error {
        SealingError::Store(error) => SealingError::Store(Error::of_keys(error)),
        other => other,
    }
}
