//! Conformance with Go's `golang.org/x/mod/sumdb/note` and `golang.org/x/mod/sumdb/tlog`.
//!
//! `tests/go/main.go` answers questions with these packages. It is compiled with the packages of Debian, and
//! nothing is downloaded: `scripts/install go`. Without Go, the tests are skipped and print a message. If
//! `TEST_GO` is `required`, as in the project's own checks, they fail instead.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed test must stop"
)]

mod go;

use std::collections::BTreeMap;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use go::Go;
use tempfile::TempDir;
use transparency::checkpoint::{Checkpoint, SignedCheckpoint};
use transparency::cosignature::CosigningKey;
use transparency::note::{Note, SigningKey, VerifierKey};
use transparency::tile::{Level, Tile, encode_entries};
use transparency::tree::{Frontier, Plan, verify_consistency, verify_inclusion};
use transparency::{Hash, MAX_SIZE};

const ORIGIN: &str = "example.org/log";

/// The files of a log, written as a mirror would write them, and its roots.
struct Log {
    dir: TempDir,
    entries: Vec<[u8; 32]>,
    files: BTreeMap<Tile, Vec<u8>>,
    roots: Vec<Hash>,
}

impl Log {
    /// Writes the tiles of the tree of `size` leaves, and of the smaller trees in `earlier`.
    fn new(size: u64, earlier: &[u64]) -> Self {
        let entries: Vec<_> = (0..size)
            .map(|index| Hash::leaf(&index.to_be_bytes()).0)
            .collect();
        let mut frontier = Frontier::default();
        let mut roots = vec![frontier.root()];
        for entry in &entries {
            frontier.push(Hash::leaf(entry));
            roots.push(frontier.root());
        }
        let mut files = BTreeMap::new();
        for size in earlier.iter().chain([&size]) {
            for tile in Tile::of_tree(*size).filter(|tile| tile.level() == Level::Entries) {
                let start = usize::try_from(tile.start()).unwrap();
                let bundle = &entries[start..start + usize::from(tile.width())];
                files.insert(tile, encode_entries(bundle).unwrap());
            }
            for tile in Tile::of_tree(*size) {
                let content = tile.build(&mut files).unwrap();
                files.insert(tile, content);
            }
        }
        let dir = TempDir::new().unwrap();
        for (tile, content) in &files {
            let path = dir.path().join(tile.to_string());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        Self {
            dir,
            entries,
            files,
            roots,
        }
    }

    fn root(&self, size: u64) -> Hash {
        self.roots[usize::try_from(size).unwrap()]
    }

    fn leaf(&self, index: u64) -> Hash {
        Hash::leaf(&self.entries[usize::try_from(index).unwrap()])
    }

    fn path(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }
}

fn log() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[7; 32]).unwrap()
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

fn words(hashes: &[Hash]) -> String {
    hashes.iter().map(Hash::to_string).collect::<Vec<_>>().join(" ")
}

fn flipped(hash: Hash, bit: usize) -> Hash {
    let mut hash = hash;
    hash.0[bit / 8] ^= 1 << (bit % 8);
    hash
}

/// Whether two notes differ only in the unused bits of the last character of base64. Go ignores these bits,
/// and this crate rejects a note in which they are set.
fn only_unused_bits_differ(text: &str, other: &[u8]) -> bool {
    let decode = |line: &str| {
        let engine = base64::engine::GeneralPurpose::new(
            &base64::alphabet::STANDARD,
            base64::engine::GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
        );
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let last = words.last().and_then(|word| engine.decode(word).ok());
        last.map(|bytes| (words[..words.len() - 1].to_vec(), bytes))
    };
    let last = |text: &str| text.lines().last().and_then(decode);
    std::str::from_utf8(other).is_ok_and(|other| last(text).is_some() && last(text) == last(other))
}

