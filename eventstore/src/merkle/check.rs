//! Verification of proofs without the log.

use super::node;
use crate::event::Hash;

/// Whether `path` proves that `leaf` is at `index` in the tree with `size` leaves and root `root`: RFC 9162,
/// section 2.1.3.2.
#[must_use]
pub fn includes(root: &Hash, size: u64, index: u64, leaf: &Hash, path: &[Hash]) -> bool {
    if index >= size {
        return false;
    }
    let (mut index, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return false;
        }
        if index & 1 == 1 || index == last {
            hash = node(sibling, &hash);
            // On the right edge, a subtree without a sibling moves up unchanged.
            let up = if index & 1 == 1 { 0 } else { index.trailing_zeros() };
            index >>= up;
            last >>= up;
        } else {
            hash = node(&hash, sibling);
        }
        index >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether `path` proves that the tree with `new_size` leaves and root `new_root` extends the tree with
/// `old_size` leaves and root `old_root`: RFC 9162, section 2.1.4.2. For two equal trees, the path must be
/// empty. An empty old tree is rejected, because every tree extends it and the proof would prove nothing.
#[must_use]
pub fn is_consistent(old_root: &Hash, old_size: u64, new_root: &Hash, new_size: u64, path: &[Hash]) -> bool {
    if old_size == 0 || old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return path.is_empty() && old_root == new_root;
    }
    // The path omits the first subtree if it is the whole old tree.
    let (first, path) = if old_size.is_power_of_two() {
        (*old_root, path)
    } else {
        match path.split_first() {
            Some((first, rest)) => (*first, rest),
            None => return false,
        }
    };
    let (mut index, mut last) = (old_size - 1, new_size - 1);
    let up = index.trailing_ones();
    index >>= up;
    last >>= up;
    let (mut old, mut new) = (first, first);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if index & 1 == 1 || index == last {
            old = node(sibling, &old);
            new = node(sibling, &new);
            let up = if index & 1 == 1 { 0 } else { index.trailing_zeros() };
            index >>= up;
            last >>= up;
        } else {
            new = node(&new, sibling);
        }
        index >>= 1;
        last >>= 1;
    }
    last == 0 && old == *old_root && new == *new_root
}
