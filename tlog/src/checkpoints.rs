//! The signed checkpoints of a log.

use eventstore::{Database, Row, Session, Timestamp};
use transparency::Hash;
use transparency::checkpoint::SignedCheckpoint;

use crate::error::TlogError;

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
        let mut connection = self.database.reader().await?;
        let row = connection
            .query(
                "SELECT size, root, note, signed_at FROM log_checkpoints WHERE origin = ? \
                 ORDER BY size DESC LIMIT 1",
            )
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
            .query("SELECT size, root, note, signed_at FROM log_checkpoints WHERE origin = ? AND size = ?")
            .bind(self.origin.as_str())
            .bind(number)
            .fetch_optional()
            .await?;
        row.as_ref().map(of).transpose()
    }

    /// Stores a signed checkpoint. A stored checkpoint with the same size and root keeps its signatures, and
    /// gets the new signatures too.
    ///
    /// # Errors
    ///
    /// [`TlogError::Fork`] if a checkpoint with the same size and another root is stored; other
    /// [`TlogError`]s.
    pub async fn store(&self, signed: &SignedCheckpoint, now: Timestamp) -> Result<(), TlogError> {
        let (size, root) = (signed.checkpoint().size(), signed.checkpoint().root());
        let number = i64::try_from(size).map_err(|_| TlogError::Size(size))?;
        let stored = self.of_size(size).await?;
        if stored.as_ref().is_some_and(|stored| stored.root != root) {
            return Err(TlogError::Fork { size });
        }
        let mut connection = self.database.writer().await?;
        let Some(stored) = stored else {
            connection
                .query(
                    "INSERT INTO log_checkpoints (origin, size, root, note, signed_at) VALUES (?, ?, ?, ?, ?)",
                )
                .bind(self.origin.as_str())
                .bind(number)
                .bind(&root.0)
                .bind(signed.to_string())
                .bind(now)
                .execute()
                .await?;
            return Ok(());
        };
        let mut merged = stored.parse()?;
        for signature in signed.note().signatures() {
            let added = merged.add(signature.clone());
            added.map_err(|error| TlogError::Checkpoint(error.into()))?;
        }
        connection
            .query("UPDATE log_checkpoints SET note = ?, signed_at = ? WHERE origin = ? AND size = ?")
            .bind(merged.to_string())
            .bind(now)
            .bind(self.origin.as_str())
            .bind(number)
            .execute()
            .await?;
        Ok(())
    }
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
