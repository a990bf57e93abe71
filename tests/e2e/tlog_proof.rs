//! Proofs of the format tlog-proof, from the command and from the API, checked by the program and by
//! `docs/verify.py`; and mirrors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{free_port, wait_until};

use crate::client::{Client, id_of};
use crate::embedded::mails;
use crate::published::{checkpoint, new_key, publishing, serve_with, text};
use crate::rig::{SOON, patients};
use crate::settings::ended;
use crate::witness::Witness;

/// Checks a file with the program and with the script. Returns the exit code, which is the same.
pub(crate) fn checked(file: &Path, words: &[&str]) -> (i32, String) {
    let mut command = patients("audit");
    let (code, stdout, stderr) = ended(command.arg("check").arg(file).args(words));
    let mut script = Command::new("python3");
    script
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify.py"))
        .arg("proof")
        .arg(file)
        .args(words);
    let output = script.output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!said.contains("Traceback"), "{said}");
    let agrees = output.status.code() == Some(code) || code == 2 && output.status.code() == Some(1);
    assert!(agrees, "{code}: {stdout}{stderr}\n{:?}: {said}", output.status);
    (code, stdout + &stderr)
}

/// Returns the files below a folder, with their contents.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                // The lock of a mirror is not part of the log.
                if name != Path::new(".lock") {
                    all.insert(name, std::fs::read(&path).unwrap());
                }
            }
        }
    }
    all
}

#[tokio::test]
async fn a_tlog_proof_is_checked_with_keys_alone_and_each_changed_bit_is_noticed() {
    let folder = TempDir::new().unwrap();
    let key = new_key(folder.path());
    let witness = Witness::start("w.example.org", &key).await;
    let (address, port) = (witness.address(), free_port());
    let settings = [
        ("WITNESSES", address.as_str()),
        ("MAIL_RECEIPT", "on"),
        ("PUBLIC_URL", "https://api.example.com"),
    ];
    let (_program, client) = serve_with(folder.path(), port, &settings).await;
    let created: Value = client.register_for_sure("p0@example.com").await;
    for n in 1..5 {
        client.register_for_sure(&format!("p{n}@example.com")).await;
    }
    checkpoint(&client, 5).await;
    wait_until(SOON, "the proof covers all events", async || {
        let answer = client.get("/log/proof/5").await.unwrap();
        answer.status() == 200
    })
    .await;

    let file = folder.path().join("event.tlog-proof");
    let prove = |words: &str| {
        let mut command = publishing(folder.path(), &format!("audit prove {words} --format tlog-proof"));
        ended(command.arg("--output").arg(&file))
    };
    let (code, stdout, stderr) = prove("1");
    assert!(
        code == 0 && stdout.contains("event 1 (PatientRegistered of patient "),
        "{stdout}{stderr}"
    );
    assert_eq!(prove("6").0, 1, "the log ends at 5");
    assert_eq!(prove("1 --from 1").0, 1);
    let (vkey, wkey) = (key.to_string(), witness.key().to_string());
    let trusted = ["--key", &vkey, "--witness", &wkey];
    let (code, output) = checked(&file, &trusted);
    assert!(
        code == 0 && output.contains("cosigned by w.example.org at 20"),
        "{output}"
    );
    assert_eq!(checked(&file, &[]).0, 3);
    assert_eq!(checked(&file, &["--key", &vkey]).0, 0);
    let other = transparency::note::SigningKey::from_seed(key.name(), &[9; 32]).unwrap();
    assert_eq!(checked(&file, &["--key", &other.verifier().to_string()]).0, 1);
    let (code, output) = checked(&file, &["--key", &vkey, "--quorum", "1"]);
    assert!(code == 1, "no witness is given: {output}");
    let changed = folder.path().join("changed.tlog-proof");
    let events: Value = client.get("/events?limit=2").await.unwrap().json().await.unwrap();
    let [first, second] = [0, 1].map(|n| events[n]["hash"].as_str().unwrap());
    let hashes = [first, second];
    a_receipt_states_the_hash_of_its_event(folder.path(), &client, id_of(&created), hashes, &trusted).await;
    assert_eq!(checked(&file, &[&trusted[..], &["--hash", second]].concat()).0, 1);
    // The confirmation has a link to the receipt, and the hash.
    wait_until(SOON, "a confirmation has the receipt", async || {
        let mails = mails(folder.path());
        let mut texts = mails
            .iter()
            .map(|mail| mail.replace("=\r\n", "").replace("=\n", ""));
        texts.any(|text| text.contains("https://api.example.com/log/proof/1") && text.contains(first))
    })
    .await;
    let other = events[1]["aggregate_id"].as_str().unwrap();
    an_erasure_is_proved(folder.path(), &client, [id_of(&created), other], &trusted).await;

    let note = folder.path().join("checkpoint");
    std::fs::write(&note, text(&client, "/log/checkpoint").await).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify.py");
    let mut command = Command::new("python3");
    let read = command
        .arg(script)
        .arg("checkpoint")
        .arg(&note)
        .args(trusted)
        .output()
        .unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));

    mirrors_have_the_same_files(folder.path(), &client, &trusted);
    let earlier = folder.path().join("earlier");
    std::fs::write(&earlier, text(&client, "/log/checkpoints/5").await).unwrap();
    the_script_checks_a_mirror(&folder.path().join("local"), &earlier, &trusted);

    each_changed_bit_is_noticed(&file, &changed, 101, &trusted);
}

