//! The stored data keys, in the table `subject_keys`.
//!
//! Rows are changed and never deleted. When a key is erased, its row stays as a tombstone, so a copy, a retry
//! or a rotation of the wrapping keys cannot bring the key back.

use std::collections::BTreeMap;

use super::data_key::{DataKey, DataKeyId, KeyOwner, WrappedKey};
use super::envelope::SealError;
use super::keyring::{Keyring, WrappingKeyId};
use super::secret::LogId;
use crate::clock::Timestamp;
use crate::database::{Database, Dialect, Row, Session, in_list, padded};
use crate::error::{Error, Result};
use crate::schema::Step;

const COLUMNS: &str = "aggregate_type, aggregate_id, key_id, wrapping_key, wrapped, erased_at";
/// Number of keys that are wrapped again in one transaction.
const REWRAPPED: u32 = 200;

/// Returns the step that creates the tables of sealing. A service that seals events adds it to its own steps.
#[must_use]
pub const fn tables(version: i64) -> Step {
    Step {
        version,
        name: "subject keys",
        mysql: include_str!("../../schema/mysql/subject_keys.sql"),
        sqlite: include_str!("../../schema/sqlite/subject_keys.sql"),
    }
}

/// Type and id of an aggregate.
type Subject = (String, String);

/// The stored state of an aggregate's data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredKey {
    /// The aggregate has this key.
    Present(WrappedKey),
    /// The key was erased at this time, or the aggregate was erased without ever having a key.
    Erased(Timestamp),
}

/// Reason why keys could not be wrapped again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewrapError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// A key does not open.
    #[error("the data key of {aggregate_type} {aggregate_id}: {error}")]
    Key {
        /// Type of the aggregate.
        aggregate_type: String,
        /// Id of the aggregate.
        aggregate_id: String,
        /// The error.
        #[source]
        error: SealError,
    },
}

/// The data keys of one log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct KeyStore {
    database: Database,
    log: LogId,
}

impl KeyStore {
    /// Creates a store of the keys of the log `log` in `database`.
    #[must_use]
    pub const fn new(database: Database, log: LogId) -> Self {
        Self { database, log }
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
    /// [`Error::Database`]; [`Error::UnknownValue`] if a row does not have the form that this program writes.
    pub async fn find(
        &self,
        session: &mut impl Session,
        aggregate_type: &str,
        aggregate_ids: &[&str],
    ) -> Result<BTreeMap<String, StoredKey>> {
        if aggregate_ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM subject_keys WHERE aggregate_id IN ({}) AND aggregate_type = ?",
            in_list(aggregate_ids.len())
        );
        let rows = session
            .query(&sql)
            .bind_all(padded(aggregate_ids))
            .bind(aggregate_type)
            .fetch_all()
            .await?;
        rows.iter().map(|row| Ok((row.get(1)?, stored(row)?))).collect()
    }

    /// Stores a key, unless the aggregate already has a key or is erased. Returns what is stored afterwards.
    ///
    /// # Errors
    ///
    /// Same as [`KeyStore::find`].
    pub async fn add(
        &self,
        session: &mut impl Session,
        owner: &KeyOwner<'_>,
        key: &WrappedKey,
        now: Timestamp,
    ) -> Result<StoredKey> {
        let ignore = ignore(session.dialect());
        let sql = format!(
            "INSERT {ignore} INTO subject_keys \
             (aggregate_id, aggregate_type, key_id, wrapping_key, wrapped, created_at) VALUES (?, ?, ?, ?, ?, ?)"
        );
        session
            .query(&sql)
            .bind(owner.aggregate_id)
            .bind(owner.aggregate_type)
            .bind(key.id.0.as_slice())
            .bind(key.wrapping_key.as_str())
            .bind(key.wrapped.as_slice())
            .bind(now)
            .execute()
            .await?;
        let found = self
            .find(session, owner.aggregate_type, &[owner.aggregate_id])
            .await?;
        found.into_values().next().ok_or(Error::UnknownValue {
            table: "subject_keys",
            column: "aggregate_id",
            value: owner.aggregate_id.to_owned(),
        })
    }

