//! The stored data keys, in the table `subject_keys`.
//!
//! Rows are changed and never deleted. When a key is erased, its row stays as a tombstone, so a copy, a retry
//! or a rotation of the wrapping keys cannot bring the key back.

use std::collections::BTreeMap;

use super::data_key::{DataKey, DataKeyId, KeyOwner, WrappedKey};
use super::envelope::SealError;
use super::events::SealingError;
use super::keyring::{Keyring, WrappingKeyId};
use super::secret::LogId;
use crate::clock::Timestamp;
use crate::database::{Database, Dialect, Row, Session, in_list, padded};
use crate::error::{Error, Result};
use crate::format::LogFormat;

const COLUMNS: &str = "aggregate_type, aggregate_id, key_id, wrapping_key, wrapped, erased_at";
/// Beginning of a statement that adds keys.
pub(crate) const INSERT: &str = "INSERT INTO subject_keys \
    (aggregate_id, aggregate_type, key_id, wrapping_key, wrapped, created_at) VALUES";
/// Number of keys that are tried for each wrapping key.
const SAMPLE: usize = 5;
/// Maximum number of rows that one call of [`KeyStore::rewrap_some`] reads.
const PAGE: usize = 200;

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

/// Result of one call of [`KeyStore::rewrap_some`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "keys may have failed, and more keys may follow"]
pub struct Rewrapped {
    /// Number of rows that were read.
    pub read: u64,
    /// Number of keys that were wrapped again.
    pub changed: u32,
    /// Keys that could not be wrapped again, which are unchanged. There are at most 200 of them.
    pub failed: Vec<(Subject, SealError)>,
    /// Where the next call continues, or `None` after the last key.
    pub next: Option<Subject>,
}

/// Result of one call of [`KeyStore::check_some`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "keys may have failed, and more keys may follow"]
pub struct CheckedKeys {
    /// Number of keys that the keyring opens.
    pub opened: u64,
    /// Keys that do not open. There are at most 200 of them.
    pub failed: Vec<(Subject, SealError)>,
    /// Where the next call continues, or `None` after the last key.
    pub next: Option<Subject>,
}

/// The data keys of one log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct KeyStore {
    log: LogId,
}

