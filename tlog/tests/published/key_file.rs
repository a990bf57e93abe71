//! The files of a signer.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use tlog::{KeyFile, KeyFileError};
use transparency::Hash;
use transparency::checkpoint::Checkpoint;

use crate::backend::ORIGIN;

#[test]
fn a_new_key_is_private_and_does_not_replace_another() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::new(folder.path().join("log.key"));
    let missing = file.load(ORIGIN);
    assert!(
        matches!(missing, Err(KeyFileError::Missing { .. })),
        "{missing:?}"
    );
    let key = file.create(ORIGIN).unwrap();
    assert_eq!(file.load(ORIGIN).unwrap().verifier(), key.verifier());
    let mode = fs::metadata(file.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = file.create(ORIGIN);
    assert!(matches!(again, Err(KeyFileError::Exists { .. })), "{again:?}");
    assert_eq!(file.load(ORIGIN).unwrap().verifier(), key.verifier());
    // No temporary file stays.
    let names = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["log.key", "log.key.state", "log.key.state.lock"]);

    let other = file.load("log.example.org/other");
    assert!(matches!(other, Err(KeyFileError::Name { .. })), "{other:?}");
    fs::set_permissions(file.path(), Permissions::from_mode(0o640)).unwrap();
    let shared = file.load(ORIGIN);
    assert!(matches!(shared, Err(KeyFileError::Shared { .. })), "{shared:?}");
    fs::set_permissions(file.path(), Permissions::from_mode(0o600)).unwrap();
    fs::write(file.path(), "no key").unwrap();
    let content = file.load(ORIGIN);
    assert!(
        matches!(content, Err(KeyFileError::Content { .. })),
        "{content:?}"
    );
    KeyFile::new(folder.path().join("none/log.key"))
        .create(ORIGIN)
        .unwrap_err();
    KeyFile::new(folder.path().join("b.key"))
        .create("two words")
        .unwrap_err();
}

#[test]
fn a_state_is_locked_and_belongs_to_one_log() {
    let folder = tempfile::tempdir().unwrap();
    let state = KeyFile::new(folder.path().join("log.key")).state();
    let locked = state.lock().unwrap().unwrap();
    assert!(state.lock().unwrap().is_none(), "it is locked");
    assert_eq!(locked.read(ORIGIN).unwrap(), None);
    for size in [1, 2] {
        let checkpoint = Checkpoint::new(ORIGIN, size, Hash::EMPTY_ROOT).unwrap();
        locked.write(&checkpoint).unwrap();
        assert_eq!(locked.read(ORIGIN).unwrap(), Some(checkpoint));
    }
    locked.read("log.example.org/other").unwrap_err();
    drop(locked);
    let locked = state.lock().unwrap().unwrap();
    fs::write(state.path(), "half a st").unwrap();
    locked.read(ORIGIN).unwrap_err();
}
