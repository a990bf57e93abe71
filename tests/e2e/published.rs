//! The published log: its key, the checkpoints that the program signs, and what it serves to verifiers.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use testkit::{Program, free_port, wait_until};
use transparency::Hash;
use transparency::checkpoint::SignedCheckpoint;
use transparency::note::VerifierKey;
use transparency::policy::Policy;
use transparency::proof::TlogProof;
use transparency::tile::{Level, Tile, decode_entries};
use transparency::tree::{Plan, verify_consistency};

use crate::client::{Client, id_of};
use crate::rig::{Production, SOON, patients};
use crate::settings::ended;

/// Origin of the logs in these tests.
pub(crate) const ORIGIN: &str = "log.example.org/patients";

/// Returns a command on the SQLite log in a folder, with a key file in the same folder.
pub(crate) fn publishing(folder: &Path, words: &str) -> Command {
    let mut command = patients("");
    command
        .args(words.split_whitespace())
        .current_dir(folder)
        .env("LOG_ORIGIN", ORIGIN)
        .env("LOG_KEY_FILE", folder.join("log.key"))
        .env("CHECKPOINT_INTERVAL", "100ms");
    command
}

#[test]
fn a_key_is_made_once_and_its_verifier_key_is_shown() {
    let folder = TempDir::new().unwrap();
    let (code, verifier, stderr) = ended(&mut publishing(folder.path(), "audit key new"));
    assert_eq!(code, 0, "{stderr}");
    assert!(verifier.starts_with("log.example.org/patients+"), "{verifier}");
    let file = folder.path().join("log.key");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = std::fs::read_to_string(&file).unwrap();
    assert!(key.starts_with("PRIVATE+KEY+log.example.org/patients+"));

    let (code, _, stderr) = ended(&mut publishing(folder.path(), "audit key new"));
    assert!(code == 1 && stderr.contains("exists already"), "{stderr}");
    let (code, shown, _) = ended(&mut publishing(folder.path(), "audit key show"));
    assert_eq!((code, shown), (0, verifier));

    let mut other = publishing(folder.path(), "audit key show");
    let (code, _, stderr) = ended(other.env("LOG_ORIGIN", "log.example.org/other"));
    assert!(code == 1 && stderr.contains("has the name"), "{stderr}");
    let mut without = publishing(folder.path(), "serve");
    let (code, _, stderr) = ended(without.env_remove("LOG_ORIGIN"));
    assert!(code == 2 && stderr.contains("requires LOG_ORIGIN"), "{stderr}");
    let mut content = publishing(folder.path(), "audit key show");
    let (code, _, stderr) = ended(content.env("LOG_KEY_FILE", key.trim()));
    assert!(code == 2 && !stderr.contains(key.trim()), "{stderr}");
}

/// Makes a key in a folder. Returns its verifier key.
pub(crate) fn new_key(folder: &Path) -> VerifierKey {
    let (code, verifier, stderr) = ended(&mut publishing(folder, "audit key new"));
    assert_eq!(code, 0, "{stderr}");
    verifier.trim().parse().unwrap()
}

/// Adds the settings of [`publishing`] to a command.
fn with_key(command: &mut Command, folder: &Path) {
    command
        .env("LOG_ORIGIN", ORIGIN)
        .env("LOG_KEY_FILE", folder.join("log.key"))
        .env("CHECKPOINT_INTERVAL", "100ms");
}

/// Starts `patients serve` on the log in a folder.
pub(crate) async fn serve(folder: &Path) -> (Program, Client) {
    serve_with(folder, free_port(), &[]).await
}

/// Starts `patients serve` on the log in a folder, with a port and more settings.
pub(crate) async fn serve_with(folder: &Path, port: u16, settings: &[(&str, &str)]) -> (Program, Client) {
    let mut command = publishing(folder, "serve");
    command.envs(settings.iter().copied());
    let program = Program::start(command.env("HTTP_ADDR", format!("127.0.0.1:{port}")));
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    (program, client)
}

