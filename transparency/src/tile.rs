//! Tiles: the Merkle tree and the entries of a log as static files.
//!
//! Source: [c2sp.org/tlog-tiles](https://c2sp.org/tlog-tiles), version 0.1.0 and the later changes up to
//! commit `1cd32db` of C2SP/C2SP. Pruning is not supported.
//!
//! Tile `n` of level `l` has the roots of the perfect subtrees of 256^`l` leaves with the indexes 256 `n` to
//! 256 `n` + 255. On the right edge of a tree, tiles are *partial*: they have fewer hashes. Entry bundles
//! contain the entries of the level 0 tile with the same index.

mod content;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::{MAX_SIZE, text};

pub use content::{ContentError, TileReader, decode_entries, decode_hashes, encode_entries, encode_hashes};

/// Number of hashes in a full tile, and of entries in a full bundle.
pub const FULL_WIDTH: u16 = 256;

/// Base-2 logarithm of the number of hashes in a full tile: a hash of level `l + 1` covers 2⁸ hashes of level
/// `l`.
pub(crate) const HEIGHT: u8 = 8;

/// Largest level that a path can have. Tiles of trees with at most [`MAX_SIZE`] leaves have levels up to 7.
const MAX_LEVEL: u8 = 63;

/// Maximum length of a path in bytes, which suffices for the largest index in elements of three digits.
const MAX_PATH_LEN: usize = 48;

/// What a tile contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Hashes of this level, from 0 (leaves) to 63.
    Hashes(u8),
    /// Entries, which are the data of the leaves.
    Entries,
}

impl Level {
    /// Returns the number of hashes or entries that a tree of `size` leaves has at this level.
    #[must_use]
    pub const fn count(self, size: u64) -> u64 {
        let level = match self {
            Self::Hashes(level) => level,
            Self::Entries => 0,
        };
        match size.checked_shr(level as u32 * HEIGHT as u32) {
            Some(count) => count,
            None => 0,
        }
    }
}

/// A path that does not name a tile, or is not in canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path does not name a tile")]
pub struct PathError;

/// Name of a tile or entry bundle. Its text form is the path below the prefix of the log:
/// `tile/<level>/<index>[.p/<width>]` or `tile/entries/<index>[.p/<width>]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: Level,
    index: u64,
    width: u16,
}

impl Tile {
    /// Makes the name of a tile. Returns `None` unless the level is at most 63, the width is from 1 to 256,
    /// and the index is at most [`MAX_SIZE`] / 256.
    #[must_use]
    pub fn new(level: Level, index: u64, width: u16) -> Option<Self> {
        let level_exists = !matches!(level, Level::Hashes(level) if level > MAX_LEVEL);
        let index_exists = index <= MAX_SIZE / u64::from(FULL_WIDTH);
        (level_exists && index_exists && (1..=FULL_WIDTH).contains(&width)).then_some(Self {
            level,
            index,
            width,
        })
    }

    /// Returns the tile as it is in a tree of `size` leaves, full or partial. Returns `None` if the tree has
    /// no such tile.
    #[must_use]
    pub fn at(level: Level, index: u64, size: u64) -> Option<Self> {
        let start = index.checked_mul(u64::from(FULL_WIDTH))?;
        let width = level.count(size).checked_sub(start)?.min(u64::from(FULL_WIDTH));
        Self::new(level, index, u16::try_from(width).ok()?)
    }

    /// Returns all tiles and entry bundles of a tree of `size` leaves, level by level, entries last.
    pub fn of_tree(size: u64) -> impl Iterator<Item = Self> {
        Self::between(0, size)
    }

    /// Returns the tiles and entry bundles that a tree of `new` leaves has, and the tree of its first `old`
    /// leaves does not have. These are the tiles to write when the log has grown.
    pub fn between(old: u64, new: u64) -> impl Iterator<Item = Self> {
        (0..=MAX_LEVEL)
            .map(Level::Hashes)
            .take_while(move |level| level.count(new) > 0)
            .chain([Level::Entries])
            .filter(move |level| level.count(old) < level.count(new))
            .flat_map(move |level| {
                let width = u64::from(FULL_WIDTH);
                let indexes = level.count(old) / width..level.count(new).div_ceil(width);
                indexes.filter_map(move |index| Self::at(level, index, new))
            })
    }

    /// What the tile contains.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Index of the tile within its level.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Index of the first hash or entry within the level.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.index * FULL_WIDTH as u64
    }

    /// Number of hashes or entries, from 1 to 256.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Whether the tile has fewer than 256 hashes or entries.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.width < FULL_WIDTH
    }

    /// Returns the full tile with the same level and index.
    #[must_use]
    pub const fn full(&self) -> Self {
        Self {
            width: FULL_WIDTH,
            ..*self
        }
    }

    /// Whether the contents of the tile are determined by the first `size` leaves. This is true of each tile
    /// of a tree of `size` leaves and of the partial tiles of all smaller trees.
    #[must_use]
    pub fn exists_in(&self, size: u64) -> bool {
        self.start() + u64::from(self.width) <= self.level.count(size)
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Level::Hashes(level) => write!(f, "tile/{level}")?,
            Level::Entries => f.write_str("tile/entries")?,
        }
        let mut power = 1;
        while self.index / power >= 1000 {
            power *= 1000;
        }
        while power > 1 {
            write!(f, "/x{:03}", self.index / power % 1000)?;
            power /= 1000;
        }
        write!(f, "/{:03}", self.index % 1000)?;
        if self.is_partial() {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

impl FromStr for Tile {
    type Err = PathError;

    /// Parses a path without a leading slash. Only the canonical path of a tile is accepted.
    fn from_str(path: &str) -> Result<Self, PathError> {
        if path.len() > MAX_PATH_LEN {
            return Err(PathError);
        }
        let parse = || {
            let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
            let level = match level {
                "entries" => Level::Entries,
                level => Level::Hashes(u8::try_from(text::decimal(level)?).ok()?),
            };
            let (index, width) = match rest.split_once(".p/") {
                Some((index, width)) => (index, u16::try_from(text::decimal(width)?).ok()?),
                None => (rest, FULL_WIDTH),
            };
            let index = index.split('/').try_fold(0_u64, |index, element| {
                let digits = element.strip_prefix('x').unwrap_or(element);
                let digits = (digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()))
                    .then(|| digits.parse::<u64>().ok())??;
                index.checked_mul(1000)?.checked_add(digits)
            })?;
            Self::new(level, index, width)
        };
        // The comparison rejects a missing or additional `x`, additional elements, and `.p/256`.
        parse().filter(|tile| tile.to_string() == path).ok_or(PathError)
    }
}

/// Tiles that were read beforehand, such as by asynchronous requests.
impl TileReader for BTreeMap<Tile, Vec<u8>> {
    type Error = Missing;

    fn read(&mut self, tile: &Tile) -> Result<Vec<u8>, Missing> {
        self.get(tile).cloned().ok_or(Missing(*tile))
    }
}

/// A tile that is not in the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} was not read")]
pub struct Missing(pub Tile);
