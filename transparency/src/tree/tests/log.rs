//! A log in memory with its tiles, and the definitions of RFC 6962.

use super::*;

/// The tiles of a tree, written while it grows: each holds the hashes that [`Frontier::push_each`] reports.
pub(super) struct Log {
    pub(super) leaves: Vec<Hash>,
    /// Hashes of each level.
    pub(super) levels: Vec<Vec<Hash>>,
    /// Root of each size.
    pub(super) roots: Vec<Hash>,
}

impl Log {
    pub(super) fn new(size: u64) -> Self {
        let leaves: Vec<_> = (0..size).map(|n| Hash::leaf(&n.to_be_bytes())).collect();
        let mut frontier = Frontier::default();
        let (mut levels, mut roots) = (Vec::<Vec<Hash>>::new(), vec![frontier.root()]);
        for leaf in &leaves {
            frontier.push_each(*leaf, |level, index, hash| {
                levels.resize(levels.len().max(usize::from(level) + 1), Vec::new());
                let hashes = &mut levels[usize::from(level)];
                assert_eq!(hashes.len() as u64, index);
                hashes.push(hash);
            });
            roots.push(frontier.root());
        }
        Self {
            leaves,
            levels,
            roots,
        }
    }

    pub(super) fn root(&self, size: u64) -> &Hash {
        &self.roots[usize::try_from(size).unwrap()]
    }

    pub(super) fn leaf(&self, index: u64) -> &Hash {
        &self.leaves[usize::try_from(index).unwrap()]
    }

    pub(super) fn check_inclusion(&mut self, index: u64, size: u64) -> Vec<Hash> {
        let proof = Plan::inclusion(index, size).unwrap().hashes(self).unwrap();
        verify_inclusion(&proof, index, self.leaf(index), size, self.root(size)).unwrap();
        proof
    }

    pub(super) fn check_consistency(&mut self, old: u64, new: u64) -> Vec<Hash> {
        let proof = Plan::consistency(old, new).unwrap().hashes(self).unwrap();
        let verified = verify_consistency(&proof, old, self.root(old), new, self.root(new));
        assert_eq!(
            verified,
            if old == 0 { Err(ProofError::Sizes) } else { Ok(()) },
            "{old} to {new}"
        );
        proof
    }
}

/// Returns exactly the tile that is asked for, partial or full.
impl TileReader for Log {
    type Error = Missing;

    fn read(&mut self, tile: &Tile) -> Result<Vec<u8>, Missing> {
        let Level::Hashes(level) = tile.level() else {
            return Err(Missing(*tile));
        };
        let start = usize::try_from(tile.start()).unwrap();
        let hashes = self.levels.get(usize::from(level));
        let hashes = hashes.and_then(|hashes| hashes.get(start..start + usize::from(tile.width())));
        hashes.map(encode_hashes).ok_or(Missing(*tile))
    }
}

/// MTH of RFC 6962, section 2.1.
pub(super) fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY_ROOT,
        [leaf] => *leaf,
        leaves => {
            let (left, right) = halves(leaves);
            Hash::node(&mth(left), &mth(right))
        }
    }
}

fn halves(leaves: &[Hash]) -> (&[Hash], &[Hash]) {
    leaves.split_at(leaves.len().next_power_of_two() / 2)
}

/// PATH of RFC 6962, section 2.1.1.
pub(super) fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let (left, right) = halves(leaves);
    let (mut proof, sibling) = if index < left.len() {
        (path(index, left), right)
    } else {
        (path(index - left.len(), right), left)
    };
    proof.push(mth(sibling));
    proof
}

/// SUBPROOF of RFC 6962, section 2.1.2.
pub(super) fn subproof(old: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if known { Vec::new() } else { vec![mth(leaves)] };
    }
    let (left, right) = halves(leaves);
    let (mut proof, sibling) = if old <= left.len() {
        (subproof(old, left, known), right)
    } else {
        (subproof(old - left.len(), right, false), left)
    };
    proof.push(mth(sibling));
    proof
}