impl KeyStore {
    /// Creates a store of the keys of the log `log`, which are in the database of the log.
    #[must_use]
    pub const fn new(log: LogId) -> Self {
        Self { log }
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
        let unless_exists = unless_exists(session.dialect());
        let sql = format!("{INSERT} (?, ?, ?, ?, ?, ?) {unless_exists}");
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
        match found.into_values().next() {
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
    /// Same as [`KeyStore::find`].
    pub async fn erase(
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
        session
            .query(
                "UPDATE subject_keys SET wrapping_key = NULL, wrapped = NULL, erased_at = ? \
                 WHERE aggregate_id = ? AND aggregate_type = ? AND erased_at IS NULL",
            )
            .bind(now)
            .bind(aggregate_id)
            .bind(aggregate_type)
            .execute()
            .await?;
        let row = session
            .query("SELECT erased_at FROM subject_keys WHERE aggregate_id = ? AND aggregate_type = ?")
            .bind(aggregate_id)
            .bind(aggregate_type)
            .fetch_optional()
            .await?;
        let erased_at: Option<Timestamp> = row.ok_or_else(|| unknown("aggregate_id"))?.get(0)?;
        erased_at.ok_or_else(|| unknown("erased_at"))
    }

    /// Returns the number of keys that each wrapping key wraps.
    ///
    /// # Errors
    ///
    /// Same as [`KeyStore::find`].
    pub async fn usage(&self, database: &Database) -> Result<BTreeMap<WrappingKeyId, u64>> {
        let mut reader = database.reader().await?;
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

    /// Checks that the keyring opens keys. Each call reads at most 200 rows in the order of the aggregates'
    /// ids.
    ///
    /// Begin with `after: None`, and pass [`CheckedKeys::next`] to the next call until it is `None`.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn check_some(
        &self,
        database: &Database,
        keyring: &Keyring,
        after: Option<Subject>,
    ) -> Result<CheckedKeys> {
        let rows = page(&mut database.reader().await?, after.as_ref(), "").await?;
        let mut result = CheckedKeys::default();
        for (number, row) in (1..).zip(&rows) {
            let subject = subject(row)?;
            if number == PAGE {
                result.next = Some(subject.clone());
            }
            let owner = self.owner(&subject.aggregate_type, &subject.aggregate_id);
            match stored(row) {
                Ok(StoredKey::Erased(_)) => {}
                Ok(StoredKey::Present(key)) => match key.unwrap(keyring, &owner) {
                    Ok(_) => result.opened += 1,
                    Err(error) => result.failed.push((subject, error)),
                },
                Err(Error::UnknownValue { .. }) => result.failed.push((subject, SealError::WrongKey)),
                Err(error) => return Err(error),
            }
        }
        Ok(result)
    }

    /// Returns the erased aggregates among the next 200 rows after an aggregate, in the order of the
    /// aggregates' ids, and where the next call continues; `None` after the last row.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn erased_some(
        database: &Database,
        after: Option<Subject>,
    ) -> Result<(Vec<Subject>, Option<Subject>)> {
        let rows = page(&mut database.reader().await?, after.as_ref(), "").await?;
        let mut erased = Vec::new();
        for row in &rows {
            if row.get::<Option<Timestamp>, _>(5)?.is_some() {
                erased.push(subject(row)?);
            }
        }
        let next = rows.get(PAGE - 1).map(subject).transpose()?;
        Ok((erased, next))
    }

    /// Checks that the keyring is the keyring of this log, and that it has every wrapping key in use. A
    /// missing or another keyring is therefore found before an event is read or appended.
    ///
    /// # Errors
    ///
    /// [`SealingError::OtherKeyring`]; [`SealingError::Seal`] if the keyring lacks a wrapping key, or opens
    /// none of the first keys that are wrapped with it; the errors of [`KeyStore::find`].
    pub async fn check(&self, database: &Database, keyring: &Keyring) -> Result<(), SealingError> {
        if !LogFormat::belongs_to(database, keyring).await? {
            return Err(SealingError::OtherKeyring);
        }
        let mut reader = database.reader().await?;
        let mut after = String::new();
        loop {
            let sql = "SELECT MIN(wrapping_key) FROM subject_keys WHERE wrapping_key > ?";
            let row = reader.query(sql).bind(after.as_str()).fetch_optional().await?;
            let next: Option<String> = row.map(|row| row.get(0)).transpose()?.flatten();
            let Some(next) = next else { return Ok(()) };
            let sql = format!(
                "SELECT {COLUMNS} FROM subject_keys WHERE wrapping_key = ? ORDER BY aggregate_id LIMIT {SAMPLE}"
            );
            let rows = reader.query(&sql).bind(next.as_str()).fetch_all().await?;
            let mut result = Ok(());
            for row in &rows {
                let subject = subject(row)?;
                let owner = self.owner(&subject.aggregate_type, &subject.aggregate_id);
                result = match stored(row) {
                    Ok(StoredKey::Present(key)) => key.unwrap(keyring, &owner).map(|_| ()),
                    _ => Err(SealError::WrongKey),
                };
                // Single damaged rows concern single aggregates.
                if !matches!(result, Err(SealError::WrongKey)) {
                    break;
                }
            }
            result?;
            after = next;
        }
    }

    /// Wraps keys with the active wrapping key, and reports the keys that do not open. Each call reads at
    /// most 200 rows in the order of the aggregates' ids, and commits its changes.
    ///
    /// Begin with `after: None`, and pass [`Rewrapped::next`] to the next call until it is `None`. Other
    /// processes may read, add and erase keys meanwhile. A process with an older keyring still wraps new keys
    /// with the old wrapping key, so check [`KeyStore::usage`] afterwards.
    ///
    /// # Errors
    ///
    /// Same as [`KeyStore::find`]. A key that does not open is not an error, but is in [`Rewrapped::failed`].
    pub async fn rewrap_some(
        &self,
        database: &Database,
        keyring: &Keyring,
        after: Option<Subject>,
    ) -> Result<Rewrapped> {
        let active = keyring.active_id();
        let mut transaction = database.begin().await?;
        let lock = transaction.dialect().for_update();
        let rows = page(&mut transaction, after.as_ref(), lock).await?;
        let mut result = Rewrapped {
            read: rows.len() as u64,
            ..Rewrapped::default()
        };
        for (number, row) in (1..).zip(&rows) {
            let subject = subject(row)?;
            if number == PAGE {
                result.next = Some(subject.clone());
            }
            let key = match stored(row) {
                Ok(StoredKey::Present(key)) if key.wrapping_key != *active => key,
                Ok(_) => continue,
                Err(Error::UnknownValue { .. }) => {
                    result.failed.push((subject, SealError::WrongKey));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let owner = self.owner(&subject.aggregate_type, &subject.aggregate_id);
            let again = key
                .unwrap(keyring, &owner)
                .and_then(|key: DataKey| key.wrap(keyring, &owner));
            let again = match again {
                Ok(again) => again,
                Err(error) => {
                    result.failed.push((subject, error));
                    continue;
                }
            };
            let changed = transaction
                .query(
                    "UPDATE subject_keys SET wrapping_key = ?, wrapped = ? \
                     WHERE aggregate_id = ? AND aggregate_type = ? AND key_id = ? AND erased_at IS NULL",
                )
                .bind(again.wrapping_key.as_str())
                .bind(again.wrapped.as_slice())
                .bind(subject.aggregate_id.as_str())
                .bind(subject.aggregate_type.as_str())
                .bind(key.id.0.as_slice())
                .execute()
                .await?;
            result.changed += u32::from(changed > 0);
        }
        transaction.commit().await?;
        Ok(result)
    }
}

/// Reads the next rows after an aggregate, in the order of the aggregates' ids.
async fn page(session: &mut impl Session, after: Option<&Subject>, lock: &str) -> Result<Vec<Row>> {
    // MySQL seeks with the first condition. It would read all rows for a comparison of pairs.
    let from = if after.is_some() {
        "WHERE aggregate_id >= ? AND (aggregate_id > ? OR aggregate_type > ?)"
    } else {
        ""
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM subject_keys{} {from} ORDER BY aggregate_id, aggregate_type LIMIT {PAGE}{lock}",
        session.dialect().by_primary_key(),
    );
    let mut query = session.query(&sql);
    if let Some(after) = after {
        query = query
            .bind(after.aggregate_id.as_str())
            .bind(after.aggregate_id.as_str())
            .bind(after.aggregate_type.as_str());
    }
    query.fetch_all().await
}

/// Reads the aggregate from a row of [`COLUMNS`].
fn subject(row: &Row) -> Result<Subject> {
    Ok(Subject {
        aggregate_type: row.get(0)?,
        aggregate_id: row.get(1)?,
    })
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
