//! Tests of the file of a keyring.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Barrier;
use std::thread;

use tempfile::TempDir;

use super::*;
use crate::clock::Timestamp;
use crate::sealing::tests::{keyring, keyring_json};

#[test]
fn a_file_is_private_written_once_replaced_whole_and_refused_if_others_can_read_it() {
    let folder = TempDir::new().unwrap();
    let file = KeyringFile::new(folder.path().join("keyring.json"));
    assert!(matches!(file.load(), Err(KeyringFileError::Missing { .. })));
    let (first, mut second) = (keyring(), keyring());
    file.create(&first).unwrap();
    let mode = fs::metadata(file.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(
        file.create(&second),
        Err(KeyringFileError::Exists { .. })
    ));
    let loaded = file.load().unwrap();
    assert_eq!(keyring_json(&loaded), keyring_json(&first));
    second.add(Timestamp::default()).unwrap();
    file.replace(&second).unwrap();
    assert_eq!(keyring_json(&file.load().unwrap()), keyring_json(&second));
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "temporary files are removed");
    fs::set_permissions(file.path(), Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(file.load(), Err(KeyringFileError::Shared { .. })));
}

#[test]
fn a_file_that_two_threads_create_at_the_same_moment_is_the_file_of_one_of_them() {
    let keyrings = [keyring(), keyring()];
    for _ in 0..50 {
        let folder = TempDir::new().unwrap();
        let file = KeyringFile::new(folder.path().join("keyring.json"));
        let start = Barrier::new(2);
        let create = |keyring| {
            start.wait();
            file.create(keyring)
        };
        let [first, second] = thread::scope(|scope| {
            let threads = keyrings
                .each_ref()
                .map(|keyring| scope.spawn(move || create(keyring)));
            threads.map(|thread| thread.join().unwrap())
        });
        let winner = match (&first, &second) {
            (Ok(()), Err(KeyringFileError::Exists { .. })) => &keyrings[0],
            (Err(KeyringFileError::Exists { .. }), Ok(())) => &keyrings[1],
            other => panic!("{other:?}"),
        };
        assert_eq!(keyring_json(&file.load().unwrap()), keyring_json(winner));
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "temporary files are removed");
    }
}

#[test]
fn a_replacement_that_fails_leaves_no_temporary_file() {
    let folder = TempDir::new().unwrap();
    let file = KeyringFile::new(folder.path().join("keyring.json"));
    fs::create_dir(file.path()).unwrap();
    file.replace(&keyring()).unwrap_err();
    file.create(&keyring()).unwrap_err();
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "temporary files are removed");
}

#[test]
fn a_file_that_is_too_large_or_no_text_is_an_error() {
    let folder = TempDir::new().unwrap();
    let file = KeyringFile::new(folder.path().join("keyring.json"));
    for content in [vec![b' '; 1024 * 1024 + 1], vec![0xff; 10]] {
        fs::write(file.path(), content).unwrap();
        fs::set_permissions(file.path(), Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(file.load(), Err(KeyringFileError::Io { .. })));
    }
}
