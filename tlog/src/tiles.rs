//! Reading tiles, and computing roots and proofs from them.

use std::collections::BTreeMap;

use eventstore::{Database, Error, Position, Session};
use transparency::tile::{Level, Tile, encode_entries, encode_hashes};
use transparency::tree::{Frontier, Plan};
use transparency::{Hash, MAX_SIZE};

use crate::error::TlogError;
use crate::extend::PAGE;

/// The tables of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogTables {
    /// Table of the entries. Its columns `position`, from 1 without gaps, and `hash` have the entries in
    /// order.
    pub entries: &'static str,
    /// Table of the tiles above level 0, with the columns `level`, `tile` and `hashes`.
    pub tiles: &'static str,
}

impl LogTables {
    /// The tables of the log of events.
    pub const EVENTS: Self = Self {
        entries: "events",
        tiles: "log_tiles",
    };
}

/// The tiles of a log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tiles {
    pub(crate) database: Database,
    pub(crate) tables: LogTables,
}

impl Tiles {
    /// Creates a reader of the tiles of the log of events in `database`.
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self::of(database, LogTables::EVENTS)
    }

    /// Creates a reader of the tiles of the log in these tables.
    #[must_use]
    pub const fn of(database: Database, tables: LogTables) -> Self {
        Self { database, tables }
    }

    /// Returns the contents of a tile or entry bundle. The events that it covers must be in the log, and for
    /// a level above 0, [`Tiles::extend`] must have been called with a size that covers the tile.
    ///
    /// # Errors
    ///
    /// [`TlogError`].
    pub async fn content(&self, tile: &Tile) -> Result<Vec<u8>, TlogError> {
        let width = u64::from(tile.width());
        match tile.level() {
            Level::Entries => {
                let entries = self.entries(tile.start(), width).await?;
                encode_entries(entries).ok_or(TlogError::Size(tile.start()))
            }
            Level::Hashes(0) => {
                let entries = self.entries(tile.start(), width).await?;
                let leaves: Vec<_> = entries.iter().map(|entry| Hash::leaf(entry)).collect();
                Ok(encode_hashes(&leaves))
            }
            Level::Hashes(_) => {
                let mut hashes = self.stored(tile).await?.unwrap_or_default();
                let length = usize::from(tile.width()) * Hash::LEN;
                if hashes.len() < length {
                    let what = "it has fewer hashes than the log requires";
                    let table = self.tables.tiles;
                    return Err(TlogError::Tiles {
                        table,
                        tile: *tile,
                        what,
                    });
                }
                hashes.truncate(length);
                Ok(hashes)
            }
        }
    }

    /// Returns the hashes of a plan, such as the path of a proof.
    ///
    /// # Errors
    ///
    /// [`TlogError`].
    pub async fn hashes(&self, plan: &Plan) -> Result<Vec<Hash>, TlogError> {
        let mut tiles = BTreeMap::new();
        for tile in plan.tiles() {
            tiles.insert(tile, self.content(&tile).await?);
        }
        let hashes = plan.hashes(&mut tiles);
        hashes.map_err(|error| TlogError::of_content(&error, self.tables.tiles))
    }

    /// Returns the root of the tree over the first `size` events. [`Tiles::extend`] must have been called
    /// with this size or a larger one.
    ///
    /// # Errors
    ///
    /// [`TlogError`].
    pub async fn root(&self, size: u64) -> Result<Hash, TlogError> {
        let plan = Plan::frontier(size).ok_or(TlogError::Size(size))?;
        let hashes = self.hashes(&plan).await?;
        let frontier = Frontier::from_hashes(size, hashes).ok_or(TlogError::Size(size))?;
        Ok(frontier.root())
    }

    /// Computes the root of the tree over the first `size` entries from the entries alone.
    pub(crate) async fn root_of_entries(&self, size: u64) -> Result<Hash, TlogError> {
        let mut tree = Frontier::default();
        while tree.size() < size {
            let count = (size - tree.size()).min(PAGE);
            let entries = self.entries(tree.size(), count).await?;
            tree.extend(entries.iter().map(|entry| Hash::leaf(entry)));
        }
        Ok(tree.root())
    }

    /// Reads the entries with the indexes `start` to `start + count - 1`.
    pub(crate) async fn entries(&self, start: u64, count: u64) -> Result<Vec<[u8; 32]>, TlogError> {
        let end = start.checked_add(count).filter(|end| *end <= MAX_SIZE);
        let end = end.ok_or(TlogError::Size(start))?;
        let position = |number| Position::new(number).ok_or(TlogError::Size(number));
        let (after, to) = (position(start)?, position(end)?);
        let mut connection = self.database.reader().await?;
        let rows = connection
            .query(&format!(
                "SELECT position, hash FROM {} WHERE position > ? AND position <= ? ORDER BY position",
                self.tables.entries
            ))
            .bind(after)
            .bind(to)
            .fetch_all()
            .await?;
        let damaged = |position, what| Error::Damaged { position, what };
        let mut entries = Vec::with_capacity(rows.len());
        let mut expected = after;
        for row in &rows {
            expected = expected.next();
            if row.get::<Position, _>(0)? != expected {
                return Err(damaged(expected, "the event is missing").into());
            }
            let hash: Vec<u8> = row.get(1)?;
            let hash = hash
                .try_into()
                .map_err(|_| damaged(expected, "its hash is not 32 bytes"))?;
            entries.push(hash);
        }
        if expected != to {
            return Err(damaged(expected.next(), "the event is missing").into());
        }
        Ok(entries)
    }

    /// Returns the stored hashes of the tile of a level above 0 with the same level and index, if any.
    async fn stored(&self, tile: &Tile) -> Result<Option<Vec<u8>>, TlogError> {
        let mut connection = self.database.reader().await?;
        stored(&mut connection, self.tables, tile).await
    }
}

/// Reads a row of the table of tiles.
pub(crate) async fn stored(
    session: &mut (impl Session + ?Sized),
    tables: LogTables,
    tile: &Tile,
) -> Result<Option<Vec<u8>>, TlogError> {
    let (level, index) = key(tile)?;
    let row = session
        .query(&format!(
            "SELECT hashes FROM {} WHERE level = ? AND tile = ?",
            tables.tiles
        ))
        .bind(level)
        .bind(index)
        .fetch_optional()
        .await?;
    let hashes = row.map(|row| row.get::<Vec<u8>, _>(0)).transpose()?;
    Ok(hashes)
}

/// Returns the key of a tile of hashes in the table of tiles.
pub(crate) fn key(tile: &Tile) -> Result<(i64, i64), TlogError> {
    match (tile.level(), i64::try_from(tile.index())) {
        (Level::Hashes(level), Ok(index)) => Ok((level.into(), index)),
        _ => Err(TlogError::Size(tile.index())),
    }
}