/// Checks the receipt of the first patient, and the proof of the same event by position.
async fn a_receipt_states_the_hash_of_its_event(
    folder: &Path,
    client: &Client,
    id: &str,
    [first, second]: [&str; 2],
    trusted: &[&str],
) {
    let [file, changed] = ["receipt.tlog-proof", "changed.tlog-proof"].map(|name| folder.join(name));
    let receipt = text(client, &format!("/patients/{id}/receipt")).await;
    let by_position = text(client, "/log/proof/1").await;
    for (proof, expected) in [(by_position, 1), (receipt, 0)] {
        std::fs::write(&file, proof).unwrap();
        let (code, output) = checked(&file, trusted);
        assert_eq!(code, expected, "{output}");
        let stated = format!("event 1, with the hash {first}");
        assert!(
            code == 1 || output.contains(&stated) && output.contains("compare it"),
            "{output}"
        );
        for (hash, expected) in [(first, 0), (second, 1)] {
            let (code, output) = checked(&file, &[trusted, &["--hash", hash]].concat());
            assert_eq!(code, expected, "{output}");
        }
    }
    each_changed_bit_is_noticed(&file, &changed, 211, trusted);
}

/// Erases the first of two patients. The erasure is proved in the same way, by the API and by the command.
async fn an_erasure_is_proved(folder: &Path, client: &Client, [id, other]: [&str; 2], trusted: &[&str]) {
    let path = format!("/patients/{id}/erasure");
    let erased = client.post_json(&path, &json!({ "reason": "request" })).await;
    assert!(erased.status().is_success());
    let path = format!("{path}/certificate?format=");
    assert_eq!(client.get(&format!("{path}pdf")).await.unwrap().status(), 422);
    let path = format!("{path}tlog-proof");
    wait_until(SOON, "the erasure is proved", async || {
        client.get(&path).await.unwrap().status() == 200
    })
    .await;
    let [served, written] = ["served", "written"].map(|name| folder.join(format!("{name}.tlog-proof")));
    std::fs::write(&served, text(client, &path).await).unwrap();
    let certify = |id: &str| {
        let mut command = publishing(folder, "erase --format tlog-proof --certificate");
        ended(command.arg(id).arg("--output").arg(&written))
    };
    let (code, stdout, stderr) = certify(id);
    assert!(code == 0 && stdout.contains("proves:"), "{stdout}{stderr}");
    for file in [&served, &written] {
        let (code, output) = checked(file, trusted);
        assert!(
            code == 0 && output.contains("(PatientErased of patient "),
            "{output}"
        );
    }
    let (code, _, stderr) = certify(other);
    assert!(code == 1 && stderr.contains("was not erased"), "{stderr}");
}