/// Returns the text of a successful response.
pub(crate) async fn text(client: &Client, path: &str) -> String {
    let answer = client.get(path).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer.text().await.unwrap()
}

/// Returns the problem of a response.
async fn problem(client: &Client, path: &str) -> (StatusCode, String) {
    let answer = client.get(path).await.unwrap();
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    (status, body["type"].as_str().unwrap().to_owned())
}

/// Waits until the newest checkpoint covers `size` events, and returns it.
pub(crate) async fn checkpoint(client: &Client, size: u64) -> SignedCheckpoint {
    let newest = async || {
        let answer = client.get("/log/checkpoint").await.ok()?;
        let text = answer.error_for_status().ok()?.text().await.ok()?;
        Some(SignedCheckpoint::parse(text.as_bytes()).unwrap())
    };
    let what = format!("a checkpoint of {size} events is signed");
    wait_until(SOON, &what, async || {
        newest()
            .await
            .is_some_and(|signed| signed.checkpoint().size() >= size)
    })
    .await;
    newest().await.unwrap()
}

/// Returns the tiles of a plan, as the service serves them.
pub(crate) async fn tiles(client: &Client, plan: &Plan) -> BTreeMap<Tile, Vec<u8>> {
    let mut tiles = BTreeMap::new();
    for tile in plan.tiles() {
        let answer = client.get(&format!("/log/{tile}")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{tile}");
        assert_eq!(answer.headers()["content-type"], "application/octet-stream");
        assert_eq!(
            answer.headers()["cache-control"],
            "public, max-age=31536000, immutable"
        );
        tiles.insert(tile, answer.bytes().await.unwrap().to_vec());
    }
    tiles
}

/// Returns the hashes of all events, from the feed.
async fn hashes(client: &Client) -> Vec<[u8; 32]> {
    let events: Vec<Value> = client
        .get("/events?limit=100")
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let hash = |event: &Value| {
        let hash = event["hash"].as_str().unwrap();
        let byte = |at: usize| u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).unwrap();
        std::array::from_fn(byte)
    };
    events.iter().map(hash).collect()
}

