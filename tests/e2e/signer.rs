//! The signer of the published log: killed at any moment, and with a restored database.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use tempfile::TempDir;
use testkit::{Program, free_port, wait_until};
use transparency::checkpoint::SignedCheckpoint;
use transparency::note::VerifierKey;
use transparency::tree::{Plan, verify_consistency};

use crate::published::{checkpoint, new_key, publishing, serve, serve_with, text, tiles};
use crate::rig::{SOON, sqlite};
use crate::settings::ended;
use crate::witness::{Witness, watch};

/// Ends the leases of a killed process at once. Otherwise, the next process does nothing until they expire.
pub(crate) fn end_leases(folder: &Path) {
    sqlite(&folder.join("data/patients.db"), "DELETE FROM leases;");
}

/// Kills a service after it has signed a checkpoint larger than `before`, `pause` later, so that each round
/// of a test kills it at another moment. Until then, repeats `step`, which lets the log grow and returns the
/// newest checkpoint, if there is one, or `None` if the service is gone. Adds the roots to `seen`.
pub(crate) async fn kill_after_signing(
    program: &Program,
    pause: Duration,
    before: u64,
    seen: &mut BTreeMap<u64, String>,
    mut step: impl AsyncFnMut() -> Option<Option<SignedCheckpoint>>,
) {
    let (signed, is_signed) = tokio::sync::oneshot::channel();
    let kill = async {
        is_signed.await.unwrap();
        tokio::time::sleep(pause).await;
        program.kill9().await;
    };
    let work = async {
        let mut signed = Some(signed);
        while let Some(newest) = step().await {
            let Some(note) = newest else { continue };
            let (size, root) = (note.checkpoint().size(), note.checkpoint().root().to_string());
            let earlier = seen.insert(size, root.clone());
            assert!(
                earlier.is_none_or(|earlier| earlier == root),
                "two roots of {size}"
            );
            if size > before
                && let Some(signed) = signed.take()
            {
                signed.send(()).unwrap();
            }
        }
        assert!(signed.is_none(), "the process ended before it signed");
    };
    tokio::time::timeout(SOON, futures::future::join(kill, work))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_service_that_is_killed_at_any_moment_never_signs_two_roots_of_one_size() {
    let folder = TempDir::new().unwrap();
    let key = new_key(folder.path());
    let mut seen: BTreeMap<u64, String> = BTreeMap::new();
    let mut registered = 0;
    for round in 0..6 {
        let (program, client) = serve(folder.path()).await;
        let before = seen.keys().last().copied().unwrap_or(0);
        let pause = Duration::from_millis(17 * round);
        kill_after_signing(&program, pause, before, &mut seen, async || {
            client
                .register(&format!("p{registered}@example.com"))
                .await
                .ok()?;
            registered += 1;
            let Ok(answer) = client.get("/log/checkpoint").await.ok()?.error_for_status() else {
                return Some(None);
            };
            let note = answer.bytes().await.ok()?;
            Some(Some(SignedCheckpoint::parse(&note).unwrap()))
        })
        .await;
        end_leases(folder.path());
    }
    let (_program, client) = serve(folder.path()).await;
    client.register_for_sure("last@example.com").await;
    let last = checkpoint(&client, registered + 1).await;
    last.verify([&key]).unwrap();
    let new = last.checkpoint();
    for (size, root) in seen {
        let plan = Plan::consistency(size, new.size()).unwrap();
        let proof = plan.hashes(&mut tiles(&client, &plan).await).unwrap();
        let root = root.parse().unwrap();
        verify_consistency(&proof, size, &root, new.size(), &new.root()).unwrap();
    }
}

#[tokio::test]
async fn a_restored_database_is_not_signed_over_other_events() {
    let folder = TempDir::new().unwrap();
    let key = new_key(folder.path());
    let (program, client) = serve(folder.path()).await;
    client.register_for_sure("a@example.com").await;
    checkpoint(&client, 1).await;
    program.terminate();
    assert_eq!(program.wait(SOON).await, 0);
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    std::fs::create_dir(&backup).unwrap();
    let copy = |from: &Path, to: &Path| {
        for file in std::fs::read_dir(from).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
            }
        }
    };
    copy(&data, &backup);
    let (program, client) = serve(folder.path()).await;
    client.register_for_sure("b@example.com").await;
    let lost = checkpoint(&client, 2).await;
    let (seen, vkey) = (folder.path().join("seen"), key.to_string());
    assert_eq!(watch(&client, &seen, &["--key", &vkey]).0, 0);
    program.kill9().await;

    std::fs::remove_dir_all(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    copy(&backup, &data);
    let (program, client) = serve(folder.path()).await;
    let refused = async |reason: &str| {
        wait_until(SOON, reason, async || program.stderr().contains(reason)).await;
    };
    refused("a checkpoint of 2 entries has been signed, but the log ends at 1").await;
    for n in 0..3 {
        client.register_for_sure(&format!("c{n}@example.com")).await;
    }
    refused("the first 2 entries of the log have another root").await;
    let metrics = text(&client, "/metrics").await;
    assert!(
        metrics.contains("patients_checkpoint_signer_stopped 1"),
        "{metrics}"
    );
    let newest = checkpoint(&client, 1).await;
    assert_eq!(newest.checkpoint().size(), 1);
    lost.verify([&key]).unwrap();
    let (code, output) = watch(&client, &seen, &["--key", &vkey]);
    assert!(
        code == 6 && output.contains("the log has shrunk"),
        "{code}: {output}"
    );
    let shrunken = std::fs::read(folder.path().join("seen.shrunk")).unwrap();
    assert_eq!(shrunken, newest.to_string().into_bytes());
    program.kill9().await;
    end_leases(folder.path());

    // The lost events cannot be restored, so the log continues as another log.
    let key_file = folder.path().join("second.key");
    let second = [
        ("LOG_ORIGIN", "log.example.org/second"),
        ("LOG_KEY_FILE", key_file.to_str().unwrap()),
    ];
    let (code, vkey, stderr) = ended(publishing(folder.path(), "audit key new").envs(second));
    assert_eq!(code, 0, "{stderr}");
    let key: VerifierKey = vkey.trim().parse().unwrap();
    let witness = Witness::start("w.example.org", &key).await;
    sqlite(&folder.path().join("data/patients.db"), "DELETE FROM log_tiles;");
    let address = witness.address();
    let settings = [&second[..], &[("WITNESSES", &address)]].concat();
    let (_program, client) = serve_with(folder.path(), free_port(), &settings).await;
    let (witness, vkey) = (witness.key().to_string(), vkey.trim());
    let trusted = ["--key", vkey, "--witness", &witness];
    wait_until(SOON, "the witness has cosigned the whole log", async || {
        let answer = client.get("/log/proof/4").await.unwrap();
        answer.status() == StatusCode::OK
    })
    .await;
    let (code, output) = watch(&client, &folder.path().join("second"), &trusted);
    assert_eq!(code, 0, "{output}");
    checkpoint(&client, 4).await.verify([&key]).unwrap();
}