    /// Erases the key of an aggregate. Returns the time of the erasure, which is earlier than `now` if the
    /// key was already erased. An aggregate without a key gets a tombstone.
    ///
    /// # Errors
    ///
    /// Same as [`KeyStore::find`].
    pub async fn erase(
        &self,
        session: &mut impl Session,
        owner: &KeyOwner<'_>,
        now: Timestamp,
    ) -> Result<Timestamp> {
        session
            .query(
                "UPDATE subject_keys SET wrapping_key = NULL, wrapped = NULL, erased_at = ? \
                 WHERE aggregate_id = ? AND aggregate_type = ? AND erased_at IS NULL",
            )
            .bind(now)
            .bind(owner.aggregate_id)
            .bind(owner.aggregate_type)
            .execute()
            .await?;
        let ignore = ignore(session.dialect());
        let sql = format!(
            "INSERT {ignore} INTO subject_keys (aggregate_id, aggregate_type, created_at, erased_at) VALUES (?, ?, ?, ?)"
        );
        session
            .query(&sql)
            .bind(owner.aggregate_id)
            .bind(owner.aggregate_type)
            .bind(now)
            .bind(now)
            .execute()
            .await?;
        let row = session
            .query("SELECT erased_at FROM subject_keys WHERE aggregate_id = ? AND aggregate_type = ?")
            .bind(owner.aggregate_id)
            .bind(owner.aggregate_type)
            .fetch_optional()
            .await?;
        Ok(row.map(|row| row.get(0)).transpose()?.unwrap_or(now))
    }

    /// Returns the number of keys that each wrapping key wraps.
    ///
    /// # Errors
    ///
    /// Same as [`KeyStore::find`].
    pub async fn usage(&self) -> Result<BTreeMap<WrappingKeyId, u64>> {
        let mut reader = self.database.reader().await?;
        let rows = reader
            .query(
                "SELECT wrapping_key, COUNT(*) FROM subject_keys WHERE wrapping_key IS NOT NULL GROUP BY wrapping_key",
            )
            .fetch_all()
            .await?;
        rows.iter()
            .map(|row| Ok((wrapping_key(row, 0)?, row.get::<i64, _>(1)?.unsigned_abs())))
            .collect()
    }

    /// Wraps the next keys that are not wrapped with the active wrapping key, and returns their number, which
    /// is 0 when no such keys are left. Other processes may read, add and erase keys meanwhile.
    ///
    /// # Errors
    ///
    /// [`RewrapError`].
    pub async fn rewrap_some(&self, keyring: &Keyring) -> Result<u32, RewrapError> {
        let active = keyring.active_id();
        let mut transaction = self.database.begin().await?;
        let sql = format!(
            "SELECT {COLUMNS} FROM subject_keys WHERE wrapping_key < ? OR wrapping_key > ? LIMIT {REWRAPPED}{}",
            transaction.dialect().for_update()
        );
        let rows = transaction
            .query(&sql)
            .bind(active.as_str())
            .bind(active.as_str())
            .fetch_all()
            .await?;
        let mut changed = 0;
        for row in &rows {
            let (aggregate_type, aggregate_id): Subject = (
                row.get(0).map_err(RewrapError::Store)?,
                row.get(1).map_err(RewrapError::Store)?,
            );
            let StoredKey::Present(key) = stored(row)? else {
                continue;
            };
            let owner = self.owner(&aggregate_type, &aggregate_id);
            let again = key
                .unwrap(keyring, &owner)
                .and_then(|key: DataKey| key.wrap(keyring, &owner))
                .map_err(|error| RewrapError::Key {
                    aggregate_type: aggregate_type.clone(),
                    aggregate_id: aggregate_id.clone(),
                    error,
                })?;
            transaction
                .query(
                    "UPDATE subject_keys SET wrapping_key = ?, wrapped = ? \
                     WHERE aggregate_id = ? AND aggregate_type = ? AND key_id = ? AND erased_at IS NULL",
                )
                .bind(again.wrapping_key.as_str())
                .bind(again.wrapped.as_slice())
                .bind(aggregate_id.as_str())
                .bind(aggregate_type.as_str())
                .bind(key.id.0.as_slice())
                .execute()
                .await?;
            changed += 1;
        }
        transaction.commit().await?;
        Ok(changed)
    }
}

const fn ignore(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => "IGNORE",
        Dialect::Sqlite => "OR IGNORE",
    }
}

/// Reads a key from a row of [`COLUMNS`].
fn stored(row: &Row) -> Result<StoredKey> {
    if let Some(erased_at) = row.get::<Option<Timestamp>, _>(5)? {
        return Ok(StoredKey::Erased(erased_at));
    }
    let id: Vec<u8> = row.get(2)?;
    Ok(StoredKey::Present(WrappedKey {
        id: DataKeyId(id.try_into().map_err(|_| unknown("key_id"))?),
        wrapping_key: wrapping_key(row, 3)?,
        wrapped: row.get(4)?,
    }))
}

fn wrapping_key(row: &Row, column: usize) -> Result<WrappingKeyId> {
    let id: String = row.get(column)?;
    WrappingKeyId::parse(&id).ok_or_else(|| unknown("wrapping_key"))
}

fn unknown(column: &'static str) -> Error {
    Error::UnknownValue {
        table: "subject_keys",
        column,
        value: "(not shown)".to_owned(),
    }
}
