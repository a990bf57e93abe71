//! Go's `golang.org/x/mod/sumdb/note` and `golang.org/x/mod/sumdb/tlog` check what the running program
//! serves.
//!
//! The test passes the files to Go as the program serves them. It takes the paths and the parts of a proof
//! from the specifications, not from the crate `transparency`. Without Go, the test is skipped and prints a
//! message (`transparency/tests/go`).

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use testkit::{free_port, wait_until};

use crate::client::Client;
use crate::go::Go;
use crate::published::{checkpoint, new_key, serve_with, text};
use crate::rig::SOON;
use crate::witness::Witness;

/// Number of events: a full tile, and a partial tile. This size has one perfect subtree per level. Where a
/// tile contains several of them, Go's package (version 0.7.0) does not authenticate all tiles.
const SIZE: u64 = 257;
/// The tiles of a tree with [`SIZE`] leaves.
const TILES: [&str; 3] = ["tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"];
const BUNDLES: [&str; 2] = ["tile/entries/000", "tile/entries/001.p/1"];

fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// Returns the text with one bit of a byte changed: the bit that distinguishes upper and lower case. Go
/// ignores the unused bits at the end of base64, which this bit never changes alone.
fn altered(text: &str, at: usize) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] ^= 0x20;
    bytes
}

/// Returns the hash with one bit changed.
fn flipped(hash: &str, bit: usize) -> String {
    let mut bytes = STANDARD.decode(hash).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    base64(bytes)
}

async fn bytes(client: &Client, path: &str) -> Vec<u8> {
    let answer = client.get(path).await.unwrap().error_for_status().unwrap();
    answer.bytes().await.unwrap().to_vec()
}

/// Registers patients until the log has `size` events.
async fn register(client: &Client, from: u64, size: u64) {
    for chunk in (from..size).collect::<Vec<_>>().chunks(32) {
        let registered = chunk.iter().map(|n| {
            let client = client.clone();
            async move { client.register_for_sure(&format!("p{n}@example.com")).await }
        });
        join_all(registered).await;
    }
}

/// Returns the hashes of all events, from the feed.
async fn event_hashes(client: &Client) -> Vec<Vec<u8>> {
    let mut hashes = Vec::new();
    while hashes.len() < usize::try_from(SIZE).unwrap() {
        let page = text(client, &format!("/events?limit=100&after={}", hashes.len())).await;
        let page: Vec<Value> = serde_json::from_str(&page).unwrap();
        assert!(!page.is_empty());
        hashes.extend(page.iter().map(|event| {
            let hash = event["hash"].as_str().unwrap();
            let byte = |at: usize| u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).unwrap();
            (0..32).map(byte).collect()
        }));
    }
    hashes
}

/// Opens a signed checkpoint in Go. Returns its size and its root.
fn opened(go: &mut Go, vkey: &str, note: &str) -> (String, String) {
    let text = go.ask(&["open", vkey, &base64(note)]).unwrap();
    let text = String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(vkey.starts_with(&format!("{}+", lines[0])));
    (lines[1].to_owned(), lines[2].to_owned())
}

