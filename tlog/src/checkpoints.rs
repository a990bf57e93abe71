//! The signed checkpoints of a log.

use eventstore::{Database, Row, Session, Timestamp, Transaction};
use transparency::Hash;
use transparency::checkpoint::SignedCheckpoint;
use transparency::cosignature::{self, MergeError};
use transparency::note::Signature;
use transparency::policy::Policy;

use crate::error::TlogError;
use crate::monitor::MAX_AHEAD;

/// Maximum number of rows that [`SignedCheckpoints::review`] reads.
const REVIEWED: u32 = 1000;
const COLUMNS: &str = "SELECT size, root, note, signed_at FROM log_checkpoints WHERE origin = ?";

/// A row of `log_checkpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Number of entries.
    pub size: u64,
    /// Root of the tree over these entries.
    pub root: Hash,
    /// The signed note.
    pub note: String,
    /// When it was signed, by the clock of the signer.
    pub signed_at: Timestamp,
}

impl StoredCheckpoint {
    /// Parses the note, and compares it with the row.
    ///
    /// # Errors
    ///
    /// [`TlogError::Checkpoint`], [`TlogError::CheckpointRow`].
    pub fn parse(&self) -> Result<SignedCheckpoint, TlogError> {
        let signed = SignedCheckpoint::parse(self.note.as_bytes())?;
        let checkpoint = signed.checkpoint();
        if (checkpoint.size(), checkpoint.root()) == (self.size, self.root) {
            Ok(signed)
        } else {
            Err(TlogError::CheckpointRow { size: self.size })
        }
    }
}

/// The signed checkpoints of the log with one origin. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SignedCheckpoints {
    database: Database,
    origin: String,
}

impl SignedCheckpoints {
    /// Creates access to the signed checkpoints with this origin.
    #[must_use]
    pub const fn new(database: Database, origin: String) -> Self {
        Self { database, origin }
    }

    /// Origin of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the signed checkpoint with the largest size, if any.
    ///
    /// # Errors
    ///
    /// [`TlogError`].
    pub async fn newest(&self) -> Result<Option<StoredCheckpoint>, TlogError> {
        self.first("ORDER BY size DESC LIMIT 1").await
    }

    /// Returns the signed checkpoint with the largest size among those that enough witnesses have cosigned,
    /// if any. With a quorum of 0, every checkpoint counts as cosigned.
    ///
    /// # Errors
    ///
    /// [`TlogError`].
    pub async fn newest_with_quorum(&self) -> Result<Option<StoredCheckpoint>, TlogError> {
        self.first("AND has_quorum = 1 ORDER BY size DESC LIMIT 1").await
    }

    /// Returns the first row of the log with this end of the query.
    async fn first(&self, end: &str) -> Result<Option<StoredCheckpoint>, TlogError> {
        let mut connection = self.database.reader().await?;
        let row = connection
            .query(&format!("{COLUMNS} {end}"))
            .bind(self.origin.as_str())
            .fetch_optional()
            .await?;
        row.as_ref().map(of).transpose()
    }

    /// Returns the signed checkpoint with this size, if any.
    ///
    /// # Errors
    ///
    /// [`TlogError`].
    pub async fn of_size(&self, size: u64) -> Result<Option<StoredCheckpoint>, TlogError> {
        let Ok(number) = i64::try_from(size) else {
            return Ok(None);
        };
        let mut connection = self.database.reader().await?;
        let row = connection
            .query(&format!("{COLUMNS} AND size = ?"))
            .bind(self.origin.as_str())
            .bind(number)
            .fetch_optional()
            .await?;
        row.as_ref().map(of).transpose()
    }

