//! Work on all stored keys: counting, checking, and wrapping them again, page by page.

use std::collections::BTreeMap;

use super::super::data_key::{DataKey, WrappedKey};
use super::super::envelope::SealError;
use super::super::events::SealingError;
use super::super::keyring::{Keyring, WrappingKeyId};
use super::{COLUMNS, KeyStore, StoredKey, Subject, stored, wrapping_key};
use crate::clock::Timestamp;
use crate::database::{Database, Row, Session};
use crate::error::{Error, Result};
use crate::format::LogFormat;

/// Number of keys that are tried for each wrapping key.
const SAMPLE: usize = 5;
/// Maximum number of rows that one call of [`KeyStore::rewrap_some`] reads.
pub(super) const PAGE: usize = 200;

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

impl KeyStore {
    /// Returns the number of keys that each wrapping key wraps.
    ///
    /// # Errors
    ///
    /// Same as [`KeyStore::find`].
    pub async fn usage(&self, database: &Database) -> Result<BTreeMap<WrappingKeyId, u64>> {
        let mut reader = self.database(database).reader().await?;
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
        let rows = page(&mut self.database(database).reader().await?, after.as_ref(), "").await?;
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
        &self,
        database: &Database,
        after: Option<Subject>,
    ) -> Result<(Vec<Subject>, Option<Subject>)> {
        let rows = page(&mut self.database(database).reader().await?, after.as_ref(), "").await?;
        let mut erased = Vec::new();
        for row in &rows {
            if row.get::<Option<Timestamp>, _>(5)?.is_some() {
                erased.push(subject(row)?);
            }
        }
        let next = rows.get(PAGE - 1).map(subject).transpose()?;
        Ok((erased, next))
    }

    /// Checks that the keyring is the keyring of this log, that it has every wrapping key in use, and that a
    /// separate database has the keys of this log. A missing or wrong keyring, or a wrong database, is
    /// therefore detected before an event is read or appended.
    ///
    /// # Errors
    ///
    /// [`SealingError::OtherKeyring`]; [`SealingError::NoKeys`]; [`SealingError::OtherKeys`];
    /// [`SealingError::Seal`] if the keyring lacks a wrapping key, or if a wrapping key opens none of the
    /// data keys that are sampled for it; the errors of [`KeyStore::find`].
    pub async fn check(&self, database: &Database, keyring: &Keyring) -> Result<(), SealingError> {
        if !LogFormat::belongs_to(database, keyring).await? {
            return Err(SealingError::OtherKeyring);
        }
        self.check_owner(keyring).await?;
        let mut reader = self.database(database).reader().await?;
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
    /// processes may read, add and erase keys at the same time. A process with an older keyring still wraps
    /// new keys with the old wrapping key, so check [`KeyStore::usage`] afterwards.
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
        let mut transaction = self.database(database).begin().await?;
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
            let changed = rewrap_in(&mut transaction, &subject, &again).await?;
            result.changed += u32::from(changed > 0);
        }
        transaction.commit().await?;
        Ok(result)
    }
}

/// Stores a data key that was wrapped again. Returns 0 if the aggregate has another key or was erased.
pub(super) async fn rewrap_in(
    session: &mut impl Session,
    subject: &Subject,
    again: &WrappedKey,
) -> Result<u64> {
    session
        .query(
            "UPDATE subject_keys SET wrapping_key = ?, wrapped = ? \
             WHERE aggregate_id = ? AND aggregate_type = ? AND key_id = ? AND erased_at IS NULL",
        )
        .bind(again.wrapping_key.as_str())
        .bind(again.wrapped.as_slice())
        .bind(subject.aggregate_id.as_str())
        .bind(subject.aggregate_type.as_str())
        .bind(again.id.0.as_slice())
        .execute()
        .await
}

/// Reads the next rows after an aggregate, in the order of the aggregates' ids.
pub(super) async fn page(
    session: &mut impl Session,
    after: Option<&Subject>,
    lock: &str,
) -> Result<Vec<Row>> {
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
pub(super) fn subject(row: &Row) -> Result<Subject> {
    Ok(Subject {
        aggregate_type: row.get(0)?,
        aggregate_id: row.get(1)?,
    })
}