/// Checks with the served files what a verifier checks, and that each changed bit is noticed.
async fn is_verified(client: &Client, key: &VerifierKey) {
    let created: Value = client
        .register("a@example.com")
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    for n in 0..3 {
        client.register_for_sure(&format!("b{n}@example.com")).await;
    }
    let earlier = checkpoint(client, 4).await;
    assert_eq!(client.delete(id_of(&created)).await.unwrap().status(), 204);
    for n in 0..3 {
        client.register_for_sure(&format!("c{n}@example.com")).await;
    }
    let later = checkpoint(client, 8).await;
    for signed in [&earlier, &later] {
        signed.verify([key]).unwrap();
        let kept = text(
            client,
            &format!("/log/checkpoints/{}", signed.checkpoint().size()),
        )
        .await;
        assert_eq!(kept, signed.to_string());
    }
    // One bit of the signed text or of the signature.
    let note = later.to_string().into_bytes();
    for at in 0..note.len() {
        let mut changed = note.clone();
        changed[at] ^= 1;
        let accepted = SignedCheckpoint::parse(&changed)
            .is_ok_and(|signed| signed.verify([key]).is_ok() && signed.checkpoint().origin() == ORIGIN);
        assert!(!accepted, "byte {at}");
    }

    let (old, new) = (earlier.checkpoint(), later.checkpoint());
    let plan = Plan::consistency(old.size(), new.size()).unwrap();
    let proof = plan.hashes(&mut tiles(client, &plan).await).unwrap();
    let extends =
        |proof: &[Hash]| verify_consistency(proof, old.size(), &old.root(), new.size(), &new.root()).is_ok();
    assert!(extends(&proof));
    for at in 0..proof.len() {
        let mut changed = proof.clone();
        changed[at].0[7] ^= 1;
        assert!(!extends(&changed));
    }

    let hashes = hashes(client).await;
    let bundle = Tile::at(Level::Entries, 0, new.size()).unwrap();
    let answer = client.get(&format!("/log/{bundle}")).await.unwrap();
    let entries = answer.bytes().await.unwrap();
    assert_eq!(decode_entries(&entries).unwrap(), hashes);
    let policy = Policy::new(ORIGIN, vec![key.clone()], vec![], 0).unwrap();
    for (index, hash) in hashes.iter().enumerate() {
        let proof: TlogProof = text(client, &format!("/log/proof/{}", index + 1))
            .await
            .parse()
            .unwrap();
        proof.verify(&Hash::leaf(hash), &policy).unwrap();
        let mut changed = *hash;
        changed[31] ^= 1;
        proof.verify(&Hash::leaf(&changed), &policy).unwrap_err();
    }
    // The patient was deleted meanwhile.
    let receipt = text(client, &format!("/patients/{}/receipt", id_of(&created))).await;
    assert!(!receipt.contains("example.com"), "{receipt}");
    let receipt: TlogProof = receipt.parse().unwrap();
    assert_eq!(receipt.index(), 0);
    receipt.verify(&Hash::leaf(&hashes[0]), &policy).unwrap();

    for (path, expected) in [
        ("/log/tile/0/000", "/problems/tile-not-found"),
        ("/log/tile/0/000.p/99", "/problems/tile-not-found"),
        ("/log/tile/0/00", "/problems/tile-not-found"),
        ("/log/checkpoints/7000", "/problems/checkpoint-not-found"),
        ("/log/checkpoints/08", "/problems/checkpoint-not-found"),
        ("/log/proof/7000", "/problems/not-covered-yet"),
        ("/log/proof/0", "/problems/not-covered-yet"),
        (
            "/patients/00000000-0000-7000-8000-000000000000/receipt",
            "/problems/patient-not-found",
        ),
    ] {
        let found = problem(client, path).await;
        assert_eq!(found, (StatusCode::NOT_FOUND, expected.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_verifier_accepts_what_one_process_serves_from_sqlite() {
    let folder = TempDir::new().unwrap();
    let key = new_key(folder.path());
    let (program, client) = serve(folder.path()).await;
    assert!(program.stdout().contains(&key.to_string()));
    let none = problem(&client, "/log/checkpoint").await;
    assert_eq!(
        none,
        (StatusCode::NOT_FOUND, "/problems/no-checkpoint-yet".to_owned())
    );
    is_verified(&client, &key).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verifier_accepts_what_two_projectors_sign_on_mysql_and_mariadb() {
    Production::on_each(async |production| {
        let folder = TempDir::new().unwrap();
        let key = new_key(folder.path());
        let start = |role: &str| {
            let mut command = production.command(role);
            with_key(&mut command, folder.path());
            Program::start(&command)
        };
        let projectors = [start("projector"), start("projector")];
        let port = free_port();
        let mut api = production.command("api");
        api.env("LOG_ORIGIN", ORIGIN)
            .env("HTTP_ADDR", format!("127.0.0.1:{port}"));
        let _api = Program::start(&api);
        let client = Client::new(port);
        wait_until(SOON, "the API is ready", async || client.ready().await).await;
        is_verified(&client, &key).await;
        // Whichever projector signs, the other one takes over.
        let [first, second] = projectors;
        first.kill9().await;
        client.register_for_sure("d@example.com").await;
        checkpoint(&client, 9).await;
        drop(second);
    })
    .await;
}

#[tokio::test]
async fn a_log_that_is_not_published_has_no_checkpoints() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let program = crate::embedded::serve(folder.path(), port);
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    for path in ["/log/checkpoint", "/log/tile/0/000", "/log/proof/1"] {
        let found = problem(&client, path).await;
        let expected = (StatusCode::NOT_FOUND, "/problems/log-not-published".to_owned());
        assert_eq!(found, expected);
    }
    drop(program);
}
