//! What a log publishes: signed checkpoints, tiles and proofs up to the newest signed checkpoint.

use eventstore::{Database, Position};
use transparency::proof::TlogProof;
use transparency::tile::Tile;
use transparency::tree::Plan;

use crate::checkpoints::{SignedCheckpoints, StoredCheckpoint};
use crate::error::TlogError;
use crate::tiles::{LogTables, Tiles};

/// The published part of a log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PublishedLog {
    checkpoints: SignedCheckpoints,
    tiles: Tiles,
}

/// Reason why there is no proof.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoProof {
    /// No checkpoint has been signed, or none has been cosigned by enough witnesses.
    #[error("no checkpoint has been signed, and cosigned by enough witnesses, yet")]
    NoCheckpoint,
    /// The checkpoint against which the event is to be proved does not cover the position.
    #[error("the newest signed checkpoint covers the positions 1 to {size}, but not {position}")]
    NotCovered {
        /// The requested position.
        position: Position,
        /// Size of this checkpoint.
        size: u64,
    },
    /// The event is too long for the extra data of a proof.
    #[error("the event at position {0} is too long for a tlog-proof")]
    TooLong(Position),
    /// The tiles or checkpoints cannot be read.
    #[error(transparent)]
    Tlog(#[from] TlogError),
}

impl PublishedLog {
    /// Creates access to the published log of events with this origin.
    #[must_use]
    pub fn new(database: &Database, origin: String) -> Self {
        Self::of(database, origin, LogTables::EVENTS)
    }

    /// Creates access to the published log in these tables with this origin.
    #[must_use]
    pub fn of(database: &Database, origin: String, tables: LogTables) -> Self {
        Self {
            checkpoints: SignedCheckpoints::new(database.clone(), origin),
            tiles: Tiles::of(database.clone(), tables),
        }
    }

    /// The signed checkpoints.
    #[must_use]
    pub const fn checkpoints(&self) -> &SignedCheckpoints {
        &self.checkpoints
    }

    /// The tiles, including those beyond the newest signed checkpoint.
    #[must_use]
    pub const fn tiles(&self) -> &Tiles {
        &self.tiles
    }

    /// Returns the contents of a tile. Returns `None` if the newest signed checkpoint does not cover it.
    ///
    /// # Errors
    ///
    /// [`TlogError`].
    pub async fn tile(&self, tile: &Tile) -> Result<Option<Vec<u8>>, TlogError> {
        match self.checkpoints.newest().await? {
            Some(newest) if tile.exists_in(newest.size) => self.tiles.content(tile).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Proves the event at a position against the newest signed checkpoint that has its quorum.
    ///
    /// # Errors
    ///
    /// [`NoProof`].
    pub async fn prove(&self, position: Position) -> Result<TlogProof, NoProof> {
        let newest = self.checkpoints.newest_with_quorum().await?;
        self.prove_in(position, &newest.ok_or(NoProof::NoCheckpoint)?)
            .await
    }

    /// Proves the event at a position against a signed checkpoint.
    ///
    /// # Errors
    ///
    /// [`NoProof`].
    pub async fn prove_in(
        &self,
        position: Position,
        checkpoint: &StoredCheckpoint,
    ) -> Result<TlogProof, NoProof> {
        let size = checkpoint.size;
        let not_covered = NoProof::NotCovered { position, size };
        let Some(index) = position.get().checked_sub(1) else {
            return Err(not_covered);
        };
        let Some(plan) = Plan::inclusion(index, size) else {
            return Err(not_covered);
        };
        let path = self.tiles.hashes(&plan).await?;
        Ok(TlogProof::new(index, path, checkpoint.parse()?))
    }
}
