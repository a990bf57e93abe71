use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::Hash;

fn tile(level: u8, index: u64, width: u16) -> Tile {
    Tile::new(Level::Hashes(level), index, width).unwrap()
}

fn entry(index: u64) -> [u8; 32] {
    Hash::leaf(&index.to_be_bytes()).0
}

/// The files of a log, built from its entries as a log would build them.
fn files(size: u64) -> BTreeMap<Tile, Vec<u8>> {
    let mut files = BTreeMap::new();
    for tile in Tile::of_tree(size).filter(|tile| tile.level() == Level::Entries) {
        let entries = (tile.start()..tile.start() + u64::from(tile.width())).map(entry);
        files.insert(tile, encode_entries(entries).unwrap());
    }
    for tile in Tile::of_tree(size) {
        let content = tile.build(&mut files).unwrap();
        files.insert(tile, content);
    }
    files
}

#[test]
fn paths_are_those_of_the_specification() {
    let entries = |index, width| Tile::new(Level::Entries, index, width).unwrap();
    let cases = [
        (tile(0, 0, 256), "tile/0/000"),
        (tile(0, 0, 1), "tile/0/000.p/1"),
        (tile(0, 273, 112), "tile/0/273.p/112"),
        (tile(1, 1000, 256), "tile/1/x001/000"),
        (tile(4, 1_234_067, 256), "tile/4/x001/x234/067"),
        (tile(4, 1_234_067, 8), "tile/4/x001/x234/067.p/8"),
        (tile(63, 999, 255), "tile/63/999.p/255"),
        (entries(1_234_067, 256), "tile/entries/x001/x234/067"),
        (entries(5, 44), "tile/entries/005.p/44"),
        (
            entries(MAX_SIZE / 256, 255),
            "tile/entries/x036/x028/x797/x018/x963/967.p/255",
        ),
    ];
    for (tile, path) in cases {
        assert_eq!(tile.to_string(), path);
        assert_eq!(path.parse(), Ok(tile));
    }
}

#[test]
fn other_paths_are_rejected() {
    let paths = [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile//000",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/x001",
        "tile/0/001/000",
        "tile/0/x000/000",
        "tile/0/x000/001",
        "tile/0/x001/x000",
        "tile/0/xx01/000",
        "tile/0/x+01/000",
        "tile/0/+01",
        "tile/0/-01",
        "tile/0/ 01",
        "tile/0/01a",
        "tile/00/000",
        "tile/01/000",
        "tile/+1/000",
        "tile/64/000",
        "tile/256/000",
        "tile/-1/000",
        "tile/data/000",
        "tile/Entries/000",
        "tile/8/0/000",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/+1",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/65537",
        "tile/0/000.p/1/",
        "tile/0/000.p/1.p/1",
        "tile/0/000/",
        "tile/0/000/../001",
        "tile/0/000\n",
        "tile/0/٠٠٠",
        "tile/0/x036/x028/x797/x018/x963/968",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/999",
    ];
    for path in paths {
        assert_eq!(path.parse::<Tile>(), Err(PathError), "{path}");
    }
}

#[test]
fn the_trees_of_the_specification_have_the_tiles_of_the_specification() {
    let of_level = |size, level| Tile::of_tree(size).filter(move |tile| tile.level() == level);
    let full = |size, level| {
        of_level(size, Level::Hashes(level))
            .filter(|tile| !tile.is_partial())
            .count()
    };
    let partial = |size, level| {
        of_level(size, Level::Hashes(level))
            .filter(Tile::is_partial)
            .map(|tile| tile.width())
            .collect::<Vec<_>>()
    };
    assert_eq!([0, 1, 2, 3].map(|level| full(70_000, level)), [273, 1, 0, 0]);
    assert_eq!(
        [0, 1, 2, 3].map(|level| partial(70_000, level)),
        [vec![112], vec![17], vec![1], vec![]]
    );
    assert_eq!([0, 1, 2].map(|level| full(256, level)), [1, 0, 0]);
    assert_eq!(
        [0, 1, 2].map(|level| partial(256, level)),
        [vec![], vec![1], vec![]]
    );
    assert_eq!(of_level(70_000, Level::Entries).count(), 274);
    assert_eq!(Tile::of_tree(0).count(), 0);
}

#[test]
fn a_growing_log_writes_exactly_the_tiles_that_it_did_not_have() {
    let all = |size| Tile::of_tree(size).collect::<BTreeSet<_>>();
    for old in (0..1100).chain(65_500..65_540) {
        for new in [old, old + 1, old + 200, old + 256, old + 257, old + 600] {
            let written: BTreeSet<_> = Tile::between(old, new).collect();
            assert_eq!(
                written,
                all(new).difference(&all(old)).copied().collect(),
                "{old} to {new}"
            );
        }
    }
    assert_eq!(Tile::between(7, 3).count(), 0);
}

#[test]
fn a_tile_exists_from_the_size_that_fills_it() {
    for tile in Tile::of_tree(70_000) {
        assert!(tile.exists_in(70_000) && tile.exists_in(MAX_SIZE), "{tile}");
        assert_eq!(Tile::at(tile.level(), tile.index(), 70_000), Some(tile));
        assert_eq!(tile.full().exists_in(70_000), !tile.is_partial());
    }
    assert!(tile(0, 0, 5).exists_in(5) && !tile(0, 0, 5).exists_in(4));
    assert!(tile(1, 0, 1).exists_in(256) && !tile(1, 0, 1).exists_in(255));
    assert!(!tile(8, 0, 1).exists_in(MAX_SIZE) && !tile(63, 0, 1).exists_in(u64::MAX));
    assert_eq!(Tile::at(Level::Hashes(0), 1, 256), None);
    assert_eq!(Tile::at(Level::Hashes(0), u64::MAX, u64::MAX), None);
    assert_eq!(Tile::new(Level::Hashes(64), 0, 1), None);
    assert_eq!(Tile::new(Level::Entries, 0, 0), None);
    assert_eq!(Tile::new(Level::Entries, 0, 257), None);
    assert_eq!(Tile::new(Level::Entries, MAX_SIZE / 256 + 1, 1), None);
}

