//! The published log of the record of reads: its key, its checkpoints, and what outside verifiers check.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use testkit::{Program, free_port, wait_until};
use transparency::checkpoint::SignedCheckpoint;
use transparency::note::VerifierKey;

use crate::client::{Client, id_of};
use crate::published::{publishing, text};
use crate::rig::{SOON, sqlite};
use crate::settings::ended;
use crate::signer::{end_leases, kill_after_signing};
use crate::tlog_proof::checked;
use crate::witness::Witness;

const ORIGIN: &str = "log.example.org/reads";

/// Returns a command on the SQLite log in a folder, which publishes the record of reads and not the log.
fn reading(folder: &Path, words: &str) -> Command {
    let mut command = publishing(folder, words);
    command
        .env_remove("LOG_ORIGIN")
        .env_remove("LOG_KEY_FILE")
        .env("READS_LOG_ORIGIN", ORIGIN)
        .env("READS_LOG_KEY_FILE", folder.join("reads.key"))
        .env("READ_RECORD", "strict");
    command
}

async fn serve(folder: &Path, witnesses: &str) -> (Program, Client) {
    let port = free_port();
    let mut command = reading(folder, "serve");
    command
        .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
        .env("WITNESSES", witnesses);
    let program = Program::start(&command);
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    (program, client)
}

/// Returns the newest checkpoint, if there is one.
async fn newest(client: &Client) -> Option<SignedCheckpoint> {
    let answer = client.get("/reads-log/checkpoint").await.ok()?;
    let note = answer.error_for_status().ok()?.bytes().await.ok()?;
    Some(SignedCheckpoint::parse(&note).unwrap())
}

/// Runs a command, and returns its exit code and its output.
fn run(command: &mut Command, words: &[&str]) -> (i32, String) {
    let (code, stdout, stderr) = ended(command.args(words));
    (code, stdout + &stderr)
}

/// Kills the service while reads are recorded. Returns the roots that it has signed.
async fn kill_often(folder: &Path, witnesses: &str, id: &str) -> BTreeMap<u64, String> {
    let mut seen: BTreeMap<u64, String> = BTreeMap::new();
    for round in 0..3 {
        end_leases(folder);
        let (program, client) = serve(folder, witnesses).await;
        let before = match seen.keys().last() {
            Some(size) => *size,
            None => newest(&client).await.unwrap().checkpoint().size(),
        };
        let pause = Duration::from_millis(37 * round);
        kill_after_signing(&program, pause, before, &mut seen, async || {
            client.get(&format!("/patients/{id}")).await.ok()?;
            Some(newest(&client).await)
        })
        .await;
    }
    end_leases(folder);
    seen
}

