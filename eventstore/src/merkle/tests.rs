use proptest::prelude::*;

use super::*;

/// Leaves from Certificate Transparency's own tests (`merkletree/merkle_tree_test.cc` of
/// google/certificate-transparency), followed by the roots of the trees over the first 1, 2, … of these
/// leaves.
const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn known_leaves() -> Vec<Hash> {
    LEAVES.iter().map(|leaf| leaf_of(&bytes(leaf))).collect()
}

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|n| leaf_of(&n.to_be_bytes())).collect()
}

fn root(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.push(*leaf);
    }
    frontier.root()
}

fn gather(mut path: Path, leaves: &[Hash]) -> Vec<Hash> {
    (0..)
        .zip(leaves)
        .for_each(|(index, leaf)| path.push(index, *leaf));
    path.hashes()
}

/// The definition of the root in RFC 9162, section 2.1.1.
fn defined(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash(Sha256::digest([]).into()),
        [leaf] => *leaf,
        leaves => {
            let half = leaves.len().next_power_of_two() / 2;
            node(&defined(&leaves[..half]), &defined(&leaves[half..]))
        }
    }
}

#[test]
fn roots_are_those_of_certificate_transparency() {
    assert_eq!(
        root(&[]).to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    let leaves = known_leaves();
    for (size, expected) in (1..).zip(ROOTS) {
        assert_eq!(root(&leaves[..size]).to_string(), expected, "of {size} leaves");
    }
}

#[test]
fn paths_are_those_of_certificate_transparency() {
    let leaves = known_leaves();
    let inclusion = |index, size: usize| gather(Path::inclusion(index, size as u64), &leaves[..size]);
    let texts = |path: Vec<Hash>| path.iter().map(Hash::to_string).collect::<Vec<_>>();
    assert_eq!(inclusion(0, 1), []);
    assert_eq!(
        texts(inclusion(0, 8)),
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ]
    );
    assert_eq!(
        texts(inclusion(1, 5)),
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ]
    );
    let consistency = |old, new: usize| gather(Path::consistency(old, new as u64), &leaves[..new]);
    assert_eq!(consistency(1, 1), []);
    assert_eq!(
        texts(consistency(6, 8)),
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
}

#[test]
fn every_leaf_of_every_small_tree_is_proved_and_no_other_claim_is() {
    for size in 1..=40 {
        let leaves = leaves(size);
        let root = root(&leaves);
        assert_eq!(root, defined(&leaves));
        for index in 0..size {
            let path = gather(Path::inclusion(index, size), &leaves);
            let leaf = leaves[usize::try_from(index).unwrap()];
            assert!(includes(&root, size, index, &leaf, &path), "{index} of {size}");
            assert!(!includes(&root, size, index, &leaf_of(b"another"), &path));
            for other in (0..size + 2).filter(|other| *other != index) {
                assert!(
                    !includes(&root, size, other, &leaf, &path),
                    "{index} as {other} of {size}"
                );
            }
        }
    }
}

#[test]
fn every_small_tree_goes_on_from_every_smaller_one() {
    let leaves = leaves(40);
    let root_of = |size: u64| root(&leaves[..usize::try_from(size).unwrap()]);
    for new in 0..=40 {
        assert!(
            !is_consistent(&root_of(0), 0, &root_of(new), new, &[]),
            "0 to {new}"
        );
        for old in 1..=new {
            let path = gather(Path::consistency(old, new), &leaves);
            assert!(
                is_consistent(&root_of(old), old, &root_of(new), new, &path),
                "{old} to {new}"
            );
            let wrong = leaf_of(b"another");
            assert!(
                !is_consistent(&wrong, old, &root_of(new), new, &path),
                "{old} to {new}"
            );
            assert!(
                !is_consistent(&root_of(old), old, &wrong, new, &path),
                "{old} to {new}"
            );
            assert!(old == new || !is_consistent(&root_of(new), new, &root_of(old), old, &path));
        }
    }
}

proptest! {
    #[test]
    fn a_leaf_is_proved_with_few_hashes_and_by_no_altered_path(
        size in 1_u64..5000,
        at in any::<proptest::sample::Index>(),
        bit in any::<proptest::sample::Index>(),
    ) {
        let index = at.index(usize::try_from(size).unwrap()) as u64;
        let leaves = leaves(size);
        let root = root(&leaves);
        let leaf = leaves[usize::try_from(index).unwrap()];
        let path = gather(Path::inclusion(index, size), &leaves);
        prop_assert!(includes(&root, size, index, &leaf, &path));
        prop_assert!(path.len() <= size.next_power_of_two().ilog2() as usize);
        if !path.is_empty() {
            let bit = bit.index(path.len() * 256);
            let mut altered = path.clone();
            altered[bit / 256].0[bit % 256 / 8] ^= 1 << (bit % 8);
            prop_assert!(!includes(&root, size, index, &leaf, &altered));
            prop_assert!(!includes(&root, size, index, &leaf, &path[1..]));
        }
        let longer = [path, vec![leaf]].concat();
        prop_assert!(!includes(&root, size, index, &leaf, &longer));
    }

    #[test]
    fn a_log_that_was_written_anew_does_not_go_on_from_the_old_one(
        sizes in (1_u64..2000, 1_u64..2000),
        changed in any::<proptest::sample::Index>(),
        bit in any::<proptest::sample::Index>(),
    ) {
        let (old, new) = (sizes.0.min(sizes.1), sizes.0.max(sizes.1));
        let before = leaves(new);
        let old_root = root(&before[..usize::try_from(old).unwrap()]);
        let path = gather(Path::consistency(old, new), &before);
        prop_assert!(is_consistent(&old_root, old, &root(&before), new, &path));
        if !path.is_empty() {
            let bit = bit.index(path.len() * 256);
            let mut altered = path;
            altered[bit / 256].0[bit % 256 / 8] ^= 1 << (bit % 8);
            prop_assert!(!is_consistent(&old_root, old, &root(&before), new, &altered));
        }
        let mut anew = before;
        anew[changed.index(usize::try_from(old).unwrap())] = leaf_of(b"another");
        let path = gather(Path::consistency(old, new), &anew);
        prop_assert!(!is_consistent(&old_root, old, &root(&anew), new, &path));
    }

    #[test]
    fn any_claim_is_answered(
        hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..70),
        numbers in any::<(u64, u64)>(),
    ) {
        let path: Vec<Hash> = hashes.into_iter().map(Hash).collect();
        let hash = Hash::default();
        prop_assert!(!includes(&hash, numbers.0, numbers.1, &hash, &path));
        prop_assert!(!is_consistent(&hash, numbers.0, &Hash([1; 32]), numbers.1, &path));
    }
}
