//! Proofs and roots from tiles.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::fold;
use crate::tile::{ContentError, FULL_WIDTH, HEIGHT, Level, Tile, TileReader};
use crate::{Hash, MAX_SIZE};

/// The hashes that a proof consists of, and the tiles from which these hashes are computed.
///
/// A caller that reads tiles asynchronously reads [`Plan::tiles`] first, and passes them to [`Plan::hashes`]
/// in a `BTreeMap`. The tiles are not trusted: the result must be verified with a trusted root, except that a
/// log can trust its own tiles.
#[derive(Debug, Clone)]
pub struct Plan {
    size: u64,
    /// For each hash of the result, a range of leaves whose root it is.
    ranges: Vec<Range<u64>>,
}

/// A perfect subtree.
struct Node {
    height: u8,
    /// Index among the perfect subtrees of this height.
    index: u64,
}

impl Plan {
    /// Plans the inclusion proof of leaf `index` in the tree of `size` leaves: RFC 9162, section 2.1.3.1.
    /// Returns `None` unless `index < size` and `size` is at most [`MAX_SIZE`].
    #[must_use]
    pub fn inclusion(index: u64, size: u64) -> Option<Self> {
        if index >= size || size > MAX_SIZE {
            return None;
        }
        let mut siblings = Vec::new();
        let mut tree = 0..size;
        while tree.end - tree.start > 1 {
            let (left, right) = split(&tree);
            let (inside, sibling) = if index < right.start {
                (left, right)
            } else {
                (right, left)
            };
            siblings.push(sibling);
            tree = inside;
        }
        siblings.reverse();
        Some(Self {
            size,
            ranges: siblings,
        })
    }

    /// Plans the proof that the tree of `new` leaves extends the tree of its first `old` leaves: RFC 9162,
    /// section 2.1.4.1. The proof is empty if `old` is 0 or equal to `new`. Returns `None` unless
    /// `old <= new` and `new` is at most [`MAX_SIZE`].
    #[must_use]
    pub fn consistency(old: u64, new: u64) -> Option<Self> {
        if old > new || new > MAX_SIZE {
            return None;
        }
        let mut ranges = Vec::new();
        let mut tree = 0..new;
        while 0 < old && old < tree.end {
            let (left, right) = split(&tree);
            let (inside, sibling) = if old <= right.start {
                (left, right)
            } else {
                (right, left)
            };
            ranges.push(sibling);
            tree = inside;
        }
        // The verifier knows the root of the old tree, but not the hashes of its subtrees.
        if 0 < old && tree.start > 0 {
            ranges.push(tree);
        }
        ranges.reverse();
        Some(Self { size: new, ranges })
    }

    /// Plans the hashes of the [`Frontier`](super::Frontier) of `size` leaves. Returns `None` if `size`
    /// exceeds [`MAX_SIZE`].
    #[must_use]
    pub fn frontier(size: u64) -> Option<Self> {
        (size <= MAX_SIZE).then(|| Self {
            size,
            ranges: perfect(&(0..size)).map(|node| node.leaves()).collect(),
        })
    }

    /// Returns the tiles that [`Plan::hashes`] reads, as they are in the tree.
    #[must_use]
    pub fn tiles(&self) -> BTreeSet<Tile> {
        let nodes = self.ranges.iter().flat_map(perfect);
        nodes.filter_map(|node| Some(node.within(self.size)?.0)).collect()
    }

    /// Reads each tile once, and computes the hashes in the order of a proof.
    ///
    /// # Errors
    ///
    /// Returns an error if a tile cannot be read or is malformed.
    pub fn hashes<R: TileReader + ?Sized>(
        &self,
        reader: &mut R,
    ) -> Result<Vec<Hash>, ContentError<R::Error>> {
        let mut tiles = BTreeMap::new();
        for tile in self.tiles() {
            tiles.insert(tile, tile.hashes(reader)?);
        }
        let hash_of = |node: Node| {
            let (tile, hashes) = node.within(self.size)?;
            tiles.get(&tile)?.get(hashes).map(Hash::perfect_root)
        };
        let root = |range| fold(&perfect(range).filter_map(hash_of).collect::<Vec<_>>());
        Ok(self.ranges.iter().map(root).collect())
    }
}

/// Splits a tree of at least two leaves: the left subtree is the largest perfect tree that is not the whole.
fn split(tree: &Range<u64>) -> (Range<u64>, Range<u64>) {
    let last = (tree.end - tree.start).saturating_sub(1).max(1);
    let middle = tree.start + (1 << last.ilog2());
    (tree.start..middle, middle..tree.end)
}

/// Returns the perfect subtrees of a subtree, the largest first. They are aligned, because a subtree begins
/// at a multiple of its largest perfect subtree.
fn perfect(tree: &Range<u64>) -> impl Iterator<Item = Node> {
    let mut tree = tree.clone();
    std::iter::from_fn(move || {
        let height = (tree.end - tree.start).checked_ilog2()?;
        let index = tree.start >> height;
        tree.start += 1 << height;
        Some(Node {
            height: u8::try_from(height).ok()?,
            index,
        })
    })
}

impl Node {
    const fn leaves(&self) -> Range<u64> {
        self.index << self.height..(self.index + 1) << self.height
    }

    /// Returns the tile of the tree of `size` leaves that contains the hashes below the node, and their range
    /// within the tile.
    fn within(&self, size: u64) -> Option<(Tile, Range<usize>)> {
        let within = self.height % HEIGHT;
        let first = self.index << within;
        let tile = Tile::at(
            Level::Hashes(self.height / HEIGHT),
            first / u64::from(FULL_WIDTH),
            size,
        )?;
        let start = usize::try_from(first % u64::from(FULL_WIDTH)).ok()?;
        Some((tile, start..start + (1 << within)))
    }
}
