//! Extending the stored tiles.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use eventstore::{Session, Transaction};
use transparency::Hash;
use transparency::tile::{FULL_WIDTH, Level, Tile};
use transparency::tree::Frontier;

use crate::error::TlogError;
use crate::tiles::{LogTables, Tiles, key, stored};

/// Number of leaves below a hash of level 1.
const WIDTH: u64 = FULL_WIDTH as u64;
/// Maximum number of events that one call of [`Tiles::extend`] reads.
pub const PAGE: u64 = 16 * WIDTH;

impl Tiles {
    /// Extends the stored tiles towards the tree of `size` leaves by at most [`PAGE`] events, in one
    /// transaction. Returns whether the tiles cover the tree. Call it repeatedly until they do.
    ///
    /// Each call compares the last stored hash with the events that it covers, even if there is nothing to
    /// add. Because the hash of an event covers all earlier events, this comparison detects a log that was
    /// rewritten.
    ///
    /// # Errors
    ///
    /// [`TlogError`]. After [`TlogError::Overtaken`], the call can be repeated.
    pub async fn extend(&self, size: u64) -> Result<bool, TlogError> {
        let complete = size / WIDTH;
        let covered = self.covered().await?;
        if covered > complete {
            let covered = covered * WIDTH;
            let table = self.tables.tiles;
            return Err(TlogError::TilesBeyond { table, covered, size });
        }
        if complete == 0 {
            return Ok(true);
        }
        let end = complete.min(covered + PAGE / WIDTH);
        let first = covered.saturating_sub(1);
        let entries = self.entries(first * WIDTH, (end - first) * WIDTH).await?;
        let mut roots = entries.chunks(FULL_WIDTH.into()).map(|bundle| {
            let mut tree = Frontier::default();
            tree.extend(bundle.iter().map(|entry| Hash::leaf(entry)));
            tree.root()
        });
        let last = if covered > 0 { roots.next() } else { None };

        let mut transaction = self.database.begin().await?;
        let mut rows = Rows {
            tables: self.tables,
            rows: BTreeMap::new(),
        };
        if let Some(last) = last {
            rows.compare(&mut transaction, 1, covered - 1, last).await?;
        }
        for (index, root) in (covered..).zip(roots) {
            rows.add(&mut transaction, index, root).await?;
        }
        rows.write(&mut transaction).await?;
        transaction.commit().await?;
        Ok(end == complete)
    }

    /// Returns the number of stored hashes of level 1.
    async fn covered(&self) -> Result<u64, TlogError> {
        let mut connection = self.database.reader().await?;
        let row = connection
            .query(&format!(
                "SELECT tile, hashes FROM {} WHERE level = 1 ORDER BY tile DESC LIMIT 1",
                self.tables.tiles
            ))
            .fetch_optional()
            .await?;
        let Some(row) = row else {
            return Ok(0);
        };
        let (index, hashes): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let index = u64::try_from(index).map_err(|_| TlogError::Size(0))?;
        let hashes = u64::try_from(hashes.len() / Hash::LEN).map_err(|_| TlogError::Size(index))?;
        index
            .checked_mul(WIDTH)
            .and_then(|start| start.checked_add(hashes))
            .filter(|covered| covered.checked_mul(WIDTH).is_some())
            .ok_or(TlogError::Size(index))
    }
}

/// The rows that a transaction changes.
struct Rows {
    tables: LogTables,
    rows: BTreeMap<Tile, Row>,
}

struct Row {
    /// Length of the stored hashes in bytes; `None` if there is no row.
    before: Option<usize>,
    hashes: Vec<u8>,
}

impl Rows {
    /// Adds the hash with this index at level 1, and the hashes of the higher levels whose tiles it
    /// completes.
    async fn add(
        &mut self,
        transaction: &mut Transaction<'_>,
        index: u64,
        root: Hash,
    ) -> Result<(), TlogError> {
        let (mut level, mut index, mut hash) = (1, index, root);
        loop {
            let (tile, row) = self.row(transaction, level, index).await?;
            let within = usize::try_from(index % WIDTH).map_err(|_| TlogError::Size(index))?;
            match row.hashes.len().cmp(&(within * Hash::LEN)) {
                Ordering::Equal => {}
                Ordering::Greater => return Err(TlogError::Overtaken(tile)),
                Ordering::Less => {
                    return Err(TlogError::Tiles {
                        table: self.tables.tiles,
                        tile,
                        what: "it has fewer hashes than the tiles below it require",
                    });
                }
            }
            row.hashes.extend(hash.0);
            if row.hashes.len() < usize::from(FULL_WIDTH) * Hash::LEN {
                return Ok(());
            }
            let mut tree = Frontier::default();
            tree.extend(row.hashes.as_chunks().0.iter().copied().map(Hash));
            (level, index, hash) = (level + 1, index / WIDTH, tree.root());
        }
    }

    /// Checks that the stored hash with this index is `expected`.
    async fn compare(
        &mut self,
        transaction: &mut Transaction<'_>,
        level: u8,
        index: u64,
        expected: Hash,
    ) -> Result<(), TlogError> {
        let (tile, row) = self.row(transaction, level, index).await?;
        let within = usize::try_from(index % WIDTH).map_err(|_| TlogError::Size(index))?;
        let stored = row.hashes.as_chunks::<{ Hash::LEN }>().0.get(within);
        if stored == Some(&expected.0) {
            return Ok(());
        }
        Err(TlogError::Tiles {
            table: self.tables.tiles,
            tile,
            what: "it differs from the events in the log",
        })
    }

    /// Returns the row that has the hash with this index.
    async fn row(
        &mut self,
        transaction: &mut Transaction<'_>,
        level: u8,
        index: u64,
    ) -> Result<(Tile, &mut Row), TlogError> {
        let tile = Tile::new(Level::Hashes(level), index / WIDTH, FULL_WIDTH);
        let tile = tile.ok_or(TlogError::Size(index))?;
        let row = match self.rows.entry(tile) {
            Entry::Occupied(row) => row.into_mut(),
            Entry::Vacant(place) => {
                let hashes = stored(transaction, self.tables, &tile).await?;
                place.insert(Row {
                    before: hashes.as_ref().map(Vec::len),
                    hashes: hashes.unwrap_or_default(),
                })
            }
        };
        Ok((tile, row))
    }

    /// Writes the changed rows. A row that has changed since it was read is not overwritten.
    async fn write(self, transaction: &mut Transaction<'_>) -> Result<(), TlogError> {
        let table = self.tables.tiles;
        for (tile, Row { before, hashes }) in self.rows {
            if before == Some(hashes.len()) {
                continue;
            }
            let (level, index) = key(&tile)?;
            let Some(before) = before else {
                transaction
                    .query(&format!(
                        "INSERT INTO {table} (hashes, level, tile) VALUES (?, ?, ?)"
                    ))
                    .bind(hashes)
                    .bind(level)
                    .bind(index)
                    .execute()
                    .await?;
                continue;
            };
            let length = i64::try_from(before).map_err(|_| TlogError::Overtaken(tile))?;
            let changed = transaction
                .query(&format!(
                    "UPDATE {table} SET hashes = ? WHERE level = ? AND tile = ? AND LENGTH(hashes) = ?"
                ))
                .bind(hashes)
                .bind(level)
                .bind(index)
                .bind(length)
                .execute()
                .await?;
            if changed != 1 {
                return Err(TlogError::Overtaken(tile));
            }
        }
        Ok(())
    }
}