    /// Stores a signed checkpoint. A stored checkpoint with the same size and root keeps its signatures, and
    /// gets the new signatures too. `has_quorum` must be set if the checkpoint needs no cosignatures.
    ///
    /// # Errors
    ///
    /// [`TlogError::Fork`] if a checkpoint with the same size and another root is stored; other
    /// [`TlogError`]s.
    pub async fn store(
        &self,
        signed: &SignedCheckpoint,
        has_quorum: bool,
        now: Timestamp,
    ) -> Result<(), TlogError> {
        let (size, root) = (signed.checkpoint().size(), signed.checkpoint().root());
        let number = i64::try_from(size).map_err(|_| TlogError::Size(size))?;
        let mut transaction = self.database.begin().await?;
        if let Some((stored, is_trusted)) = self.locked(&mut transaction, number).await? {
            if stored.root != root {
                return Err(TlogError::Fork { size });
            }
            let mut merged = stored.parse()?;
            for signature in signed.note().signatures() {
                let added = merged.add(signature.clone());
                added.map_err(|error| TlogError::Checkpoint(error.into()))?;
            }
            let has_quorum = has_quorum || is_trusted;
            self.update(&mut transaction, &merged, has_quorum, now).await?;
        } else {
            transaction
                .query(
                    "INSERT INTO log_checkpoints (origin, size, root, note, signed_at, has_quorum) \
                     VALUES (?, ?, ?, ?, ?, ?)",
                )
                .bind(self.origin.as_str())
                .bind(number)
                .bind(&root.0)
                .bind(signed.to_string())
                .bind(now)
                .bind(i64::from(has_quorum))
                .execute()
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Adds the cosignatures of witnesses of the policy to a stored checkpoint, and returns whether it has
    /// the quorum of the policy. Cosignatures more than 5 minutes in the future are rejected.
    ///
    /// # Errors
    ///
    /// [`CosignError`]. In this case, the stored checkpoint is unchanged.
    pub async fn cosign(
        &self,
        size: u64,
        signatures: &[Signature],
        policy: &Policy,
        now: Timestamp,
    ) -> Result<bool, CosignError> {
        let number = i64::try_from(size).map_err(|_| TlogError::Size(size))?;
        let mut transaction = self.database.begin().await.map_err(TlogError::from)?;
        let stored = self.locked(&mut transaction, number).await?;
        let (stored, _) = stored.ok_or(CosignError::Removed(size))?;
        let mut merged = stored.parse()?;
        let added = cosignature::merge(&mut merged, signatures, policy.witnesses())?;
        let latest = u64::try_from(now.as_micros() / 1_000_000).unwrap_or(0) + MAX_AHEAD;
        if let Some(ahead) = added.iter().find(|added| added.timestamp > Some(latest)) {
            return Err(CosignError::Ahead(ahead.key.name().to_owned()));
        }
        let has_quorum = policy.check(&merged).is_ok();
        self.update(&mut transaction, &merged, has_quorum, stored.signed_at)
            .await?;
        transaction.commit().await.map_err(TlogError::from)?;
        Ok(has_quorum)
    }

    /// Records which checkpoints are trusted, from the newest one to the first that `is_trusted` accepts. If
    /// `is_trusted` accepts none of the newest [`REVIEWED`] rows, all older rows are recorded as not trusted.
    /// The witnesses and the quorum can have changed since the rows were written.
    ///
    /// # Errors
    ///
    /// [`TlogError`].
    pub(crate) async fn review(
        &self,
        is_trusted: impl Fn(&SignedCheckpoint) -> bool,
    ) -> Result<(), TlogError> {
        let mut connection = self.database.reader().await?;
        let rows = connection
            .query(&format!("{COLUMNS} ORDER BY size DESC LIMIT {REVIEWED}"))
            .bind(self.origin.as_str())
            .fetch_all()
            .await?;
        // SQLite has few connections.
        drop(connection);
        let mut lowest = None;
        for row in &rows {
            let stored = of(row)?;
            let is_trusted = stored.parse().is_ok_and(|signed| is_trusted(&signed));
            self.set_quorum("size = ?", stored.size, is_trusted).await?;
            if is_trusted {
                return Ok(());
            }
            lowest = Some(stored.size);
        }
        match lowest {
            Some(lowest) => self.set_quorum("size < ?", lowest, false).await,
            None => Ok(()),
        }
    }

    async fn set_quorum(&self, rows: &str, size: u64, has_quorum: bool) -> Result<(), TlogError> {
        let mut connection = self.database.writer().await?;
        let has_quorum = i64::from(has_quorum);
        connection
            .query(&format!(
                "UPDATE log_checkpoints SET has_quorum = ? WHERE origin = ? AND {rows} AND has_quorum <> ?"
            ))
            .bind(has_quorum)
            .bind(self.origin.as_str())
            .bind(i64::try_from(size).map_err(|_| TlogError::Size(size))?)
            .bind(has_quorum)
            .execute()
            .await?;
        Ok(())
    }

    /// Returns the checkpoint with this size, and whether it has a quorum. Locks the row.
    async fn locked(
        &self,
        transaction: &mut Transaction<'_>,
        size: i64,
    ) -> Result<Option<(StoredCheckpoint, bool)>, TlogError> {
        let lock = self.database.dialect().for_update();
        let row = transaction
            .query(&format!(
                "SELECT size, root, note, signed_at, has_quorum FROM log_checkpoints \
                 WHERE origin = ? AND size = ?{lock}"
            ))
            .bind(self.origin.as_str())
            .bind(size)
            .fetch_optional()
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        Ok(Some((of(&row)?, row.get::<i64, _>(4)? == 1)))
    }

    async fn update(
        &self,
        transaction: &mut Transaction<'_>,
        signed: &SignedCheckpoint,
        has_quorum: bool,
        signed_at: Timestamp,
    ) -> Result<(), TlogError> {
        let size = signed.checkpoint().size();
        transaction
            .query(
                "UPDATE log_checkpoints SET note = ?, signed_at = ?, has_quorum = ? WHERE origin = ? AND size = ?",
            )
            .bind(signed.to_string())
            .bind(signed_at)
            .bind(i64::from(has_quorum))
            .bind(self.origin.as_str())
            .bind(i64::try_from(size).map_err(|_| TlogError::Size(size))?)
            .execute()
            .await?;
        Ok(())
    }
}

/// Reason why cosignatures were not added to a stored checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CosignError {
    /// The checkpoint was removed from the database.
    #[error("the checkpoint of {0} events is not in the database any more")]
    Removed(u64),
    /// The time of a cosignature is more than 5 minutes in the future.
    #[error("the cosignature of {0} has a time in the future")]
    Ahead(String),
    /// No cosignature is from a known witness, or a cosignature is invalid.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The database or its contents cannot be used.
    #[error(transparent)]
    Tlog(#[from] TlogError),
}

fn of(row: &Row) -> Result<StoredCheckpoint, TlogError> {
    let size = u64::try_from(row.get::<i64, _>(0)?).map_err(|_| TlogError::Size(0))?;
    let root: Vec<u8> = row.get(1)?;
    let root = root.try_into().map_err(|_| TlogError::CheckpointRow { size })?;
    Ok(StoredCheckpoint {
        size,
        root: Hash(root),
        note: row.get(2)?,
        signed_at: row.get(3)?,
    })
}
