//! Verification of proofs.

use crate::Hash;

/// Reason why a proof is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The index is not below the size, the old size exceeds the new size, or the old tree is empty.
    #[error("the sizes and the index do not fit together")]
    Sizes,
    /// The number of hashes is wrong for these sizes.
    #[error("the proof is too short or too long")]
    Length,
    /// The hashes do not lead to the root.
    #[error("the proof does not lead to the root")]
    Root,
}

/// Verifies that `leaf` is the leaf hash at `index` in the tree of `size` leaves with this root: RFC 9162,
/// section 2.1.3.2.
///
/// # Errors
///
/// Returns an error if the proof is invalid.
pub fn verify_inclusion(
    proof: &[Hash],
    index: u64,
    leaf: &Hash,
    size: u64,
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Sizes);
    }
    let mut walk = Walk {
        index,
        last: size - 1,
    };
    let mut hash = *leaf;
    for sibling in proof {
        hash = match walk.up().ok_or(ProofError::Length)? {
            Side::Left => Hash::node(sibling, &hash),
            Side::Right => Hash::node(&hash, sibling),
        };
    }
    finish(&walk, hash == *root)
}

/// Verifies that the tree of `new` leaves extends the tree of `old` leaves: RFC 9162, section 2.1.4.2. For
/// two trees of equal size, the proof must be empty and the roots equal.
///
/// An empty old tree is an error. Every tree extends it, so no proof exists, and the caller has to decide
/// whether to accept the new root without a proof.
///
/// # Errors
///
/// Returns an error if the proof is invalid.
pub fn verify_consistency(
    proof: &[Hash],
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
) -> Result<(), ProofError> {
    if old == 0 || old > new {
        return Err(ProofError::Sizes);
    }
    if old == new {
        return match (proof.is_empty(), old_root == new_root) {
            (true, true) => Ok(()),
            (true, false) => Err(ProofError::Root),
            (false, _) => Err(ProofError::Length),
        };
    }
    let mut walk = Walk {
        index: old - 1,
        last: new - 1,
    };
    // Start at the largest subtree that ends with the last old leaf.
    let complete = walk.index.trailing_ones();
    walk.index >>= complete;
    walk.last >>= complete;
    let (first, proof) = match proof.split_first() {
        // That subtree is the whole old tree, so the proof omits its hash.
        _ if walk.index == 0 => (*old_root, proof),
        Some((first, rest)) => (*first, rest),
        None => return Err(ProofError::Length),
    };
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in proof {
        match walk.up().ok_or(ProofError::Length)? {
            Side::Left => {
                old_hash = Hash::node(sibling, &old_hash);
                new_hash = Hash::node(sibling, &new_hash);
            }
            Side::Right => new_hash = Hash::node(&new_hash, sibling),
        }
    }
    finish(&walk, old_hash == *old_root && new_hash == *new_root)
}

fn finish(walk: &Walk, roots_match: bool) -> Result<(), ProofError> {
    match (walk.last, roots_match) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}

/// Side on which the sibling is.
enum Side {
    Left,
    Right,
}

/// Path from a node to the root: the node's index at its height, and the index of the last node at this
/// height.
struct Walk {
    index: u64,
    last: u64,
}

impl Walk {
    /// Moves to the parent of the node and of its sibling. Returns `None` at the root.
    const fn up(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        let side = if self.index & 1 == 1 || self.index == self.last {
            // On the right edge, a subtree without a sibling moves up unchanged.
            let without = self.index.trailing_zeros();
            self.index >>= without;
            self.last >>= without;
            Side::Left
        } else {
            Side::Right
        };
        self.index >>= 1;
        self.last >>= 1;
        Some(side)
    }
}
