use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn a_copy_of_a_keyring_is_private_and_replaces_only_the_same_keyring() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (shared, own) = (KeyringFile::new(path("shared")), KeyringFile::new(path("own")));
    let now = SystemClock::shared().now();
    shared.create(&Keyring::generate(now).unwrap()).unwrap();
    std::fs::set_permissions(shared.path(), std::fs::Permissions::from_mode(0o644)).unwrap();

    copy(&own, path("shared")).unwrap();
    assert!(
        own.load()
            .unwrap()
            .has_same_secrets(&shared.load_shared().unwrap())
    );

    // A newer version of the keyring.
    let mut newer = own.load().unwrap();
    let added = newer.add(now).unwrap();
    shared.replace(&newer).unwrap();
    copy(&own, path("shared")).unwrap();
    assert!(own.load().unwrap().wrapping_keys().any(|key| key.id == added));

    shared.replace(&Keyring::generate(now).unwrap()).unwrap();
    let error = copy(&own, path("shared")).unwrap_err();
    assert!(error.to_string().contains("another keyring"), "{error}");
    assert!(own.load().unwrap().has_same_secrets(&newer));
}
