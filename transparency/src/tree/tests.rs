mod log;

use std::collections::BTreeMap;

use proptest::prelude::*;

use log::{Log, mth, path, subproof};

use super::*;
use crate::tile::{ContentError, Level, Missing, Tile, TileReader, encode_hashes};

/// Leaves from Certificate Transparency's own tests (`merkletree/merkle_tree_test.cc` of
/// google/certificate-transparency), followed by the roots of the trees over the first 1, 2, … of these
/// leaves.
const LEAVES: [&[u8]; 8] = [
    &[],
    &[0x00],
    &[0x10],
    &[0x20, 0x21],
    &[0x30, 0x31],
    &[0x40, 0x41, 0x42, 0x43],
    &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
    &[
        0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f,
    ],
];
const ROOTS: [&str; 8] = [
    "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=",
    "+sVCA+fMaWzw38tCySodnbr3CtnmIfS9jZhmLwDjwSU=",
    "rra8/idLcKFPsGel5VeCZNsPqbUa9eC6FZFY8yngbnc=",
    "037kGJdt2VdTwcc4Yrk5j6Kiz5tP8P3+izDNlSCWFLc=",
    "Tju7H3tHjc/nH7YxYxUZo7yhLJrvyhYSv85ME6hiZNQ=",
    "duZ9rbzfHhDht03cYIq9L5jfsW+851J3tSMqEn8gh+8=",
    "3bib5AOAnjJXUNPSY814kpwpQreUKjS3fhIslZSnTIw=",
    "XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=",
];

#[test]
fn roots_are_those_of_certificate_transparency() {
    let mut frontier = Frontier::default();
    assert_eq!(frontier.root(), Hash::EMPTY_ROOT);
    assert_eq!(Hash::EMPTY_ROOT, Hash::digest(&[]));
    for (leaf, root) in LEAVES.iter().zip(ROOTS) {
        frontier.push(Hash::leaf(leaf));
        assert_eq!(frontier.root().to_string(), root);
    }
}

#[test]
fn every_proof_of_every_small_tree_is_the_proof_of_the_definition() {
    let mut log = Log::new(40);
    for size in 0..=40 {
        let leaves = log.leaves[..size].to_vec();
        let size = size as u64;
        assert_eq!(*log.root(size), mth(&leaves));
        for index in 0..size {
            let proof = log.check_inclusion(index, size);
            assert_eq!(
                proof,
                path(usize::try_from(index).unwrap(), &leaves),
                "{index} of {size}"
            );
        }
        assert_eq!(log.check_consistency(0, size), []);
        for old in 1..=size {
            let proof = log.check_consistency(old, size);
            assert_eq!(
                proof,
                subproof(usize::try_from(old).unwrap(), &leaves, true),
                "{old} to {size}"
            );
        }
    }
}

#[test]
fn every_size_up_to_300_has_the_root_of_the_definition_and_valid_proofs() {
    let mut log = Log::new(300);
    for size in 1..=300_u64 {
        assert_eq!(
            *log.root(size),
            mth(&log.leaves[..usize::try_from(size).unwrap()])
        );
        // All indexes and old sizes near the edges of tiles, and every 19th of the others.
        for number in (0..size).filter(|n| n % 19 == size % 19 || n.abs_diff(256) < 2 || size - n < 3) {
            log.check_inclusion(number, size);
            log.check_consistency(number, size);
        }
    }
}

#[test]
fn proofs_around_the_edges_of_tiles_are_the_proofs_of_the_definition() {
    let mut log = Log::new(513);
    for size in [255, 256, 257, 300, 511, 512, 513] {
        let leaves = log.leaves[..size].to_vec();
        for number in [1, 2, 127, 128, 254, 255, 256, 257, 299, 510, 511]
            .into_iter()
            .filter(|n| *n < size)
        {
            assert_eq!(
                log.check_inclusion(number as u64, size as u64),
                path(number, &leaves)
            );
            assert_eq!(
                log.check_consistency(number as u64, size as u64),
                subproof(number, &leaves, true)
            );
        }
    }
}

