//! The format of the log: whether the personal data of its events is sealed.
//!
//! Every append locks the row of `log_format` together with the row of `log_head`. An append that was
//! prepared for another format is therefore rejected, regardless of the process that sends it.

use crate::database::{Database, Row, Session};
use crate::error::{Error, Result};
use crate::event::Position;
use crate::log::Head;
use crate::sealing::{Keyring, LogId, SealError, SealingError, WrappingKeyId, key_store};

/// Number of the unencrypted format.
const CLEAR: i64 = 1;
/// Number of the sealed format with the data keys in the database of the log.
const SEALED: i64 = 2;
/// Number of the sealed format with the data keys in another database. It is a format number and not a
/// separate column, so that programs that do not know it reject the log instead of looking for the keys in
/// the wrong database.
const SEALED_KEYS_ELSEWHERE: i64 = 3;

/// The format of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Events are stored unencrypted.
    #[default]
    Clear,
    /// The personal data of new events is sealed, and bound to this id of the log.
    Sealed(LogId, KeysPlace),
}

/// The database that has the data keys of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeysPlace {
    /// The database of the log.
    InLog,
    /// A separate database.
    Elsewhere,
}

/// Reason why a log was not sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// The operating system provided no random bytes.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The database for the keys has the keys of another log.
    #[error(transparent)]
    Sealing(#[from] SealingError),
}

impl LogFormat {
    /// Number of the format: 1 unencrypted, 2 sealed, 3 sealed with the data keys in another database.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Clear => CLEAR,
            Self::Sealed(_, KeysPlace::InLog) => SEALED,
            Self::Sealed(_, KeysPlace::Elsewhere) => SEALED_KEYS_ELSEWHERE,
        }
    }

    /// Id of the log, if it is sealed.
    #[must_use]
    pub const fn log_id(self) -> Option<LogId> {
        match self {
            Self::Clear => None,
            Self::Sealed(id, _) => Some(id),
        }
    }

    /// Reads the format of the log.
    ///
    /// # Errors
    ///
    /// [`Error::MissingFormat`]; [`Error::UnknownValue`] if a newer program has changed the format;
    /// [`Error::Database`].
    pub async fn read(database: &Database) -> Result<Self> {
        Self::of(
            &row(database, "SELECT format, log_id FROM log_format WHERE id = 1").await?,
            0,
        )
    }

    /// Reads the format from the columns `format` and `log_id` of a row.
    pub(crate) fn of(row: &Row, column: usize) -> Result<Self> {
        let unknown = |column, value| Error::UnknownValue {
            table: "log_format",
            column,
            value,
        };
        let place = match row.get::<i64, _>(column)? {
            CLEAR => return Ok(Self::Clear),
            SEALED => KeysPlace::InLog,
            SEALED_KEYS_ELSEWHERE => KeysPlace::Elsewhere,
            other => return Err(unknown("format", other.to_string())),
        };
        let id: Option<Vec<u8>> = row.get(column + 1)?;
        let id = id.and_then(|id| id.try_into().ok());
        let id = id.ok_or_else(|| unknown("log_id", "(not 16 bytes)".to_owned()))?;
        Ok(Self::Sealed(LogId(id), place))
    }

    /// Seals the log if it has no events, and returns its format afterwards. Several processes may call this
    /// at the same time. `claims` is the [version of the claim rules](crate::ClaimRules::version). `keys` is
    /// the database for the data keys, if it is not the database of the log
    /// ([`schema::migrate_keys`](crate::schema::migrate_keys)).
    ///
    /// # Errors
    ///
    /// [`FormatError`].
    pub async fn seal_if_empty(
        database: &Database,
        keyring: &Keyring,
        claims: i64,
        keys: Option<&Database>,
    ) -> Result<Self, FormatError> {
        let is_empty = |position| position == Position::BEGINNING;
        seal(database, keyring, keys, is_empty, claims).await
    }

    /// Seals the log from the next event on, and returns its format afterwards. Events that are already in
    /// the log stay unencrypted. `claims` is the [version of the claim rules](crate::ClaimRules::version),
    /// which must also accept the claims that are already in the log. `keys` is the same as for
    /// [`LogFormat::seal_if_empty`].
    ///
    /// # Errors
    ///
    /// [`FormatError`].
    pub async fn seal(
        database: &Database,
        keyring: &Keyring,
        claims: i64,
        keys: Option<&Database>,
    ) -> Result<Self, FormatError> {
        seal(database, keyring, keys, |_| true, claims).await
    }

    /// Changes the format from `from` to `to`, which differ in the place of the keys. If the format is not
    /// `from`, changes nothing. Returns the format afterwards. Appends that were prepared for another format
    /// are rejected.
    pub(crate) async fn change_place(database: &Database, from: Self, to: Self) -> Result<Self> {
        let mut transaction = database.begin().await?;
        let lock = Head::lock(transaction.dialect());
        let row = transaction.query(&lock).fetch_optional().await?;
        let found = Self::of(&row.ok_or(Error::MissingFormat)?, Head::FORMAT)?;
        if found != from {
            transaction.rollback().await?;
            return Ok(found);
        }
        transaction
            .query("UPDATE log_format SET format = ? WHERE id = 1")
            .bind(to.number())
            .execute()
            .await?;
        transaction.commit().await?;
        Ok(to)
    }

    /// Returns the version of the claim rules of the log, see [`ClaimRules`](crate::ClaimRules::version).
    ///
    /// # Errors
    ///
    /// [`Error::MissingFormat`], [`Error::Database`].
    pub async fn claims(database: &Database) -> Result<i64> {
        let row = row(database, "SELECT claims FROM log_format WHERE id = 1").await?;
        row.get(0)
    }

    /// Replaces the version of the claim rules. Every later append must be prepared with the new version.
    /// Returns false and changes nothing if the log is unencrypted or has another version than `from`.
    ///
    /// # Errors
    ///
    /// [`Error::MissingFormat`], [`Error::Database`].
    pub async fn replace_claims(database: &Database, from: i64, to: i64) -> Result<bool> {
        let mut transaction = database.begin().await?;
        // Appends hold the lock until they commit, so none of them still uses the earlier version.
        let lock = Head::lock(transaction.dialect());
        let row = transaction.query(&lock).fetch_optional().await?;
        let row = row.ok_or(Error::MissingFormat)?;
        if Self::of(&row, Head::FORMAT)? == Self::Clear || Self::locked_claims(&row)? != from {
            transaction.rollback().await?;
            return Ok(false);
        }
        transaction
            .query("UPDATE log_format SET claims = ? WHERE id = 1")
            .bind(to)
            .execute()
            .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Reads the version of the claim rules from a row of [`Head::lock`].
    pub(crate) fn locked_claims(row: &Row) -> Result<i64> {
        row.get(Head::FORMAT + 3)
    }

    /// Whether a keyring has the secrets of this log's keyring.
    ///
    /// # Errors
    ///
    /// [`Error::MissingFormat`], [`Error::Database`].
    pub async fn belongs_to(database: &Database, keyring: &Keyring) -> Result<bool> {
        let row = row(database, "SELECT log_id, keyring FROM log_format WHERE id = 1").await?;
        let (log, known): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?);
        let log = log.and_then(|log| log.try_into().ok()).map(LogId);
        Ok(log.is_some_and(|log| known.as_deref() == Some(&keyring.check_hash(log)[..])))
    }

    /// Retires wrapping keys for keys in the database of the log: no append stores a data key that is wrapped
    /// with a retired key. Returns false and retires nothing if `active` itself is retired.
    pub(crate) async fn retire(
        database: &Database,
        active: &WrappingKeyId,
        ids: &[WrappingKeyId],
    ) -> Result<bool> {
        let mut transaction = database.begin().await?;
        let lock = Head::lock(transaction.dialect());
        let row = transaction.query(&lock).fetch_optional().await?;
        let retired = Self::retired(&row.ok_or(Error::MissingFormat)?)?;
        if retired.contains(active.as_str()) {
            transaction.rollback().await?;
            return Ok(false);
        }
        let ids = ids.iter().map(WrappingKeyId::as_str);
        transaction
            .query("UPDATE log_format SET retired = ? WHERE id = 1")
            .bind(key_store::joined(&retired, ids))
            .execute()
            .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Returns the retired wrapping keys, separated by commas, from a row of [`Head::lock`].
    pub(crate) fn retired(row: &Row) -> Result<String> {
        row.get(Head::FORMAT + 2)
    }

    /// Returns the wrapping keys that are retired for keys in the database of the log.
    pub(crate) async fn all_retired(database: &Database) -> Result<String> {
        row(database, "SELECT retired FROM log_format WHERE id = 1")
            .await?
            .get(0)
    }
}