/// Makes a mirror from the database and a mirror from the server, and compares them.
fn mirrors_have_the_same_files(folder: &Path, client: &Client, trusted: &[&str]) {
    let [local, remote] = ["local", "remote"].map(|name| folder.join(name));
    let mirror = |target: &Path, words: &[&str]| {
        let mut command = publishing(folder, "audit mirror");
        let (code, stdout, stderr) = ended(command.arg(target).args(words).args(trusted));
        (code, stdout + &stderr)
    };
    let (code, output) = mirror(&local, &[]);
    assert!(
        code == 0 && output.contains("7 events; 2 files were written"),
        "{output}"
    );
    // The machine of the service has the key.
    let mut own = publishing(folder, "audit mirror own");
    let (code, stdout, stderr) = ended(&mut own);
    assert!(
        code == 0 && stdout.contains("7 events; 2 files"),
        "{stdout}{stderr}"
    );
    let (code, _, stderr) = ended(own.env_remove("LOG_KEY_FILE"));
    assert!(code == 1 && stderr.contains("--key"), "{stderr}");
    let mut without = publishing(folder, "audit mirror third --from http://127.0.0.1:1/log");
    let (code, _, stderr) = ended(&mut without);
    assert!(code == 2 && stderr.contains("--key"), "{stderr}");
    let url = client.url("/log");
    let (code, output) = mirror(&remote, &["--from", &url]);
    assert_eq!(code, 0, "{output}");
    assert_eq!(files(&local).len(), 3);
    assert_eq!(
        files(&local).keys().collect::<Vec<_>>(),
        files(&remote).keys().collect::<Vec<_>>()
    );
    for (name, content) in files(&local) {
        if name != Path::new("checkpoint") {
            assert_eq!(files(&remote)[&name], content, "{}", name.display());
        }
    }
}

/// Checks a mirror with `docs/verify.py`, and the mirror with one bit changed in each file. `earlier` is a
/// file with an earlier checkpoint.
fn the_script_checks_a_mirror(mirror: &Path, earlier: &Path, trusted: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify.py");
    let check = |words: &[&str]| {
        let mut command = Command::new("python3");
        let output = command
            .arg(&script)
            .arg("mirror")
            .arg(mirror)
            .args(words)
            .output();
        let output = output.unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!said.contains("Traceback"), "{said}");
        (output.status.code().unwrap(), said)
    };
    let from = ["--from", earlier.to_str().unwrap()];
    let (code, said) = check(&[trusted, &from].concat());
    assert!(code == 0 && said.contains(" continues 5:"), "{said}");
    assert_eq!(check(&from).0, 3);
    let genuine = std::fs::read(earlier).unwrap();
    for name in files(mirror).keys() {
        let path = mirror.join(name);
        let content = std::fs::read(&path).unwrap();
        let mut changed = content.clone();
        changed[content.len() / 2] ^= 1;
        std::fs::write(&path, changed).unwrap();
        let (code, said) = check(trusted);
        assert_eq!(code, 1, "{}: {said}", path.display());
        std::fs::write(&path, content).unwrap();
    }
    // A checkpoint of another log that is signed with the same key.
    let key = tlog::KeyFile::new(mirror.with_file_name("log.key"));
    let key = key.load(crate::published::ORIGIN).unwrap();
    let other = transparency::Hash::leaf(b"other");
    for size in [0, 5, 7, 8] {
        let other = transparency::checkpoint::Checkpoint::new(crate::published::ORIGIN, size, other).unwrap();
        let other = transparency::checkpoint::SignedCheckpoint::sign(other, &key).unwrap();
        std::fs::write(earlier, other.to_string()).unwrap();
        let (code, said) = check(&[trusted, &from].concat());
        assert_eq!(code, 1, "{size}: {said}");
    }
    std::fs::write(earlier, genuine).unwrap();
    std::fs::remove_file(mirror.join("checkpoint")).unwrap();
    assert_eq!(check(trusted).0, 2);
}

/// Checks the proof with one bit changed in every `step`th byte.
fn each_changed_bit_is_noticed(file: &Path, changed: &Path, step: usize, trusted: &[&str]) {
    let proof = std::fs::read(file).unwrap();
    for at in (0..proof.len()).step_by(step) {
        let mut proof = proof.clone();
        proof[at] ^= 1;
        std::fs::write(changed, proof).unwrap();
        let (code, output) = checked(changed, trusted);
        assert!(code == 1 || code == 2, "byte {at}: {code} {output}");
    }
}
