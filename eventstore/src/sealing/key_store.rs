//! The stored data keys, in the table `subject_keys` of the log's database or of another database.
//!
//! Rows are changed, and deleted only when the keys move to another database. When a key is erased, its row
//! stays as a tombstone, so a copy, a retry or a rotation of the wrapping keys cannot bring the key back.

mod all;
mod find;
mod place;
mod relocation;

use std::collections::BTreeMap;

use super::data_key::{DataKeyId, KeyOwner, WrappedKey};
use super::keyring::WrappingKeyId;
use super::secret::LogId;
use crate::clock::Timestamp;
use crate::database::{Dialect, Row, Session};
use crate::error::{Error, Result};

const COLUMNS: &str = "aggregate_type, aggregate_id, key_id, wrapping_key, wrapped, erased_at, created_at";
/// Number of the column `created_at`.
const CREATED_AT: usize = 6;
/// Beginning of a statement that adds keys.
pub(crate) const INSERT: &str = "INSERT INTO subject_keys \
    (aggregate_id, aggregate_type, key_id, wrapping_key, wrapped, created_at) VALUES";

/// An aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Type of the aggregate.
    pub aggregate_type: String,
    /// Id of the aggregate.
    pub aggregate_id: String,
}

/// The stored state of an aggregate's data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredKey {
    /// The aggregate has this key.
    Present(WrappedKey),
    /// The key was erased at this time, or the aggregate was erased without ever having a key.
    Erased(Timestamp),
}

/// Reason why a key was not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddKeyError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// The aggregate already has another key, for example because another process has stored a key at the
    /// same time. Events that were sealed with the new key can never be opened, so they must not be appended.
    /// Seal the original events again with `fresh = false`: [`Sealing::seal`](super::Sealing::seal) then uses
    /// the stored key.
    #[error("the aggregate already has another data key: seal the events again")]
    OtherKey,
    /// The aggregate was erased, so it never gets a key again.
    #[error("the aggregate was erased")]
    Erased {
        /// Time of the erasure.
        at: Timestamp,
    },
}

pub use all::{CheckedKeys, Rewrapped};
use find::find_in;
use place::Place;
pub(crate) use place::{joined, reserve};
pub use relocation::MoveError;

/// The data keys of one log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct KeyStore {
    log: LogId,
    place: Place,
}

impl From<LogId> for KeyStore {
    fn from(log: LogId) -> Self {
        Self::new(log)
    }
}

impl KeyStore {
    /// Creates a store of the keys of the log `log`, which are in the database of the log.
    #[must_use]
    pub const fn new(log: LogId) -> Self {
        Self {
            log,
            place: Place::InLog,
        }
    }

    /// Id of the log.
    #[must_use]
    pub const fn log(&self) -> LogId {
        self.log
    }

    /// Returns the owner of a key of this log.
    #[must_use]
    pub const fn owner<'a>(&self, aggregate_type: &'a str, aggregate_id: &'a str) -> KeyOwner<'a> {
        KeyOwner {
            log: self.log,
            aggregate_type,
            aggregate_id,
        }
    }

    /// Reads the keys of these aggregates. Aggregates without a row are absent.
    ///
    /// # Errors
    ///
    /// [`Error::Database`]; [`Error::Keys`] for a separate database of the keys; [`Error::UnknownValue`] if a
    /// row does not have the form that this program writes.
    pub async fn find(
        &self,
        session: &mut impl Session,
        aggregate_type: &str,
        aggregate_ids: &[&str],
    ) -> Result<BTreeMap<String, StoredKey>> {
        match self.own_database() {
            None => find_in(session, aggregate_type, aggregate_ids).await,
            Some(database) => {
                let found =
                    async { find_in(&mut database.reader().await?, aggregate_type, aggregate_ids).await };
                found.await.map_err(Error::of_keys)
            }
        }
    }

    /// Stores the key of an aggregate. Storing the same key again changes nothing, so the call can be
    /// retried. Append the events that were sealed with the key only if this returns `Ok`.
    ///
    /// # Errors
    ///
    /// [`AddKeyError::OtherKey`] if the aggregate already has another key, which stays its key: seal the
    /// original events again with `fresh = false`. [`AddKeyError::Erased`]; [`AddKeyError::Store`].
    pub async fn add(
        &self,
        session: &mut impl Session,
        owner: &KeyOwner<'_>,
        key: &WrappedKey,
        now: Timestamp,
    ) -> Result<(), AddKeyError> {
        let stored = self.store_before_events(owner, key).await;
        let mut stored = stored.map_err(Error::from)?;
        if stored.is_none() {
            let aggregate = (owner.aggregate_type, owner.aggregate_id);
            insert_in(session, aggregate, key, now).await?;
            let found = find_in(session, owner.aggregate_type, &[owner.aggregate_id]).await?;
            stored = found.into_values().next();
        }
        match stored {
            Some(StoredKey::Present(stored)) if stored.id == key.id => Ok(()),
            Some(StoredKey::Present(_)) => Err(AddKeyError::OtherKey),
            Some(StoredKey::Erased(at)) => Err(AddKeyError::Erased { at }),
            None => Err(unknown("aggregate_id").into()),
        }
    }

