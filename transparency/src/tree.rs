//! The Merkle tree of RFC 6962: its state while it grows, proofs from tiles, and the verification of proofs.
//!
//! Sources: RFC 6962, section 2.1, and RFC 9162, section 2.1, which define the same tree.
//!
//! - [`Frontier`] is the state of a growing tree. It has at most 63 hashes, and adding a leaf computes two
//!   hashes on average.
//! - [`Plan`] makes proofs and roots from tiles.
//! - [`verify_inclusion`] and [`verify_consistency`] check proofs.

mod plan;
#[cfg(test)]
mod tests;
mod verify;

use crate::tile::HEIGHT;
use crate::{Hash, MAX_SIZE};

pub use plan::Plan;
pub use verify::{ProofError, verify_consistency, verify_inclusion};

/// Maximum number of hashes in a proof for a tree of at most [`MAX_SIZE`] leaves. The specification of the
/// witness protocol has the same limit.
pub const MAX_PROOF_LEN: usize = 63;

/// Roots of the perfect subtrees that the tree consists of, from left to right. Also called a compact range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    hashes: Vec<Hash>,
}

impl Frontier {
    /// Makes a frontier from stored hashes. Returns `None` if the size exceeds [`MAX_SIZE`], or if the number
    /// of hashes is not the number of one bits in the size.
    #[must_use]
    pub fn from_hashes(size: u64, hashes: Vec<Hash>) -> Option<Self> {
        let expected = usize::try_from(size.count_ones()).ok()?;
        (size <= MAX_SIZE && hashes.len() == expected).then_some(Self { size, hashes })
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the perfect subtrees, the largest first: one for each one bit of the size.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Adds a leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        self.push_each(leaf, |_, _, _| ());
    }

    /// Adds a leaf hash, and calls `tile_hash(level, index, hash)` for each hash that is new in a tile: the
    /// leaf at level 0, and the root of a completed tile at the next level. `index` is the index of the hash
    /// within its level. Per level, the calls are in the order of the indexes.
    pub fn push_each(&mut self, leaf: Hash, mut tile_hash: impl FnMut(u8, u64, Hash)) {
        let mut hash = leaf;
        let mut height = 0;
        loop {
            if height % HEIGHT == 0 {
                tile_hash(height / HEIGHT, self.size >> height, hash);
            }
            // A one bit means that a subtree of this height is on the left.
            if self.size >> height & 1 == 0 {
                break;
            }
            let Some(left) = self.hashes.pop() else {
                break;
            };
            hash = Hash::node(&left, &hash);
            height += 1;
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    /// Returns the root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold(&self.hashes)
    }
}

/// Adds leaf hashes in the order of the leaves.
impl Extend<Hash> for Frontier {
    fn extend<I: IntoIterator<Item = Hash>>(&mut self, leaves: I) {
        leaves.into_iter().for_each(|leaf| self.push(leaf));
    }
}

/// Returns the root of adjacent perfect subtrees of decreasing size.
fn fold(hashes: &[Hash]) -> Hash {
    match hashes.split_last() {
        None => Hash::EMPTY_ROOT,
        Some((last, larger)) => larger
            .iter()
            .rev()
            .fold(*last, |right, left| Hash::node(left, &right)),
    }
}
