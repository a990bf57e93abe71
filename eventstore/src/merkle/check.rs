//! What somebody computes who has a proof and not the log.

use super::node;
use crate::event::Hash;

/// Whether `path` proves that the tree of `size` leaves with `root` has `leaf` at `index`: RFC 9162, section
/// 2.1.3.2.
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
            // Where the right edge has no sibling, its subtree stands for itself some levels up.
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

/// Whether `path` proves that the tree of `new_size` leaves with `new_root` goes on from the tree of
/// `old_size` leaves with `old_root`: RFC 9162, section 2.1.4.2. Every tree goes on from itself, with an
/// empty path. From the empty tree every tree goes on, so that nothing would be proved: it is refused.
#[must_use]
pub fn is_consistent(old_root: &Hash, old_size: u64, new_root: &Hash, new_size: u64, path: &[Hash]) -> bool {
    if old_size == 0 || old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return path.is_empty() && old_root == new_root;
    }
    // An old tree that is full is itself the first subtree, and is not repeated in the path.
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
