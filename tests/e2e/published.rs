//! The published log: its key, and checkpoints that the program signs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::rig::patients;
use crate::settings::ended;

/// Origin of the logs in these tests.
const ORIGIN: &str = "log.example.org/patients";

/// Returns a command on the SQLite log in a folder, with a key file in the same folder.
fn publishing(folder: &Path, words: &str) -> Command {
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