#[tokio::test]
async fn go_accepts_what_the_running_program_serves_and_nothing_with_a_changed_bit() {
    let Some(mut go) = Go::start() else { return };
    let folder = TempDir::new().unwrap();
    let key = new_key(folder.path());
    let witness = Witness::start("w.example.org", &key).await;
    let (address, vkey) = (witness.address(), key.to_string());
    let (_program, client) = serve_with(folder.path(), free_port(), &[("WITNESSES", &address)]).await;
    register(&client, 0, 5).await;
    let earlier = checkpoint(&client, 5).await.checkpoint().size();
    register(&client, 5, SIZE).await;
    let last = format!("/log/proof/{SIZE}");
    wait_until(SOON, "the witness has cosigned all events", async || {
        client.get(&last).await.unwrap().status() == 200
    })
    .await;

    // The checkpoint, its cosignature, and the checkpoint in a proof.
    let newest = text(&client, "/log/checkpoint").await;
    let (size, root) = opened(&mut go, &vkey, &newest);
    assert_eq!(size, SIZE.to_string());
    let (witness_name, witness_key) = (witness.key().name(), base64(witness.key().public_key()));
    let mut cosigned = |note: &[u8]| go.ask(&["cosigned", witness_name, &witness_key, &base64(note)]);
    cosigned(newest.as_bytes()).unwrap();
    // Each changed bit of the text or of the own line is refused; Go ignores the lines of other keys.
    let of_text = 0..newest.find("\n\n").unwrap();
    let line_of = |name: &str| {
        let start = newest.find(&format!("— {name} ")).unwrap();
        start..start + newest[start..].find('\n').unwrap()
    };
    for at in of_text.clone().chain(line_of(witness_name)) {
        cosigned(&altered(&newest, at)).unwrap_err();
    }
    for at in of_text.chain(line_of(key.name())) {
        let note = base64(altered(&newest, at));
        go.ask(&["open", &vkey, &note]).unwrap_err();
    }
    let old = text(&client, &format!("/log/checkpoints/{earlier}")).await;
    let (old_size, old_root) = opened(&mut go, &vkey, &old);

    // The tiles.
    let mirror = TempDir::new().unwrap();
    let dir = mirror.path().to_str().unwrap();
    for tile in TILES {
        let path = mirror.path().join(tile);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes(&client, &format!("/log/{tile}")).await).unwrap();
    }
    let hashes = event_hashes(&client).await;
    let mut entries = Vec::new();
    for bundle in BUNDLES {
        entries.extend(bytes(&client, &format!("/log/{bundle}")).await);
    }
    let with_length = hashes.iter().flat_map(|hash| [&[0, 32], &hash[..]].concat());
    assert_eq!(entries, with_length.collect::<Vec<_>>());
    let leaf = |hash: &Vec<u8>| base64(Sha256::digest([&[0], &hash[..]].concat()));
    let leaves: Vec<_> = hashes.iter().map(leaf).collect();
    let read = go.ask(&["hash", dir, &size, &root]);
    assert_eq!(read, Ok(leaves.join(" ")));
    let extends = go.ask(&["prove-tree", dir, &old_size, &size, &root]).unwrap();
    let mut is_extension = |old_root: &str, root: &str, proof: &str| {
        let question = ["tree", &old_size, old_root, &size, root, proof];
        go.ask(&question)
    };
    is_extension(&old_root, &root, &extends).unwrap();
    for bit in [0, 100, 255] {
        is_extension(&flipped(&old_root, bit), &root, &extends).unwrap_err();
        is_extension(&old_root, &flipped(&root, bit), &extends).unwrap_err();
    }

    // The proofs, as served.
    for position in [1, 100, 256, SIZE] {
        let proof = text(&client, &format!("/log/proof/{position}")).await;
        let (head, note) = proof.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
        let index = (position - 1).to_string();
        assert_eq!(lines.next(), Some(format!("index {index}").as_str()));
        let path: Vec<_> = lines.collect();
        assert_eq!(opened(&mut go, &vkey, note), (size.clone(), root.clone()));
        let of_go = go.ask(&["prove-record", dir, &index, &size, &root]);
        assert_eq!(of_go, Ok(path.join(" ")));
        let leaf = &leaves[usize::try_from(position - 1).unwrap()];
        let mut is_proved =
            |leaf: &str, path: &[&str]| go.ask(&["record", &index, leaf, &size, &root, &path.join(" ")]);
        is_proved(leaf, &path).unwrap();
        is_proved(&flipped(leaf, 7), &path).unwrap_err();
        for at in 0..path.len() {
            let changed = flipped(path[at], 8 * at + 3);
            let mut path = path.clone();
            path[at] = &changed;
            is_proved(leaf, &path).unwrap_err();
        }
    }

    for tile in TILES {
        let path = mirror.path().join(tile);
        let content = fs::read(&path).unwrap();
        let mut changed = content.clone();
        changed[3] ^= 1;
        fs::write(&path, changed).unwrap();
        let proof = go.ask(&["prove-record", dir, "0", &size, &root]);
        let read = go.ask(&["hash", dir, &size, &root]);
        assert!(proof.is_err() || read.is_err(), "{tile}");
        fs::write(&path, content).unwrap();
    }
}