    /// Erases the key of an aggregate, which needs no keyring. Returns the time of the erasure, which is
    /// earlier than `now` if the key was already erased. An aggregate without a key gets a tombstone.
    ///
    /// # Errors
    ///
    /// Same as [`KeyStore::find`]; [`SealingError::NoKeys`](super::SealingError::NoKeys) and
    /// [`SealingError::OtherKeys`](super::SealingError::OtherKeys) for a separate database of the keys.
    pub async fn erase(
        &self,
        session: &mut impl Session,
        aggregate_type: &str,
        aggregate_id: &str,
        now: Timestamp,
    ) -> Result<Timestamp> {
        match self.own_database() {
            None => erase_in(session, aggregate_type, aggregate_id, now).await,
            Some(database) => {
                let erased = self.erase_elsewhere(database, aggregate_type, aggregate_id, now);
                let erased = erased.await?;
                // A move that was interrupted may have left a copy in the database of the log.
                destroy_in(session, aggregate_type, aggregate_id, erased).await?;
                Ok(erased)
            }
        }
    }
}

/// Inserts a key into the database of the keys, unless the aggregate has a row.
async fn insert_in(
    session: &mut impl Session,
    (aggregate_type, aggregate_id): (&str, &str),
    key: &WrappedKey,
    now: Timestamp,
) -> Result<()> {
    let unless_exists = unless_exists(session.dialect());
    let sql = format!("{INSERT} (?, ?, ?, ?, ?, ?) {unless_exists}");
    session
        .query(&sql)
        .bind(aggregate_id)
        .bind(aggregate_type)
        .bind(key.id.0.as_slice())
        .bind(key.wrapping_key.as_str())
        .bind(key.wrapped.as_slice())
        .bind(now)
        .execute()
        .await?;
    Ok(())
}

/// Erases a key in the database that has it.
async fn erase_in(
    session: &mut impl Session,
    aggregate_type: &str,
    aggregate_id: &str,
    now: Timestamp,
) -> Result<Timestamp> {
    // The tombstone comes first. Afterwards the row exists, so a key that another process adds at the
    // same time was either added before and is erased by the update, or is never added.
    let unless_exists = unless_exists(session.dialect());
    let sql = format!(
        "INSERT INTO subject_keys (aggregate_id, aggregate_type, created_at, erased_at) VALUES (?, ?, ?, ?) \
         {unless_exists}"
    );
    session
        .query(&sql)
        .bind(aggregate_id)
        .bind(aggregate_type)
        .bind(now)
        .bind(now)
        .execute()
        .await?;
    destroy_in(session, aggregate_type, aggregate_id, now).await?;
    let row = session
        .query("SELECT erased_at FROM subject_keys WHERE aggregate_id = ? AND aggregate_type = ?")
        .bind(aggregate_id)
        .bind(aggregate_type)
        .fetch_optional()
        .await?;
    let erased_at: Option<Timestamp> = row.ok_or_else(|| unknown("aggregate_id"))?.get(0)?;
    erased_at.ok_or_else(|| unknown("erased_at"))
}

/// Destroys the key in the row of an aggregate, if the row has a key.
async fn destroy_in(
    session: &mut impl Session,
    aggregate_type: &str,
    aggregate_id: &str,
    at: Timestamp,
) -> Result<()> {
    session
        .query(
            "UPDATE subject_keys SET wrapping_key = NULL, wrapped = NULL, erased_at = ? \
             WHERE aggregate_id = ? AND aggregate_type = ? AND erased_at IS NULL",
        )
        .bind(at)
        .bind(aggregate_id)
        .bind(aggregate_type)
        .execute()
        .await?;
    Ok(())
}

/// Returns the end of an `INSERT` of one row that leaves an existing row unchanged. Unlike `INSERT IGNORE`,
/// the statement fails if a value does not fit.
const fn unless_exists(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => "ON DUPLICATE KEY UPDATE aggregate_id = aggregate_id",
        Dialect::Sqlite => "ON CONFLICT DO NOTHING",
    }
}

/// Reads a key from a row of [`COLUMNS`].
fn stored(row: &Row) -> Result<StoredKey> {
    if let Some(erased_at) = row.get::<Option<Timestamp>, _>(5)? {
        return Ok(StoredKey::Erased(erased_at));
    }
    let id: Option<Vec<u8>> = row.get(2)?;
    let id = id
        .and_then(|id| id.try_into().ok())
        .ok_or_else(|| unknown("key_id"))?;
    Ok(StoredKey::Present(WrappedKey {
        id: DataKeyId(id),
        wrapping_key: wrapping_key(row, 3)?,
        wrapped: row.get(4)?,
    }))
}

fn wrapping_key(row: &Row, column: usize) -> Result<WrappingKeyId> {
    let id: Option<String> = row.get(column)?;
    id.and_then(|id| WrappingKeyId::parse(&id))
        .ok_or_else(|| unknown("wrapping_key"))
}

fn unknown(column: &'static str) -> Error {
    Error::UnknownValue {
        table: "subject_keys",
        column,
        value: "(not shown)".to_owned(),
    }
}
