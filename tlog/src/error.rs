//! Errors of the stored tiles and checkpoints.

use transparency::checkpoint::CheckpointError;
use transparency::tile::{ContentError, Missing, Tile};

/// An error of the stored tiles or checkpoints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlogError {
    /// The database failed, or an event is missing.
    #[error(transparent)]
    Store(#[from] eventstore::Error),
    /// A stored tile is missing or malformed, or differs from the tiles below it.
    #[error("the table {table} is damaged at {tile}: {what}")]
    Tiles {
        /// The table.
        table: &'static str,
        /// The tile.
        tile: Tile,
        /// Description of the damage.
        what: &'static str,
    },
    /// The stored tiles cover more events than the log has.
    #[error("the tiles in {table} cover {covered} events, but the log ends at {size}")]
    TilesBeyond {
        /// The table.
        table: &'static str,
        /// Number of events that the tiles cover.
        covered: u64,
        /// Number of events in the log.
        size: u64,
    },
    /// Another process has extended the same tile at the same time.
    #[error("another process has changed the stored {0} at the same time")]
    Overtaken(Tile),
    /// A tree, tile or proof of this size does not exist.
    #[error("there is no tree of {0} leaves")]
    Size(u64),
    /// A stored checkpoint cannot be read.
    #[error("a row of log_checkpoints is damaged: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A row of `log_checkpoints` contradicts its own note.
    #[error("the row of log_checkpoints with the size {size} contradicts its note")]
    CheckpointRow {
        /// Size in the row.
        size: u64,
    },
    /// A checkpoint with the same size and another root exists.
    #[error("a checkpoint with the size {size} and another root has been signed")]
    Fork {
        /// Size of both checkpoints.
        size: u64,
    },
}

impl TlogError {
    /// Converts the error of a tile in this table.
    pub(crate) fn of_content(error: &ContentError<Missing>, table: &'static str) -> Self {
        let (ContentError::Read(Missing(tile)) | ContentError::Malformed(tile)) = error else {
            return Self::Size(0);
        };
        Self::Tiles {
            table,
            tile: *tile,
            what: "it is missing or malformed",
        }
    }
}