/// Reads the single row of `log_format`.
async fn row(database: &Database, sql: &str) -> Result<Row> {
    let row = database.reader().await?.query(sql).fetch_optional().await?;
    row.ok_or(Error::MissingFormat)
}

/// Seals the log if `may` accepts the position of its last event.
async fn seal(
    database: &Database,
    keyring: &Keyring,
    keys: Option<&Database>,
    may: impl FnOnce(Position) -> bool,
    claims: i64,
) -> Result<LogFormat, FormatError> {
    let mut transaction = database.begin().await?;
    let lock = Head::lock(transaction.dialect());
    let row = transaction.query(&lock).fetch_optional().await?;
    let row = row.ok_or(Error::MissingHead)?;
    let found = LogFormat::of(&row, Head::FORMAT)?;
    if found != LogFormat::Clear || !may(row.get(0)?) {
        transaction.rollback().await?;
        return Ok(found);
    }
    // Other processes that seal the log wait for the lock.
    let (id, place) = match keys {
        None => (LogId::random()?, KeysPlace::InLog),
        Some(keys) => (key_store::reserve(keys, keyring).await?, KeysPlace::Elsewhere),
    };
    let sealed = LogFormat::Sealed(id, place);
    transaction
        .query("UPDATE log_format SET format = ?, log_id = ?, claims = ?, keyring = ? WHERE id = 1 AND format = ?")
        .bind(sealed.number())
        .bind(id.0.as_slice())
        .bind(claims)
        .bind(keyring.check_hash(id).as_slice())
        .bind(CLEAR)
        .execute()
        .await?;
    transaction.commit().await?;
    Ok(sealed)
}
