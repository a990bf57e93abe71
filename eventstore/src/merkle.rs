//! Merkle tree over the log, as defined in RFC 9162, section 2.1.
//!
//! Leaf `n` is `SHA-256(0x00 ‖ hash)`, where `hash` is the link of the chain at position `n + 1`. An inner
//! node is `SHA-256(0x01 ‖ left ‖ right)`. The root of the empty tree is `SHA-256()`. A link covers every
//! column of its event and all links before it. A leaf therefore commits to the whole event, although the
//! tree is computed from only 32 bytes per event.
//!
//! Verifying the chain requires the whole log. The tree proves with about `log2(n)` hashes that a log
//! contains an event, or that a log extends an earlier one.

mod check;
mod leaves;

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::event::Hash;

pub use check::{includes, is_consistent};
pub(crate) use leaves::for_each_link;
pub use leaves::root;

/// Returns the leaf for a link of the chain.
#[must_use]
pub fn leaf(link: &Hash) -> Hash {
    leaf_of(&link.0)
}

fn leaf_of(data: &[u8]) -> Hash {
    let mut sha = Sha256::new();
    sha.update([0]);
    sha.update(data);
    Hash(sha.finalize().into())
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let mut sha = Sha256::new();
    sha.update([1]);
    sha.update(left.0);
    sha.update(right.0);
    Hash(sha.finalize().into())
}

/// Roots of the full subtrees of the leaves added so far, at most 64 hashes. They determine the root of the
/// tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds the next leaf, a hash returned by [`leaf`].
    pub fn push(&mut self, mut hash: Hash) {
        // Merge with each full subtree of equal size on the left.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// Returns the root of the tree over the leaves added so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else {
            return Hash(Sha256::digest([]).into());
        };
        peaks.fold(*last, |right, left| node(left, &right))
    }
}

/// Path of a proof: hashes of subtrees, computed in one pass over the leaves.
#[derive(Debug)]
pub struct Path {
    /// The subtrees in the order of their leaves. Each has its index in the path, its range of leaves, and
    /// the leaves added so far.
    subtrees: Vec<(usize, Range<u64>, Frontier)>,
    current: usize,
}

impl Path {
    /// Starts the path that proves that leaf `index` is in the tree of `size` leaves. The path is empty
    /// unless `index < size`.
    #[must_use]
    pub fn inclusion(index: u64, size: u64) -> Self {
        let mut ranges = Vec::new();
        let mut tree = 0..size;
        while index < size && tree.end - tree.start > 1 {
            let middle = tree.start + split(tree.end - tree.start);
            if index < middle {
                ranges.push(middle..tree.end);
                tree.end = middle;
            } else {
                ranges.push(tree.start..middle);
                tree.start = middle;
            }
        }
        Self::of(ranges)
    }

    /// Starts the path that proves that the tree of `new` leaves extends the tree of its first `old` leaves.
    /// The path is empty unless `0 < old < new`.
    #[must_use]
    pub fn consistency(old: u64, new: u64) -> Self {
        let mut ranges = Vec::new();
        let mut tree = 0..new;
        while 0 < old && old < tree.end {
            let middle = tree.start + split(tree.end - tree.start);
            if old <= middle {
                ranges.push(middle..tree.end);
                tree.end = middle;
            } else {
                ranges.push(tree.start..middle);
                tree.start = middle;
            }
        }
        // The verifier knows the root of the old tree, but not the hashes of its subtrees.
        if old == tree.end && tree.start > 0 {
            ranges.push(tree);
        }
        Self::of(ranges)
    }

    /// Creates the path from ranges ordered from the root down. A proof lists the deepest range first.
    fn of(ranges: Vec<Range<u64>>) -> Self {
        let mut subtrees: Vec<_> = ranges
            .into_iter()
            .rev()
            .enumerate()
            .map(|(place, leaves)| (place, leaves, Frontier::default()))
            .collect();
        subtrees.sort_unstable_by_key(|(_, leaves, _)| leaves.start);
        Self { subtrees, current: 0 }
    }

    /// Adds the leaf at `index`. Every leaf must be added, in order.
    pub fn push(&mut self, index: u64, leaf: Hash) {
        while let Some((_, leaves, subtree)) = self.subtrees.get_mut(self.current) {
            if index < leaves.end {
                if index >= leaves.start {
                    subtree.push(leaf);
                }
                return;
            }
            self.current += 1;
        }
    }

    /// Returns the hashes of the path, in the order of RFC 9162.
    #[must_use]
    pub fn hashes(mut self) -> Vec<Hash> {
        self.subtrees.sort_unstable_by_key(|(place, ..)| *place);
        self.subtrees
            .iter()
            .map(|(_, _, subtree)| subtree.root())
            .collect()
    }
}

/// Returns the size of the left subtree: the largest power of two smaller than `size`. `size` must be at
/// least 2.
const fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

#[cfg(test)]
mod tests;
