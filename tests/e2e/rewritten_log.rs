//! A log that somebody has rewritten, with the whole database and a key that was replaced.

use std::path::Path;

use eventstore::RecordedEvent;
use eventstore::chain::Canonical;
use tempfile::TempDir;
use testkit::{free_port, wait_until};
use transparency::Hash;
use transparency::checkpoint::{Checkpoint, SignedCheckpoint};
use transparency::note::SigningKey;
use transparency::witness::AddCheckpoint;

use crate::published::{ORIGIN, checkpoint, new_key, publishing, serve_with, text};
use crate::rig::{SOON, patients, sqlite};
use crate::settings::ended;
use crate::witness::{Witness, hex, watch};

/// Changes an event in the database of a service that is not running, and recomputes all later hashes, as
/// somebody with access to the whole database can.
fn rewrite(folder: &Path) {
    let (code, export, stderr) = ended(&mut publishing(folder, "audit export"));
    assert_eq!(code, 0, "{stderr}");
    let mut previous = eventstore::Hash::default();
    let mut statements = Vec::new();
    for line in export.lines() {
        let mut event: RecordedEvent = serde_json::from_str(line).unwrap();
        let position = event.position;
        if position.get() == 2 {
            event.metadata["actor"] = "somebody else".into();
            let metadata = event.metadata.to_string().replace('\'', "''");
            let change = format!("UPDATE events SET metadata = '{metadata}' WHERE position = {position}");
            statements.push(change);
        }
        let canonical = Canonical::of_recorded(&event).unwrap();
        previous = canonical.link(&previous, position, event.recorded_at);
        statements.push(format!(
            "UPDATE events SET hash = X'{previous}' WHERE position = {position}"
        ));
    }
    statements.push(format!("UPDATE log_head SET hash = X'{previous}'"));
    statements.extend(["log_tiles", "log_checkpoints", "leases"].map(|table| format!("DELETE FROM {table}")));
    sqlite(&folder.join("data/patients.db"), &statements.join(";"));
    // The program itself finds nothing wrong without a kept head.
    let (code, stdout, stderr) = ended(&mut publishing(folder, "audit verify --log-only"));
    assert_eq!(code, 0, "{stdout}{stderr}");
}