#[test]
fn proofs_around_the_edge_of_the_second_level_are_valid() {
    let mut log = Log::new(65_537 + 256);
    assert_eq!(
        log.levels.iter().map(Vec::len).collect::<Vec<_>>(),
        [65_793, 257, 1]
    );
    let numbers = [
        1, 255, 256, 257, 32_767, 32_768, 40_000, 65_279, 65_280, 65_535, 65_536, 65_537, 65_791,
    ];
    for size in [65_535, 65_536, 65_537, 65_792, 65_793] {
        for number in numbers.into_iter().filter(|number| *number < size) {
            log.check_inclusion(number, size);
            log.check_consistency(number, size);
        }
    }
    for size in [65_535_u64, 65_536, 65_537] {
        assert_eq!(
            *log.root(size),
            mth(&log.leaves[..usize::try_from(size).unwrap()])
        );
    }
}

#[test]
fn a_frontier_is_restored_from_tiles_and_grows_on() {
    let mut log = Log::new(600);
    for size in [0, 1, 2, 3, 255, 256, 257, 300, 511, 512, 599] {
        let hashes = Plan::frontier(size).unwrap().hashes(&mut log).unwrap();
        assert!(hashes.len() <= 10);
        let mut frontier = Frontier::from_hashes(size, hashes).unwrap();
        assert_eq!(frontier.root(), *log.root(size));
        frontier.push(*log.leaf(size));
        assert_eq!(frontier.root(), *log.root(size + 1));
    }
    assert_eq!(Frontier::from_hashes(3, vec![Hash::EMPTY_ROOT]), None);
    assert_eq!(Frontier::from_hashes(0, vec![Hash::EMPTY_ROOT]), None);
    assert_eq!(Frontier::from_hashes(MAX_SIZE + 1, vec![Hash::EMPTY_ROOT]), None);
    let mut largest = Frontier::from_hashes(MAX_SIZE, vec![Hash::EMPTY_ROOT; 63]).unwrap();
    largest.push(Hash::EMPTY_ROOT);
    assert_eq!(largest.hashes().len(), 1);
}

#[test]
fn a_proof_reads_few_tiles_and_no_other() {
    let plan = Plan::inclusion(70_000, 20_000_000).unwrap();
    assert!(plan.tiles().len() <= 7, "{:?}", plan.tiles());
    let mut log = Log::new(300);
    let plan = Plan::consistency(257, 300).unwrap();
    let mut tiles: BTreeMap<_, _> = plan
        .tiles()
        .into_iter()
        .map(|tile| (tile, log.read(&tile).unwrap()))
        .collect();
    let proof = plan.hashes(&mut tiles).unwrap();
    assert_eq!(proof, log.check_consistency(257, 300));
    let (tile, mut content) = tiles.pop_first().unwrap();
    assert_eq!(plan.hashes(&mut tiles), Err(ContentError::Read(Missing(tile))));
    content.pop();
    tiles.insert(tile, content);
    assert_eq!(plan.hashes(&mut tiles), Err(ContentError::Malformed(tile)));
}

#[test]
fn a_wider_tile_gives_the_same_proof() {
    struct Wider(Log);
    impl TileReader for Wider {
        type Error = Missing;

        fn read(&mut self, tile: &Tile) -> Result<Vec<u8>, Missing> {
            self.0.read(&tile.full()).or_else(|_| self.0.read(tile))
        }
    }
    let mut log = Log::new(600);
    let proof = log.check_inclusion(257, 300);
    let plan = Plan::inclusion(257, 300).unwrap();
    assert_eq!(plan.hashes(&mut Wider(log)).unwrap(), proof);
}

#[test]
fn plans_of_impossible_proofs_do_not_exist() {
    assert!(Plan::inclusion(0, 0).is_none());
    assert!(Plan::inclusion(5, 5).is_none());
    assert!(Plan::inclusion(0, MAX_SIZE + 1).is_none());
    assert!(Plan::consistency(6, 5).is_none());
    assert!(Plan::consistency(0, u64::MAX).is_none());
    assert!(Plan::frontier(MAX_SIZE + 1).is_none());
    for plan in [
        Plan::inclusion(MAX_SIZE - 1, MAX_SIZE),
        Plan::inclusion(0, MAX_SIZE),
        Plan::consistency(MAX_SIZE / 3, MAX_SIZE),
        Plan::frontier(MAX_SIZE),
    ] {
        let tiles = plan.unwrap().tiles();
        assert!((1..=16).contains(&tiles.len()));
        assert!(tiles.iter().all(|tile| tile.exists_in(MAX_SIZE)));
    }
}