#[test]
fn go_opens_our_checkpoint_and_no_changed_one() {
    let Some(mut go) = Go::start() else { return };
    let key = log();
    let checkpoint = Checkpoint::new(ORIGIN, 300, Hash::leaf(b"root")).unwrap();
    let signed = SignedCheckpoint::sign(checkpoint.clone(), &key)
        .unwrap()
        .to_string();
    let vkey = key.verifier().to_string();
    let mut open = |note: &[u8]| go.ask(&["open", &vkey, &base64(note)]);
    assert_eq!(open(signed.as_bytes()), Ok(base64(checkpoint.to_string())));
    let mut refused = 0;
    for bit in 0..signed.len() * 8 {
        let mut altered = signed.clone().into_bytes();
        altered[bit / 8] ^= 1 << (bit % 8);
        let result = open(&altered);
        assert!(
            result.is_err() || only_unused_bits_differ(&signed, &altered),
            "bit {bit}"
        );
        refused += usize::from(result.is_err());
    }
    assert!(refused >= signed.len() * 8 - 6, "{refused}");
}

#[test]
fn go_opens_our_cosignature_and_no_changed_one() {
    let Some(mut go) = Go::start() else { return };
    let witness = CosigningKey::from(SigningKey::from_seed("witness.example", &[8; 32]).unwrap());
    let head = Checkpoint::new(ORIGIN, 300, Hash::leaf(b"root")).unwrap();
    let mut signed = SignedCheckpoint::sign(head.clone(), &log()).unwrap();
    signed.retain(&[]);
    signed.add(witness.sign(&head, 1_790_000_000).unwrap()).unwrap();
    let (signed, key) = (signed.to_string(), base64(witness.verifier().public_key()));
    let mut open = |note: &[u8]| go.ask(&["cosigned", "witness.example", &key, &base64(note)]);
    assert_eq!(open(signed.as_bytes()), Ok(base64(head.to_string())));
    for bit in 0..signed.len() * 8 {
        let mut altered = signed.clone().into_bytes();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(
            open(&altered).is_err() || only_unused_bits_differ(&signed, &altered),
            "bit {bit}"
        );
    }
}

#[test]
fn notes_and_keys_of_go_are_read_and_the_reverse() {
    let Some(mut go) = Go::start() else { return };
    let text = "a text\n\nwith an empty line — and more\n";
    for name in ["example.org/log", "näme", "a"] {
        let keys = go.ask(&["generate", name]).unwrap();
        let (skey, vkey) = keys.split_once(' ').unwrap();
        let (signing, verifying) = (
            SigningKey::parse(skey).unwrap(),
            vkey.parse::<VerifierKey>().unwrap(),
        );
        assert_eq!(signing.verifier(), &verifying);
        assert_eq!(
            (signing.to_text().as_str(), verifying.to_string().as_str()),
            (skey, vkey)
        );
        let of_go = STANDARD
            .decode(go.ask(&["sign", skey, &base64(text)]).unwrap())
            .unwrap();
        let note = Note::parse(&of_go).unwrap();
        assert_eq!(note.text(), text);
        assert!(note.verify([&verifying]).is_ok());
        // Ed25519 is deterministic, so both make the same note.
        let mut ours = Note::new(text).unwrap();
        ours.sign(&signing).unwrap();
        assert_eq!(ours.to_string().as_bytes(), of_go);
    }
}

#[test]
fn go_proves_from_our_tiles_and_checks_our_proofs() {
    let Some(mut go) = Go::start() else { return };
    let sizes = [1, 2, 3, 5, 255, 256, 257, 300, 511, 512, 513, 700];
    let mut log = Log::new(700, &sizes);
    for size in sizes {
        let root = log.root(size).to_string();
        let (dir, n) = (log.path().to_owned(), size.to_string());
        for number in [0, 1, 2, 4, 127, 128, 254, 255, 256, 257, 299, 511, 512, 699] {
            if number >= size {
                continue;
            }
            let (index, leaf) = (number.to_string(), log.leaf(number));
            let ours = Plan::inclusion(number, size)
                .unwrap()
                .hashes(&mut log.files)
                .unwrap();
            let of_go = go.ask(&["prove-record", &dir, &index, &n, &root]);
            assert_eq!(of_go, Ok(words(&ours)), "{number} of {size}");
            assert_eq!(
                verify_inclusion(&ours, number, &leaf, size, &log.root(size)),
                Ok(())
            );
            let check = go.ask(&["record", &index, &leaf.to_string(), &n, &root, &words(&ours)]);
            assert_eq!(check, Ok(String::new()), "{number} of {size}");
            if number == 0 {
                continue;
            }
            let old_root = log.root(number);
            let ours = Plan::consistency(number, size)
                .unwrap()
                .hashes(&mut log.files)
                .unwrap();
            let of_go = go.ask(&["prove-tree", &dir, &index, &n, &root]);
            assert_eq!(of_go, Ok(words(&ours)), "{number} to {size}");
            assert_eq!(
                verify_consistency(&ours, number, &old_root, size, &log.root(size)),
                Ok(())
            );
            let check = go.ask(&["tree", &index, &old_root.to_string(), &n, &root, &words(&ours)]);
            assert_eq!(check, Ok(String::new()), "{number} to {size}");
        }
    }
}

