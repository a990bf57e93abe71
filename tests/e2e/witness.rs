//! Witnesses, monitors and mirrors: what others do with a published log.

use std::path::Path;
use std::process::Command;

use eventstore::RecordedEvent;
use eventstore::chain::Canonical;
use tempfile::TempDir;
use testkit::{Program, free_port, http_client, wait_until};
use transparency::Hash;
use transparency::checkpoint::{Checkpoint, SignedCheckpoint};
use transparency::note::{SigningKey, VerifierKey};
use transparency::policy::Policy;
use transparency::proof::TlogProof;
use transparency::witness::{AddCheckpoint, monitoring_path};

use crate::client::Client;
use crate::published::{ORIGIN, checkpoint, new_key, publishing, serve_with, text};
use crate::rig::{SOON, patients, sqlite};
use crate::settings::ended;

/// A witness that runs.
pub(crate) struct Witness {
    folder: TempDir,
    key: VerifierKey,
    port: u16,
    program: Program,
}

impl Witness {
    /// Starts a witness of the log with this key, which is in the environment.
    pub(crate) async fn start(name: &str, log: &VerifierKey) -> Self {
        Self::start_with(name, |command| {
            command.env("WITNESS_LOG_KEYS", log.to_string());
        })
        .await
    }

    /// Starts a witness of the log with these keys, which are arguments.
    pub(crate) async fn of_keys(name: &str, keys: &[&VerifierKey]) -> Self {
        Self::start_with(name, |command| {
            for key in keys {
                command.args(["--log-key", &key.to_string()]);
            }
        })
        .await
    }

    async fn start_with(name: &str, keys: impl FnOnce(&mut Command)) -> Self {
        let folder = TempDir::new().unwrap();
        let place = folder.path().to_str().unwrap();
        let (code, key, stderr) = ended(witness_command(&["key", "new", name, "--folder", place]));
        assert_eq!(code, 0, "{stderr}");
        let (_, shown, _) = ended(witness_command(&["key", "show", "--folder", place]));
        assert_eq!(shown, key);
        let port = free_port();
        let mut command = patients("witness");
        command
            .args(["serve", "--folder", place])
            .env("HTTP_ADDR", format!("127.0.0.1:{port}"));
        keys(&mut command);
        let program = Program::start(&command);
        let witness = Self {
            key: key.trim().parse().unwrap(),
            folder,
            port,
            program,
        };
        wait_until(SOON, "the witness answers", async || {
            witness.post("").await.is_ok_and(|answer| answer.0 == 400)
        })
        .await;
        witness
    }

    pub(crate) const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The witness in the form of the setting `WITNESSES`.
    pub(crate) fn address(&self) -> String {
        format!("{}=http://127.0.0.1:{}", self.key, self.port)
    }

    /// Sends a request. Returns the status and the body.
    pub(crate) async fn post(&self, body: &str) -> reqwest::Result<(u16, String)> {
        let url = format!("http://127.0.0.1:{}/add-checkpoint", self.port);
        let client = http_client().build().unwrap();
        let answer = client.post(url).body(body.to_owned()).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    fn file(&self, suffix: &str) -> std::path::PathBuf {
        let path = monitoring_path(ORIGIN);
        let hash = path.split('/').next().unwrap();
        self.folder.path().join(format!("{hash}.{suffix}"))
    }
}

fn witness_command(words: &[&str]) -> &'static mut Command {
    let command: &'static mut Command = Box::leak(Box::new(patients("witness")));
    command.args(words)
}

fn hex(root: Hash) -> String {
    root.0.map(|byte| format!("{byte:02x}")).concat()
}

/// Runs `patients audit watch --once`. Returns the exit code and the output.
pub(crate) fn watch(client: &Client, state: &Path, words: &[&str]) -> (i32, String) {
    let mut command = patients("audit");
    command
        .args(["watch", "--once", "--from", &client.url("/log"), "--state"])
        .arg(state)
        .args(words);
    let (code, stdout, stderr) = ended(&mut command);
    (code, stdout + &stderr)
}