#[test]
fn each_changed_bit_of_a_proof_and_every_other_claim_is_rejected() {
    let mut log = Log::new(300);
    for (number, size) in [
        (0, 300),
        (77, 257),
        (255, 256),
        (256, 300),
        (299, 300),
        (128, 256),
    ] {
        let (leaf, root, old_root) = (*log.leaf(number), *log.root(size), *log.root(number));
        let inclusion = log.check_inclusion(number, size);
        let consistency = log.check_consistency(number, size);
        let includes = |proof: &[Hash], index, leaf, size, root| {
            verify_inclusion(proof, index, &leaf, size, &root).is_ok()
        };
        let extends = |proof: &[Hash], old, old_root, size, root| {
            verify_consistency(proof, old, &old_root, size, &root).is_ok()
        };
        let flip = |hash: Hash, bit: usize| {
            let mut hash = hash;
            hash.0[bit / 8] ^= 1 << (bit % 8);
            hash
        };
        for bit in 0..256 {
            assert!(!includes(&inclusion, number, flip(leaf, bit), size, root));
            assert!(!includes(&inclusion, number, leaf, size, flip(root, bit)));
            assert!(!extends(&consistency, number, flip(old_root, bit), size, root));
            assert!(!extends(&consistency, number, old_root, size, flip(root, bit)));
            for at in 0..inclusion.len() {
                let mut altered = inclusion.clone();
                altered[at] = flip(altered[at], bit);
                assert!(!includes(&altered, number, leaf, size, root));
            }
            for at in 0..consistency.len() {
                let mut altered = consistency.clone();
                altered[at] = flip(altered[at], bit);
                assert!(!extends(&altered, number, old_root, size, root));
            }
        }
        // The size of the tree is bound only by its root, so only the index and the old size are varied.
        for other in (0..310).filter(|other| *other != number) {
            assert!(
                !includes(&inclusion, other, leaf, size, root),
                "{number} as {other} of {size}"
            );
        }
        let longer = |proof: &[Hash]| [proof, &[leaf]].concat();
        let shorter = |proof: &[Hash]| proof[1..].to_vec();
        for altered in [longer(&inclusion), shorter(&inclusion)] {
            assert!(!includes(&altered, number, leaf, size, root));
        }
        if number > 0 {
            for altered in [longer(&consistency), shorter(&consistency)] {
                assert!(!extends(&altered, number, old_root, size, root));
            }
        }
    }
}

#[test]
fn a_tree_extends_itself_without_a_proof_only() {
    let log = Log::new(9);
    for size in 1..=9 {
        let (root, other) = (log.root(size), log.root(size - 1));
        assert_eq!(verify_consistency(&[], size, root, size, root), Ok(()));
        assert_eq!(
            verify_consistency(&[], size, other, size, root),
            Err(ProofError::Root)
        );
        assert_eq!(
            verify_consistency(&[*root], size, root, size, root),
            Err(ProofError::Length)
        );
    }
}

#[test]
fn the_proof_of_a_rewritten_log_does_not_extend_the_old_root() {
    let old = Log::new(200);
    let mut rewritten = Log::new(300);
    let mut frontier = Frontier::default();
    rewritten.leaves[100] = Hash::leaf(b"rewritten");
    rewritten.levels[0][100] = rewritten.leaves[100];
    frontier.extend(rewritten.leaves.iter().copied());
    let proof = Plan::consistency(200, 300)
        .unwrap()
        .hashes(&mut rewritten)
        .unwrap();
    let result = verify_consistency(&proof, 200, old.root(200), 300, &frontier.root());
    assert_eq!(result, Err(ProofError::Root));
}

proptest! {
    #[test]
    fn any_claim_is_answered(
        hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..70),
        numbers in any::<(u64, u64)>(),
    ) {
        let proof: Vec<Hash> = hashes.into_iter().map(Hash).collect();
        let (a, b) = (Hash::EMPTY_ROOT, Hash([1; 32]));
        prop_assert!(verify_inclusion(&proof, numbers.0, &a, numbers.1, &b).is_err());
        prop_assert!(verify_consistency(&proof, numbers.0, &a, numbers.1, &b).is_err());
        for plan in [
            Plan::inclusion(numbers.0, numbers.1),
            Plan::consistency(numbers.0, numbers.1),
            Plan::frontier(numbers.0),
        ] {
            let tiles = plan.map(|plan| plan.tiles()).unwrap_or_default();
            prop_assert!(tiles.len() <= 24);
        }
    }
}
