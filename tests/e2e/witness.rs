//! Witnesses, monitors and mirrors: what others do with a published log.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use testkit::{Program, free_port, http_client, wait_until};
use transparency::Hash;
use transparency::checkpoint::{Checkpoint, SignedCheckpoint};
use transparency::note::{SigningKey, VerifierKey};
use transparency::policy::Policy;
use transparency::proof::TlogProof;
use transparency::witness::{AddCheckpoint, monitoring_path};

use crate::client::Client;
use crate::published::{ORIGIN, checkpoint, new_key, serve_with, text};
use crate::rig::{SOON, patients};
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

    /// What the witness has logged.
    pub(crate) fn stderr(&self) -> String {
        self.program.stderr()
    }

    pub(crate) fn file(&self, suffix: &str) -> std::path::PathBuf {
        let path = monitoring_path(ORIGIN);
        let hash = path.split('/').next().unwrap();
        self.folder.path().join(format!("{hash}.{suffix}"))
    }
}

fn witness_command(words: &[&str]) -> &'static mut Command {
    let command: &'static mut Command = Box::leak(Box::new(patients("witness")));
    command.args(words)
}

pub(crate) fn hex(root: Hash) -> String {
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

    a_witness_whose_clock_went_back_keeps_its_last_time(&mut witness, &of_log).await;

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

/// Restarts a witness that has cosigned 2 events, by a clock that was an hour ahead of the present one.
async fn a_witness_whose_clock_went_back_keeps_its_last_time(
    witness: &mut Witness,
    of_log: &SignedCheckpoint,
) {
    witness.program.kill9().await;
    let state = witness.file("state");
    let content = std::fs::read_to_string(&state).unwrap();
    let (tree, time) = content.split_once("time ").unwrap();
    let later = time.trim().parse::<u64>().unwrap() + 3600;
    std::fs::write(&state, format!("{tree}time {later}\n")).unwrap();
    witness.program.restart().await;
    let request = AddCheckpoint::new(2, vec![], of_log.clone()).to_string();
    wait_until(SOON, "the witness cosigns", async || {
        witness.post(&request).await.is_ok_and(|answer| answer.0 == 200)
    })
    .await;
    let (_, cosignature) = witness.post(&request).await.unwrap();
    let mut cosigned = of_log.clone();
    cosigned.add(cosignature.trim_end().parse().unwrap()).unwrap();
    assert_eq!(cosigned.verify([&witness.key]).unwrap()[0].timestamp, Some(later));
    wait_until(SOON, "the clock is logged", async || {
        witness
            .stderr()
            .contains("the clock is behind the time of the last cosignature")
    })
    .await;
}