#[test]
fn contents_are_the_hashes_of_the_definition() {
    let size = 70_000;
    let leaves: Vec<Hash> = (0..size).map(|index| Hash::leaf(&entry(index))).collect();
    let mut files = files(size);
    for tile in Tile::of_tree(size) {
        let content = files[&tile].clone();
        match tile.level() {
            Level::Hashes(level) => {
                let hashes = decode_hashes(&content).unwrap();
                assert_eq!(hashes.len(), usize::from(tile.width()));
                let span = 256_u64.pow(u32::from(level));
                for (index, hash) in (tile.start()..).zip(hashes) {
                    let first = usize::try_from(index * span).unwrap();
                    let last = usize::try_from((index + 1) * span).unwrap();
                    assert_eq!(hash, Hash::perfect_root(&leaves[first..last]), "{tile}");
                }
            }
            Level::Entries => {
                let entries = decode_entries(&content).unwrap();
                assert_eq!(entries.len(), usize::from(tile.width()));
                assert!(
                    (tile.start()..)
                        .zip(entries)
                        .all(|(index, found)| found == entry(index))
                );
                assert_eq!(content.len(), usize::from(tile.width()) * 34);
            }
        }
        assert_eq!(tile.build(&mut files).unwrap(), content, "{tile}");
    }
    // A partial tile of a smaller tree is built from the same files.
    let earlier = tile(1, 0, 9);
    assert_eq!(
        earlier.build(&mut files).unwrap(),
        files[&tile(1, 0, 256)][..9 * 32]
    );
}

#[test]
fn missing_and_malformed_sources_are_errors() {
    let mut files = files(600);
    let first = tile(1, 0, 2);
    assert_eq!(
        first.sources().collect::<Vec<_>>(),
        [tile(0, 0, 256), tile(0, 1, 256)]
    );
    let removed = files.remove(&tile(0, 1, 256)).unwrap();
    assert_eq!(
        first.build(&mut files),
        Err(ContentError::Read(Missing(tile(0, 1, 256))))
    );
    for content in [
        &removed[1..],
        &removed[32..],
        &[removed.as_slice(), &[0; 32]].concat(),
        &[],
    ] {
        files.insert(tile(0, 1, 256), content.to_vec());
        assert_eq!(
            first.build(&mut files),
            Err(ContentError::Malformed(tile(0, 1, 256)))
        );
    }
    let bundle = Tile::new(Level::Entries, 0, 256).unwrap();
    files.get_mut(&bundle).unwrap().pop();
    assert_eq!(
        tile(0, 0, 256).build(&mut files),
        Err(ContentError::Malformed(bundle))
    );
    let last = tile(1, MAX_SIZE / 256, 256);
    assert_eq!(last.build(&mut files), Err(ContentError::Malformed(last)));
}

#[test]
fn bundles_have_big_endian_lengths_and_at_most_256_entries() {
    let bundle = encode_entries([b"a".as_slice(), b"", &[7; 300]]).unwrap();
    assert_eq!(bundle[..7], [0, 1, b'a', 0, 0, 1, 44]);
    assert_eq!(
        decode_entries(&bundle).unwrap(),
        [b"a".as_slice(), b"", &[7; 300]]
    );
    assert_eq!(encode_entries([vec![0; 65_536]]), None);
    assert!(encode_entries([vec![0; 65_535]]).is_some());
    assert_eq!(encode_entries([b""; 257]), None);
    assert_eq!(decode_entries(&[0, 0].repeat(256)).unwrap().len(), 256);
    assert_eq!(decode_entries(&[0, 0].repeat(257)), None);
    for malformed in [&[][..], &[0], &[0, 1], &[0, 2, 7], &[0, 1, 7, 0]] {
        assert_eq!(decode_entries(malformed), None);
    }
    assert_eq!(decode_hashes(&[]), None);
    assert_eq!(decode_hashes(&[0; 33]), None);
    assert_eq!(decode_hashes(&[0; 257 * 32]), None);
    assert_eq!(decode_hashes(&[0; 256 * 32]).unwrap().len(), 256);
}

proptest! {
    #[test]
    fn every_tile_survives_its_path(level in 0..=64_u8, index in 0..=MAX_SIZE / 256, width in 1..=256_u16) {
        let level = if level == 64 { Level::Entries } else { Level::Hashes(level) };
        let tile = Tile::new(level, index, width).unwrap();
        prop_assert_eq!(tile.to_string().parse(), Ok(tile));
    }

    #[test]
    fn any_text_is_parsed_to_itself_or_rejected(path in "tile/(entries|[0-9]{1,3})(/x?[0-9]{2,4}){1,4}(\\.p/[0-9]{1,4})?", other in ".*") {
        for path in [path, format!("tile/{other}"), other] {
            if let Ok(tile) = path.parse::<Tile>() {
                prop_assert_eq!(tile.to_string(), path);
            }
        }
    }

    #[test]
    fn any_bundle_is_decoded_to_its_entries_or_rejected(bytes in proptest::collection::vec(0..4_u8, 0..600)) {
        if let Some(entries) = decode_entries(&bytes) {
            prop_assert_eq!(encode_entries(entries), Some(bytes));
        }
    }
}