#[tokio::test]
async fn a_log_rewritten_with_its_replaced_key_is_caught_by_a_witness_and_by_a_monitor() {
    let folder = TempDir::new().unwrap();
    let [in_use, old_file, new_file] = ["log.key", "old.key", "new.key"].map(|name| folder.path().join(name));
    let old = new_key(folder.path());
    std::fs::rename(&in_use, &old_file).unwrap();
    let new = new_key(folder.path());
    std::fs::copy(&in_use, &new_file).unwrap();
    let witness = Witness::of_keys("w.example.org", &[&old, &new]).await;
    let (address, port) = (witness.address(), free_port());
    let settings = [("WITNESSES", address.as_str())];
    let (program, client) = serve_with(folder.path(), port, &settings).await;
    let [both_seen, new_seen] = ["both", "new"].map(|name| folder.path().join(name));
    let (okey, vkey, wkey) = (old.to_string(), new.to_string(), witness.key().to_string());
    let both = ["--key", &vkey, "--key", &okey, "--witness", &wkey];
    let only_new = ["--key", &vkey, "--witness", &wkey];
    let (code, output) = watch(&client, &both_seen, &both);
    assert_eq!(code, 2, "no checkpoint yet: {output}");
    for n in 0..4 {
        client.register_for_sure(&format!("p{n}@example.com")).await;
    }
    checkpoint(&client, 4).await;
    for (state, trusted) in [(&both_seen, &both[..]), (&new_seen, &only_new)] {
        wait_until(SOON, "the witness has cosigned", async || {
            let (code, _) = watch(&client, state, trusted);
            let seen = std::fs::read(state).unwrap_or_default();
            code == 0 && SignedCheckpoint::parse(&seen).is_ok_and(|seen| seen.checkpoint().size() == 4)
        })
        .await;
    }
    let seen = SignedCheckpoint::parse(&std::fs::read(&both_seen).unwrap()).unwrap();
    let other = SigningKey::from_seed(ORIGIN, &[9; 32]).unwrap();
    let other = other.verifier().to_string();
    let (code, output) = watch(&client, &folder.path().join("other"), &["--key", &other]);
    assert_eq!(code, 7, "{output}");
    program.kill9().await;

    // Somebody has the database and the replaced key, and resets the state.
    rewrite(folder.path());
    std::fs::copy(&old_file, &in_use).unwrap();
    let beginning = Checkpoint::new(ORIGIN, 0, Hash::EMPTY_ROOT).unwrap();
    std::fs::write(folder.path().join("log.key.state"), beginning.to_string()).unwrap();
    let (program, client) = serve_with(folder.path(), port, &settings).await;
    let forked = checkpoint(&client, 4).await;
    forked.verify([&old]).unwrap();
    assert_ne!(forked.checkpoint().root(), seen.checkpoint().root());
    let (code, output) = watch(&client, &new_seen, &only_new);
    assert_eq!(code, 7, "{output}");
    let (code, output) = watch(&client, &both_seen, &both);
    assert!(code == 5 && output.contains("fork"), "{code}: {output}");
    assert_eq!(std::fs::read(&both_seen).unwrap(), seen.to_string().into_bytes());
    let evidence = folder.path().join("both.fork");
    let kept = SignedCheckpoint::parse(&std::fs::read(&evidence).unwrap()).unwrap();
    assert_eq!(kept.checkpoint(), forked.checkpoint());
    kept.verify([&old]).unwrap();
    // Evidence that cannot be written is printed, and hides no alarm.
    std::fs::remove_file(&evidence).unwrap();
    std::fs::create_dir(&evidence).unwrap();
    let (code, output) = watch(&client, &both_seen, &both);
    let is_printed = [seen.to_string(), forked.checkpoint().to_string()].map(|note| output.contains(&note));
    assert!(code == 5 && is_printed == [true, true], "{code}: {output}");

    // The witness has cosigned another root of this size.
    let fork = format!("4.{}.fork", hex(forked.checkpoint().root()));
    wait_until(SOON, "the witness refuses the fork", async || {
        witness.stderr().contains("refused a fork") && witness.file(&fork).exists()
    })
    .await;
    wait_until(SOON, "the signer reports the refusal", async || {
        program.stderr().contains("the witness refuses the checkpoint")
    })
    .await;
    // If the log grows, a witness cannot tell the fork from an invalid proof.
    client.register_for_sure("q@example.com").await;
    let grown = checkpoint(&client, 5).await;
    let request = AddCheckpoint::new(4, vec![forked.checkpoint().root()], grown.clone());
    assert_eq!(witness.post(&request.to_string()).await.unwrap().0, 422);
    let unproved = format!("5.{}.unproved", hex(grown.checkpoint().root()));
    assert!(witness.file(&unproved).exists());
    let (code, output) = watch(&client, &both_seen, &both);
    assert_eq!(code, 5, "{output}");
    let (code, output) = watch(&client, &folder.path().join("third"), &both);
    assert!(
        code == 2 && output.contains("too few witnesses"),
        "{code}: {output}"
    );
    let newest = checkpoint(&client, 5).await;
    newest.verify([witness.key()]).unwrap_err();
    let metrics = text(&client, "/metrics").await;
    assert!(metrics.contains("patients_checkpoint_quorum_size 0"), "{metrics}");
    let answer = client.get("/log/proof/1").await.unwrap();
    assert_eq!(answer.status(), 404, "no checkpoint has its quorum");

    // A log that cannot be read is silent.
    program.kill9().await;
    let mut command = patients("audit");
    command.args(["watch", "--from", &client.url("/log"), "--key", &vkey]);
    command.args(["--every", "50ms", "--silence", "300ms"]);
    let (code, stdout, stderr) = ended(&mut command);
    assert!(
        code == 8 && stderr.contains("silence"),
        "{code}: {stdout}{stderr}"
    );
}