#[test]
fn go_refuses_each_changed_bit_of_our_proofs() {
    let Some(mut go) = Go::start() else { return };
    let mut log = Log::new(300, &[]);
    let (number, size) = (77, 300);
    let (leaf, root, old_root) = (log.leaf(number), log.root(size), log.root(number));
    let inclusion = Plan::inclusion(number, size)
        .unwrap()
        .hashes(&mut log.files)
        .unwrap();
    let consistency = Plan::consistency(number, size)
        .unwrap()
        .hashes(&mut log.files)
        .unwrap();
    let (index, n) = (number.to_string(), size.to_string());
    for (command, first, proof) in [("record", leaf, inclusion), ("tree", old_root, consistency)] {
        let mut ask = |first: Hash, root: Hash, proof: &[Hash]| {
            go.ask(&[
                command,
                &index,
                &first.to_string(),
                &n,
                &root.to_string(),
                &words(proof),
            ])
        };
        assert_eq!(ask(first, root, &proof), Ok(String::new()));
        for bit in 0..256 {
            assert!(ask(flipped(first, bit), root, &proof).is_err());
            assert!(ask(first, flipped(root, bit), &proof).is_err());
            for at in 0..proof.len() {
                let mut altered = proof.clone();
                altered[at] = flipped(altered[at], bit);
                assert!(ask(first, root, &altered).is_err());
            }
        }
        assert!(ask(first, root, &proof[1..]).is_err());
    }
}

#[test]
fn go_reads_our_tiles_and_no_changed_tile() {
    let Some(mut go) = Go::start() else { return };
    // This size has one perfect subtree per level. Where a tile contains several of them, Go's package
    // (version 0.7.0) does not authenticate all tiles, because it counts subtrees instead of tiles.
    let log = Log::new(65_793, &[]);
    let (dir, root) = (log.path().to_owned(), log.root(65_793).to_string());
    let leaves: Vec<_> = (0..65_793).map(|index| log.leaf(index)).collect();
    assert!(
        go.ask(&["hash", &dir, "65793", &root]) == Ok(words(&leaves)),
        "all leaf hashes are read"
    );
    let hashes: Vec<_> = log
        .files
        .keys()
        .filter(|tile| tile.level() != Level::Entries)
        .collect();
    assert_eq!(hashes.len(), 258 + 2 + 1);
    for tile in hashes.iter().step_by(50).chain(hashes.iter().rev().take(4)) {
        let path = log.dir.path().join(tile.to_string());
        let content = &log.files[*tile];
        for bit in [0, content.len() * 4 + 3, content.len() * 8 - 1] {
            let mut altered = content.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, altered).unwrap();
            assert!(
                go.ask(&["hash", &dir, "65793", &root]).is_err(),
                "bit {bit} of {tile}"
            );
        }
        fs::write(&path, content).unwrap();
    }
    assert!(go.ask(&["hash", &dir, "65793", &root]).is_ok());
    let other = log.root(65_792).to_string();
    assert!(go.ask(&["hash", &dir, "65793", &other]).is_err());
}

#[test]
fn go_names_tiles_as_we_do() {
    let Some(mut go) = Go::start() else { return };
    for level in [0, 1, 7, 63] {
        for index in [
            0,
            1,
            999,
            1000,
            1001,
            999_999,
            1_000_000,
            1_234_067,
            123_456_789_012,
            MAX_SIZE / 256,
        ] {
            for width in [1, 99, 255, 256] {
                let tile = Tile::new(Level::Hashes(level), index, width).unwrap();
                let numbers = [level.to_string(), index.to_string(), width.to_string()];
                let path = go.ask(&["path", &numbers[0], &numbers[1], &numbers[2]]);
                assert_eq!(path, Ok(tile.to_string()));
            }
        }
    }
}