#[tokio::test]
async fn outside_verifiers_check_the_heads_of_the_record_of_reads() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let (code, key) = run(&mut reading(folder, "audit key --reads new"), &[]);
    assert_eq!(code, 0, "{key}");
    let (_, shown) = run(&mut reading(folder, "audit key --reads show"), &[]);
    assert_eq!(shown, key);
    let key: VerifierKey = key.trim().parse().unwrap();
    assert_eq!(key.name(), ORIGIN);
    let witness = Witness::start("w.example.org", &key).await;
    let (address, vkey, wkey) = (witness.address(), key.to_string(), witness.key().to_string());
    let trusted = ["--key", &vkey, "--witness", &wkey];
    let (program, client) = serve(folder, &address).await;
    assert_eq!(client.get("/log/checkpoint").await.unwrap().status(), 404);
    let patient = client.register_for_sure("a@example.com").await;
    let id = id_of(&patient);
    text(&client, &format!("/patients/{id}")).await;
    wait_until(SOON, "the witness has cosigned the head", async || {
        client.get("/reads-log/proof/1").await.unwrap().status() == 200
    })
    .await;

    let (_, heads) = run(&mut reading(folder, "audit reads heads --json"), &[]);
    let heads: Value = serde_json::from_str(&heads).unwrap();
    let (head, published) = (&heads[0], &heads[0]["published"]);
    assert_eq!(
        (&published["number"], &published["position"]),
        (&head["number"], &1.into())
    );
    let file = folder.join("head.tlog-proof");
    std::fs::write(&file, text(&client, "/reads-log/proof/1").await).unwrap();
    let hash = head["hash"].as_str().unwrap();
    let (code, output) = checked(&file, &[&trusted[..], &["--hash", hash]].concat());
    assert_eq!(code, 0, "{output}");
    let other = "0f".repeat(32);
    assert_eq!(checked(&file, &[&trusted[..], &["--hash", &other]].concat()).0, 1);
    let (is_fit, findings) = run(reading(folder, "check").env("WITNESSES", &address), &[]);
    assert!(
        is_fit == 0 && findings.contains("witness w.example.org (reads log): cosigns the newest"),
        "{findings}"
    );
    program.kill9().await;

    let seen = kill_often(folder, &address, id).await;
    let (program, client) = serve(folder, &address).await;
    text(&client, &format!("/patients/{id}")).await;
    let largest = seen.keys().max().copied().unwrap_or(1);
    wait_until(SOON, "the next head is signed", async || {
        newest(&client)
            .await
            .is_some_and(|signed| signed.checkpoint().size() > largest)
    })
    .await;
    let url = client.url("/reads-log");
    let watch = ["watch", "--once", "--origin", &url, "--key", &vkey, "--state"];
    let state = folder.join("seen");
    let watch = |state: &Path| run(reading(folder, "audit").args(watch).arg(state), &[]);
    let (code, output) = watch(&state);
    assert_eq!(code, 0, "{output}");
    // Every checkpoint that was seen is still part of the log.
    for size in seen.keys() {
        let earlier = folder.join(format!("seen-{size}"));
        std::fs::write(
            &earlier,
            text(&client, &format!("/reads-log/checkpoints/{size}")).await,
        )
        .unwrap();
        let (code, output) = watch(&earlier);
        assert_eq!(code, 0, "{output}");
    }
    let [local, remote] = ["local", "remote"].map(|name| folder.join(name));
    let mirror = |target: &Path, words: &[&str]| {
        let mut command = reading(folder, "audit mirror");
        run(command.arg(target).args(["--key", &vkey]), words)
    };
    for (target, words) in [(&local, &[][..]), (&remote, &["--from", &url])] {
        let (code, output) = mirror(target, words);
        assert!(code == 0 && output.contains("files were written"), "{output}");
    }
    let bundles = [&local, &remote].map(|mirror| mirror.join("tile/entries"));
    let names = bundles.map(|folder| {
        let files = std::fs::read_dir(folder).unwrap();
        files.map(|file| file.unwrap().file_name()).collect::<Vec<_>>()
    });
    assert_eq!(names[0], names[1]);

    rewrites_are_found(folder, &client, program, id).await;
}

/// Rewrites the record, first without and then with the published entries.
async fn rewrites_are_found(folder: &Path, client: &Client, program: Program, id: &str) {
    let signed = newest(client).await.unwrap();
    let size = signed.checkpoint().size();
    let root = signed
        .checkpoint()
        .root()
        .0
        .map(|byte| format!("{byte:02x}"))
        .concat();
    let verify = |words: &[&str]| run(&mut reading(folder, "audit verify"), words);
    let kept = format!("{size}:{root}");
    let (code, output) = verify(&["--trusted-reads-log", &kept]);
    assert!(
        code == 0 && output.contains("entries in the published log"),
        "{output}"
    );
    let wrong = format!("{size}:{}", "0f".repeat(32));
    assert_eq!(verify(&["--trusted-reads-log", &wrong]).0, 1);
    program.kill9().await;
    let database = folder.join("data/patients.db");
    sqlite(
        &database,
        "DELETE FROM audit_reads; DELETE FROM audit_read_links;",
    );
    let (code, output) = verify(&[]);
    assert!(
        code == 1 && output.contains("is the entry 1 of the published log"),
        "{output}"
    );
    sqlite(
        &database,
        "DELETE FROM audit_read_heads; DELETE FROM read_log_tiles;",
    );
    let (code, output) = verify(&[]);
    let expected = format!("does not have the root of {size} entries");
    assert!(code == 1 && output.contains(&expected), "{output}");
    let (program, client) = serve(folder, "").await;
    text(&client, &format!("/patients/{id}")).await;
    wait_until(SOON, "nothing is signed", async || {
        let expected = format!("a checkpoint of {size} entries has been signed, but the log ends at");
        program.stderr().contains(&expected)
    })
    .await;
    let metrics = text(&client, "/metrics").await;
    assert!(
        metrics.contains("patients_reads_checkpoint_signer_stopped 1"),
        "{metrics}"
    );
    assert_eq!(newest(&client).await.unwrap().checkpoint().size(), size);
}