#[tokio::test]
async fn witnesses_cosign_checkpoints_and_none_that_is_down_delays_them() {
    let folder = TempDir::new().unwrap();
    let key = new_key(folder.path());
    let mut witness = Witness::start("w1.example.org", &key).await;
    let down = SigningKey::from_seed("w2.example.org", &[2; 32]).unwrap();
    let down = transparency::cosignature::CosigningKey::from(down);
    let (down, unused) = (down.verifier(), free_port());
    let witnesses = format!("{}, {down}=http://127.0.0.1:{unused}", witness.address());
    let settings = [("WITNESSES", witnesses.as_str()), ("WITNESS_QUORUM", "1")];
    let (program, client) = serve_with(folder.path(), free_port(), &settings).await;
    assert!(
        program
            .stdout()
            .contains("w1.example.org, w2.example.org; quorum 1")
    );
    let policy = |quorum| {
        let witnesses = vec![witness.key.clone(), down.clone()];
        Policy::new(ORIGIN, vec![key.clone()], witnesses, quorum).unwrap()
    };
    for size in [1, 2] {
        client.register_for_sure(&format!("p{size}@example.com")).await;
        checkpoint(&client, size).await;
        wait_until(SOON, "the witness has cosigned", async || {
            let newest = text(&client, "/log/checkpoint").await;
            let newest = SignedCheckpoint::parse(newest.as_bytes()).unwrap();
            newest.checkpoint().size() == size && policy(1).check(&newest).is_ok()
        })
        .await;
        // The proof refers to a checkpoint with its quorum.
        let proof = text(&client, &format!("/log/proof/{size}")).await;
        let proof: TlogProof = proof.parse().unwrap();
        policy(1).check(proof.checkpoint()).unwrap();
        policy(2).check(proof.checkpoint()).unwrap_err();
        // A killed witness continues after the last checkpoint that it has cosigned.
        witness.program.kill9().await;
        witness.program.restart().await;
    }
    let newest = checkpoint(&client, 2).await;
    let metrics = text(&client, "/metrics").await;
    for series in [
        "patients_witness_cosigned_size{witness=\"w1.example.org\"} 2",
        "patients_witness_cosigned_size{witness=\"w2.example.org\"} 0",
        "patients_checkpoint_quorum_size 2",
    ] {
        assert!(metrics.contains(series), "{series}: {metrics}");
    }

    // The protocol.
    let mut of_log = newest.clone();
    of_log.retain(std::slice::from_ref(&key));
    let head = newest.checkpoint();
    let request = |old, proof: &[Hash], signed: &SignedCheckpoint| {
        AddCheckpoint::new(old, proof.to_vec(), signed.clone()).to_string()
    };
    let signed_by = |origin: &str, key: &SigningKey| {
        let head = Checkpoint::new(origin, head.size(), head.root()).unwrap();
        SignedCheckpoint::sign(head, key).unwrap()
    };
    let stranger = SigningKey::from_seed(ORIGIN, &[7; 32]).unwrap();
    wait_until(SOON, "the witness answers", async || {
        witness.post("").await.is_ok()
    })
    .await;
    for (body, status, answer) in [
        (request(2, &[], &of_log), 200, "— w1.example.org "),
        ("old 2\n\n".to_owned(), 400, ""),
        ("a".repeat(400_000), 400, ""),
        (request(3, &[], &of_log), 400, ""),
        (request(2, &[], &signed_by(ORIGIN, &stranger)), 403, ""),
        (
            request(2, &[], &signed_by("other.example.org", &stranger)),
            404,
            "",
        ),
        (request(1, &[], &of_log), 409, "2\n"),
        (request(2, &[Hash::EMPTY_ROOT], &of_log), 422, ""),
    ] {
        let (found, text) = witness.post(&body).await.unwrap();
        assert_eq!(found, status, "{body:.200}");
        assert!(text.starts_with(answer), "{status}: {text}");
    }
    only_another_root_of_the_cosigned_size_is_reported(&witness, folder.path()).await;
    let url = format!("http://127.0.0.1:{}/{}", witness.port, monitoring_path(ORIGIN));
    let published = reqwest::Client::get(&http_client().build().unwrap(), url);
    let published = published.send().await.unwrap().bytes().await.unwrap();
    let published = SignedCheckpoint::parse(&published).unwrap();
    assert_eq!(published.verify([&key, &witness.key]).unwrap().len(), 2);

    // Another process cannot use the same folder.
    let place = witness.folder.path().to_str().unwrap().to_owned();
    let mut second = patients("witness");
    second.args(["serve", "--folder", &place, "--log-key", &key.to_string()]);
    let (code, _, stderr) = ended(&mut second);
    assert!(code == 1 && stderr.contains("locked"), "{stderr}");
}

/// Sends other checkpoints of the log to a witness that has cosigned 2 events.
async fn only_another_root_of_the_cosigned_size_is_reported(witness: &Witness, folder: &Path) {
    let logged = witness.program.stderr();
    assert!(!logged.contains("refused"), "the log's own checkpoint: {logged}");
    let key = tlog::KeyFile::new(folder.join("log.key")).load(ORIGIN).unwrap();
    let fork = Checkpoint::new(ORIGIN, 2, Hash::leaf(b"other")).unwrap();
    let suffix = format!("2.{}.fork", hex(fork.root()));
    let stranger = SigningKey::from_seed(ORIGIN, &[7; 32]).unwrap();
    let unknown = SignedCheckpoint::sign(fork.clone(), &stranger).unwrap();
    let fork = SignedCheckpoint::sign(fork, &key).unwrap();
    let mut padded = fork.clone();
    padded.add(unknown.note().signatures()[0].clone()).unwrap();
    for signed in [&padded, &fork, &padded] {
        let request = AddCheckpoint::new(2, vec![], signed.clone()).to_string();
        assert_eq!(witness.post(&request).await.unwrap().0, 422);
    }
    let kept = std::fs::read_to_string(witness.file(&suffix)).unwrap();
    assert_eq!(kept, fork.to_string());
    wait_until(SOON, "the fork is logged", async || {
        witness.program.stderr().contains("refused a fork")
    })
    .await;
    assert_eq!(witness.program.stderr().matches("refused a fork").count(), 1);
    // Anyone can fill the places for conflicts without evidence. Further ones are still logged.
    for size in 100..166 {
        let other = Checkpoint::new(ORIGIN, size, Hash::leaf(b"other")).unwrap();
        let other = SignedCheckpoint::sign(other, &key).unwrap();
        let request = AddCheckpoint::new(2, vec![], other).to_string();
        assert_eq!(witness.post(&request).await.unwrap().0, 422);
    }
    let files = std::fs::read_dir(witness.folder.path()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.ends_with(".unproved")).count(), 63);
    wait_until(SOON, "a conflict that is not kept is logged", async || {
        witness
            .program
            .stderr()
            .contains("refused a checkpoint that is not kept")
    })
    .await;
}

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
    let (okey, vkey, wkey) = (old.to_string(), new.to_string(), witness.key.to_string());
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
        witness.program.stderr().contains("refused a fork") && witness.file(&fork).exists()
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
    newest.verify([&witness.key]).unwrap_err();
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
