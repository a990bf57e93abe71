//! Contents of tiles and entry bundles.

use super::{FULL_WIDTH, Level, Tile};
use crate::Hash;

/// Source of tiles and entry bundles: a directory, a database, or an HTTP client.
pub trait TileReader {
    /// Reason why a tile was not read.
    type Error;

    /// Returns the contents of a tile. A wider tile with the same level and index can be returned instead: a
    /// log can delete a partial tile when the full tile exists.
    ///
    /// # Errors
    ///
    /// Returns an error if the tile cannot be read.
    fn read(&mut self, tile: &Tile) -> Result<Vec<u8>, Self::Error>;
}

/// Reason why contents of tiles are not available.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError<E> {
    /// The tile was not read.
    #[error(transparent)]
    Read(E),
    /// The contents of the tile or bundle do not fit its name.
    #[error("{0} is malformed")]
    Malformed(Tile),
}

/// Encodes the hashes of a tile: 32 bytes each.
#[must_use]
pub fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// Decodes a tile of 1 to 256 hashes. Returns `None` if the length is not a multiple of 32 from 32 to 8,192.
#[must_use]
pub fn decode_hashes(tile: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = tile.as_chunks::<{ Hash::LEN }>();
    let valid = rest.is_empty() && !hashes.is_empty() && hashes.len() <= usize::from(FULL_WIDTH);
    valid.then(|| hashes.iter().copied().map(Hash).collect())
}

/// Encodes an entry bundle: each entry after its length as a big-endian `u16`. Returns `None` if there are
/// more than 256 entries, or if an entry is longer than 65,535 bytes.
pub fn encode_entries<T: AsRef<[u8]>>(entries: impl IntoIterator<Item = T>) -> Option<Vec<u8>> {
    let mut bundle = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let entry = entry.as_ref();
        if index == usize::from(FULL_WIDTH) {
            return None;
        }
        bundle.extend(u16::try_from(entry.len()).ok()?.to_be_bytes());
        bundle.extend(entry);
    }
    Some(bundle)
}

/// Decodes an entry bundle of 1 to 256 entries. Returns `None` if the bundle is malformed.
#[must_use]
pub fn decode_entries(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while !bundle.is_empty() && entries.len() < usize::from(FULL_WIDTH) {
        let (length, rest) = bundle.split_first_chunk()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        bundle = rest;
    }
    (bundle.is_empty() && !entries.is_empty()).then_some(entries)
}

impl Tile {
    /// Reads the hashes of the tile. If the reader returns a wider tile, the additional hashes are ignored.
    /// An entry bundle is read as the leaf hashes of its entries.
    ///
    /// # Errors
    ///
    /// Returns an error if the tile cannot be read or is malformed.
    pub fn hashes<R: TileReader + ?Sized>(
        &self,
        reader: &mut R,
    ) -> Result<Vec<Hash>, ContentError<R::Error>> {
        let content = reader.read(self).map_err(ContentError::Read)?;
        let hashes = match self.level {
            Level::Hashes(_) => decode_hashes(&content),
            Level::Entries => decode_entries(&content)
                .map(|entries| entries.iter().map(|entry| Hash::leaf(entry)).collect()),
        };
        let mut hashes = hashes.ok_or(ContentError::Malformed(*self))?;
        if hashes.len() < usize::from(self.width) {
            return Err(ContentError::Malformed(*self));
        }
        hashes.truncate(usize::from(self.width));
        Ok(hashes)
    }

    /// Returns the tiles from which [`Tile::build`] computes the tile: for level 0 the entry bundle, for
    /// higher levels one full tile per hash, and for an entry bundle nothing.
    pub fn sources(&self) -> impl Iterator<Item = Self> {
        let (start, width) = (self.start(), self.width);
        let (level, indexes, width) = match self.level {
            Level::Hashes(0) => (Level::Entries, self.index..self.index + 1, width),
            Level::Hashes(level) => (
                Level::Hashes(level - 1),
                start..start + u64::from(width),
                FULL_WIDTH,
            ),
            Level::Entries => (Level::Entries, 0..0, width),
        };
        indexes.filter_map(move |index| Self::new(level, index, width))
    }

    /// Computes the contents of a tile of hashes from its [sources](Tile::sources). For an entry bundle,
    /// returns the contents that the reader returns.
    ///
    /// # Errors
    ///
    /// Returns an error if a source cannot be read or is malformed.
    pub fn build<R: TileReader + ?Sized>(&self, reader: &mut R) -> Result<Vec<u8>, ContentError<R::Error>> {
        match self.level {
            Level::Entries => reader.read(self).map_err(ContentError::Read),
            Level::Hashes(level) => {
                let mut hashes = Vec::with_capacity(usize::from(self.width));
                for source in self.sources() {
                    let below = source.hashes(reader)?;
                    if level == 0 {
                        hashes.extend(below);
                    } else {
                        hashes.push(Hash::perfect_root(&below));
                    }
                }
                // The tiles below an index close to the maximum cannot be named.
                if hashes.len() == usize::from(self.width) {
                    Ok(encode_hashes(&hashes))
                } else {
                    Err(ContentError::Malformed(*self))
                }
            }
        }
    }
}
