//! Moving the keys between the database of the log and a separate database.
//!
//! The roles must be stopped. The keys are first copied, then the log's format names the new place, and then
//! the keys are deleted in the old place. Each step can be repeated, so an interrupted move is completed by
//! another call. If both places have a row of an aggregate, an erasure in either of them counts.

use super::super::events::SealingError;
use super::super::keyring::Keyring;
use super::all::{PAGE, page, rewrap_in, subject};
use super::{CREATED_AT, KeyStore, StoredKey, Subject, erase_in, find_in, insert_in, stored};
use crate::clock::Timestamp;
use crate::database::{Database, Row, Session};
use crate::error::Error;
use crate::format::LogFormat;

/// Reason why the keys were not moved. The call can be repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// A database failed, the keyring is not the current keyring of this log, or the new place is the wrong
    /// database: it has the keys of another log, or should have keys and has none.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// Both places have a key of this aggregate, and the keys differ. Nothing of this aggregate was changed.
    #[error("both databases have a data key of {}, and the keys differ", .0.aggregate_id)]
    Differs(Subject),
    /// The format of the log matches neither of the two places.
    #[error("the log has changed its format")]
    OtherFormat,
}

impl From<Error> for MoveError {
    fn from(error: Error) -> Self {
        Self::Sealing(error.into())
    }
}

impl KeyStore {
    /// Moves all keys to another place, and records the new place in the log. Returns the number of keys and
    /// tombstones that were moved. No other process may use the log during the move: their appends are
    /// rejected, but a process could erase a key in the old place.
    ///
    /// # Errors
    ///
    /// [`MoveError`].
    pub async fn move_to(&self, to: &Self, log: &Database, keyring: &Keyring) -> Result<u64, MoveError> {
        let format = LogFormat::read(log).await?;
        // If the log already names the new place, an empty database in this place is the wrong database.
        if format != to.format() {
            to.adopt(log, self, keyring).await?;
        }
        to.check_owner(keyring).await?;
        let (from, into) = (self.database(log), to.database(log));
        if format == self.format() {
            to.walk(keyring, from, into, false).await?;
        }
        let format = LogFormat::change_place(log, self.format(), to.format()).await?;
        if format != to.format() {
            return Err(MoveError::OtherFormat);
        }
        to.walk(keyring, from, into, true).await
    }

    /// Whether the database of the log still has rows of keys, although the keys are in another database.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn has_left_keys(&self, log: &Database) -> crate::Result<bool> {
        if self.own_database().is_none() {
            return Ok(false);
        }
        let mut reader = log.reader().await?;
        let any = reader.query("SELECT 1 FROM subject_keys LIMIT 1");
        Ok(any.fetch_optional().await?.is_some())
    }

    /// Copies all rows and, if `delete`, deletes each row once it is copied.
    async fn walk(
        &self,
        keyring: &Keyring,
        from: &Database,
        into: &Database,
        delete: bool,
    ) -> Result<u64, MoveError> {
        let (mut moved, mut after) = (0, None);
        loop {
            let rows = page(&mut from.reader().await?, after.as_ref(), "").await?;
            let mut transaction = into.begin().await?;
            for row in &rows {
                self.merge(keyring, &mut transaction, row).await?;
            }
            transaction.commit().await?;
            moved += rows.len() as u64;
            if delete {
                let mut transaction = from.begin().await?;
                for row in &rows {
                    let subject = subject(row)?;
                    transaction
                        .query("DELETE FROM subject_keys WHERE aggregate_id = ? AND aggregate_type = ?")
                        .bind(subject.aggregate_id.as_str())
                        .bind(subject.aggregate_type.as_str())
                        .execute()
                        .await?;
                }
                transaction.commit().await?;
            }
            after = rows.last().map(subject).transpose()?;
            if rows.len() < PAGE {
                return Ok(moved);
            }
        }
    }

    /// Adds a row to the new place.
    async fn merge(&self, keyring: &Keyring, session: &mut impl Session, row: &Row) -> Result<(), MoveError> {
        let subject = subject(row)?;
        let aggregate = (subject.aggregate_type.as_str(), subject.aggregate_id.as_str());
        let found = find_in(session, aggregate.0, &[aggregate.1]).await?;
        match (stored(row)?, found.into_values().next()) {
            (StoredKey::Present(key), None) => {
                let created_at: Timestamp = row.get(CREATED_AT)?;
                insert_in(session, aggregate, &key, created_at).await?;
            }
            (StoredKey::Present(key), Some(StoredKey::Present(other))) if key.id != other.id => {
                return Err(MoveError::Differs(subject));
            }
            (StoredKey::Present(key), Some(StoredKey::Present(other))) => {
                // The wrapping keys may have been replaced since an interrupted move.
                let opened = other.unwrap(keyring, &self.owner(aggregate.0, aggregate.1));
                if opened.is_err() {
                    rewrap_in(session, &subject, &key).await?;
                }
            }
            (_, Some(StoredKey::Erased(_))) => {}
            (StoredKey::Erased(at), _) => {
                erase_in(session, aggregate.0, aggregate.1, at).await?;
            }
        }
        Ok(())
    }
}
