//! sigstore's `@sigstore/verify` checks the checkpoint and the proofs that the running program serves.
//!
//! npm uses this package to verify the provenance of packages with the transparency log Rekor. It checks the
//! signature of the checkpoint and the inclusion proof. Without the package, the test is skipped and prints a
//! message. If the variable `TEST_SIGSTORE` is `required`, the test fails instead.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{free_port, wait_until};
use transparency::note::VerifierKey;

use crate::published::{checkpoint, new_key, serve_with, text};
use crate::rig::SOON;
use crate::witness::Witness;

/// The version that `scripts/install` downloads.
const VERSION: &str = "3.1.1";

/// Returns the folder of the package, if it is installed.
fn installed() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let folder = cache
        .or_else(home)
        .map(|cache| cache.join(format!("patients/sigstore-verify-{VERSION}")));
    let folder = folder.filter(|folder| folder.join("node_modules/@sigstore/core/dist/index.js").exists());
    let required = std::env::var("TEST_SIGSTORE").is_ok_and(|value| value == "required");
    assert!(
        folder.is_some() || !required,
        "@sigstore/verify is required: run `scripts/install sigstore`"
    );
    if folder.is_none() {
        println!("skipped: @sigstore/verify is not installed; run `scripts/install sigstore`");
    }
    folder
}

/// Returns the size of the log that sigstore accepts for each case, or `None`.
fn accepted(folder: &Path, key: &VerifierKey, cases: &[Value]) -> Vec<Option<String>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/sigstore.js");
    let mut node = Command::new("node")
        .arg(script)
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (public, id) = (STANDARD.encode(key.public_key()), key.id().to_string());
    let question = json!({ "key": { "name": key.name(), "id": id, "public": public }, "cases": cases });
    let mut input = node.stdin.take().unwrap();
    input.write_all(question.to_string().as_bytes()).unwrap();
    drop(input);
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns the bytes of a hash with one bit changed, in Base64.
fn flipped(hash: &str, bit: usize) -> String {
    let mut bytes = STANDARD.decode(hash).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    STANDARD.encode(bytes)
}

#[tokio::test]
async fn sigstore_accepts_what_the_running_program_serves_and_nothing_with_a_changed_bit() {
    let Some(installed) = installed() else { return };
    let folder = TempDir::new().unwrap();
    let key = new_key(folder.path());
    let witness = Witness::start("w.example.org", &key).await;
    let address = witness.address();
    let (_program, client) = serve_with(folder.path(), free_port(), &[("WITNESSES", &address)]).await;
    for n in 0..7 {
        client.register_for_sure(&format!("p{n}@example.com")).await;
    }
    checkpoint(&client, 7).await;
    wait_until(SOON, "the witness has cosigned all events", async || {
        client.get("/log/proof/7").await.unwrap().status() == 200
    })
    .await;
    let events: Value = client.get("/events?limit=7").await.unwrap().json().await.unwrap();

    let (mut genuine, mut altered) = (Vec::new(), Vec::new());
    for position in 1..=7_usize {
        let proof = text(&client, &format!("/log/proof/{position}")).await;
        let (head, note) = proof.split_once("\n\n").unwrap();
        let path: Vec<_> = head.lines().skip(2).collect();
        let hash = events[position - 1]["hash"].as_str().unwrap();
        let byte = |at: usize| u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).unwrap();
        let entry = STANDARD.encode((0..32).map(byte).collect::<Vec<_>>());
        let case = |note: &[u8], index: usize, path: &[&str], entry: &str| {
            let note = STANDARD.encode(note);
            json!({ "note": note, "index": index.to_string(), "path": path, "entry": entry })
        };
        let (note, index) = (note.as_bytes(), position - 1);
        genuine.push(case(note, index, &path, &entry));
        altered.push(case(note, index, &path, &flipped(&entry, 8 * position)));
        altered.push(case(note, (index + 1) % 7, &path, &entry));
        for at in 0..path.len() {
            let changed = flipped(path[at], 100);
            let mut path = path.clone();
            path[at] = &changed;
            altered.push(case(note, index, &path, &entry));
        }
        if position == 1 {
            // The text and the line of the log. Like Go's package, this package ignores the lines of other
            // keys, and some bits at the end of Base64.
            let line = format!("— {} ", key.name());
            let text = std::str::from_utf8(note).unwrap();
            let start = text.find(&line).unwrap();
            let end = start + text[start..].find(['=', '\n']).unwrap();
            for at in (0..text.find("\n\n").unwrap()).chain(start..end) {
                let mut changed = note.to_vec();
                changed[at] ^= 0x20;
                altered.push(case(&changed, index, &path, &entry));
            }
        }
    }
    let sizes = accepted(&installed, &key, &genuine);
    assert_eq!(sizes, vec![Some("7".to_owned()); 7]);
    for (answer, case) in accepted(&installed, &key, &altered).iter().zip(&altered) {
        assert_eq!(*answer, None, "{case}");
    }
    let other = transparency::note::SigningKey::from_seed(key.name(), &[9; 32]).unwrap();
    assert_eq!(accepted(&installed, other.verifier(), &genuine), vec![None; 7]);
}
