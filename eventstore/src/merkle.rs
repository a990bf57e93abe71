//! The Merkle tree over the log: RFC 9162, section 2.1.
//!
//! Leaf `n` is the link of the chain at position `n + 1`: `SHA-256(0x00 ‖ hash)`. A node is
//! `SHA-256(0x01 ‖ left ‖ right)`; the empty tree is `SHA-256()`. Since a link covers every column of its
//! event and all links before it, a leaf says as much as the event's own bytes would, and the tree can be
//! computed from 32 bytes an event.
//!
//! The chain proves the whole log to whoever reads the whole log; the tree proves one event, or that one log
//! goes on from another, with about `log2(n)` hashes.

mod check;
mod leaves;

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::event::Hash;

pub use check::{includes, is_consistent};
pub(crate) use leaves::for_each_link;
pub use leaves::root;

/// A leaf, of the link at its position.
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

/// The roots of the full subtrees that leaves so far make, from which the root follows: at most 64 hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds the next leaf, as [`leaf`] makes it.
    pub fn push(&mut self, mut hash: Hash) {
        // Each full subtree that has a sibling on its left now becomes one with it.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root of the tree of the leaves so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else {
            return Hash(Sha256::digest([]).into());
        };
        peaks.fold(*last, |right, left| node(left, &right))
    }
}

/// Hashes of subtrees, gathered in one pass over the leaves: the path of a proof.
#[derive(Debug)]
pub struct Path {
    /// In the order of their leaves: where it goes in the path, its leaves, and what is known of it.
    subtrees: Vec<(usize, Range<u64>, Frontier)>,
    current: usize,
}

impl Path {
    /// The path that proves leaf `index` to be in the tree of `size` leaves; nothing to gather unless
    /// `index < size`.
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

    /// The path that proves the tree of `new` leaves to go on from the tree of its first `old`; nothing to
    /// gather unless `0 < old < new`.
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
        // The verifier knows the old tree itself, but not a part of it.
        if old == tree.end && tree.start > 0 {
            ranges.push(tree);
        }
        Self::of(ranges)
    }

    /// From the ranges as they are met from the root down. A proof begins with the deepest.
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

    /// Takes the leaf with that index; indexes must come in order, all of them.
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

    /// The hashes of the path, in the order of RFC 9162.
    #[must_use]
    pub fn hashes(mut self) -> Vec<Hash> {
        self.subtrees.sort_unstable_by_key(|(place, ..)| *place);
        self.subtrees
            .iter()
            .map(|(_, _, subtree)| subtree.root())
            .collect()
    }
}

/// The largest power of two that is smaller than `size`, which is 2 or more: where a tree is divided.
const fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

#[cfg(test)]
mod tests;
