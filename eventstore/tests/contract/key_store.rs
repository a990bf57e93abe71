//! The stored data keys: adding, erasing, and wrapping them again.

use std::sync::Arc;

use eventstore::sealing::{DataKey, KeyStore, Keyring, LogId, RewrapError, SealError, StoredKey, tables};
use eventstore::{Session, Timestamp};

use crate::backend::Backend;

on_every_backend!(
    the_first_key_of_an_aggregate_stays_its_key,
    an_erased_key_never_comes_back,
    an_aggregate_without_a_key_can_be_erased,
    all_keys_can_be_wrapped_again_while_others_are_added_and_erased,
    keys_that_do_not_open_are_named_and_not_changed,
);

const LOG: LogId = LogId([7; 16]);
const KIND: &str = "thing";

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn store(backend: &Backend) -> KeyStore {
    KeyStore::new(backend.database.clone(), LOG)
}

async fn add(backend: &Backend, keyring: &Keyring, id: &str) -> (DataKey, StoredKey) {
    let (store, key) = (store(backend), DataKey::random().unwrap());
    let owner = store.owner(KIND, id);
    let wrapped = key.wrap(keyring, &owner).unwrap();
    let mut writer = backend.database.writer().await.unwrap();
    let stored = store.add(&mut writer, &owner, &wrapped, at(1)).await.unwrap();
    (key, stored)
}

async fn erase(backend: &Backend, id: &str, now: Timestamp) -> Timestamp {
    let store = store(backend);
    let mut transaction = backend.database.begin().await.unwrap();
    let erased = store
        .erase(&mut transaction, &store.owner(KIND, id), now)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    erased
}

async fn find(backend: &Backend, id: &str) -> Option<StoredKey> {
    let mut reader = backend.database.reader().await.unwrap();
    let mut found = store(backend)
        .find(&mut reader, KIND, &[id, "nobody"])
        .await
        .unwrap();
    assert!(found.len() <= 1);
    found.remove(id)
}

async fn migrated(backend: &Backend) -> Keyring {
    backend.migrate_with(&[tables(5)]).await;
    Keyring::generate(at(0)).unwrap()
}

async fn the_first_key_of_an_aggregate_stays_its_key(backend: Arc<Backend>) {
    let keyring = migrated(&backend).await;
    let (key, first) = add(&backend, &keyring, "a").await;
    let (_, second) = add(&backend, &keyring, "a").await;
    assert_eq!(first, second);
    let Some(StoredKey::Present(found)) = find(&backend, "a").await else {
        panic!("no key");
    };
    let opened = found.unwrap(&keyring, &store(&backend).owner(KIND, "a")).unwrap();
    assert_eq!(opened.id, key.id);
    assert_eq!(find(&backend, "b").await, None);
}

async fn an_erased_key_never_comes_back(backend: Arc<Backend>) {
    let mut keyring = migrated(&backend).await;
    let (_, present) = add(&backend, &keyring, "a").await;
    let StoredKey::Present(copy) = present else {
        panic!("no key");
    };
    assert_eq!(erase(&backend, "a", at(5)).await, at(5));
    assert_eq!(
        erase(&backend, "a", at(9)).await,
        at(5),
        "a second erasure changes nothing"
    );
    let gone = Some(StoredKey::Erased(at(5)));
    // A retry, a copy of the row, and a rotation.
    add(&backend, &keyring, "a").await;
    let store = store(&backend);
    let mut writer = backend.database.writer().await.unwrap();
    let again = store
        .add(&mut writer, &store.owner(KIND, "a"), &copy, at(9))
        .await;
    assert_eq!(Some(again.unwrap()), gone);
    drop(writer);
    let added = keyring.add(at(9)).unwrap();
    keyring.activate(&added).unwrap();
    assert_eq!(store.rewrap_some(&keyring).await.unwrap(), 0);
    assert_eq!(find(&backend, "a").await, gone);
    let hex = copy
        .wrapped
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02X}"));
    let mut reader = backend.database.reader().await.unwrap();
    let left = reader
        .query("SELECT COUNT(*) FROM subject_keys WHERE wrapped IS NOT NULL OR HEX(wrapped) = ?")
        .bind(hex.as_str())
        .fetch_optional()
        .await
        .unwrap();
    assert_eq!(left.unwrap().get::<i64, _>(0).unwrap(), 0);
}

async fn an_aggregate_without_a_key_can_be_erased(backend: Arc<Backend>) {
    let keyring = migrated(&backend).await;
    assert_eq!(erase(&backend, "a", at(5)).await, at(5));
    let (_, stored) = add(&backend, &keyring, "a").await;
    assert_eq!(stored, StoredKey::Erased(at(5)));
}

async fn all_keys_can_be_wrapped_again_while_others_are_added_and_erased(backend: Arc<Backend>) {
    let mut keyring = migrated(&backend).await;
    let old = keyring.active_id().clone();
    let ids: Vec<String> = (0..450).map(|number| format!("aggregate-{number:04}")).collect();
    for id in &ids {
        add(&backend, &keyring, id).await;
    }
    let before = keyring.clone();
    let new = keyring.add(at(2)).unwrap();
    keyring.activate(&new).unwrap();

    let store = store(&backend);
    let mut wrapped = store.rewrap_some(&keyring).await.unwrap();
    assert!(
        (1..450).contains(&wrapped),
        "a rotation stops between batches: {wrapped}"
    );
    // Another process still has the old active key.
    add(&backend, &before, "late").await;
    let erasing = async {
        for id in ids.iter().step_by(100) {
            erase(&backend, id, at(7)).await;
        }
    };
    let rotating = async {
        loop {
            match store.rewrap_some(&keyring).await.unwrap() {
                0 => break,
                more => wrapped += more,
            }
        }
    };
    tokio::join!(erasing, rotating);
    assert!(wrapped >= 446, "{wrapped}");

    let usage = store.usage().await.unwrap();
    assert_eq!(usage.into_iter().collect::<Vec<_>>(), [(new, 446)]);
    keyring.remove(&old).unwrap();
    for (number, id) in ids.iter().enumerate() {
        match find(&backend, id).await.unwrap() {
            StoredKey::Present(key) => {
                key.unwrap(&keyring, &store.owner(KIND, id)).unwrap();
                assert_ne!(number % 100, 0);
            }
            StoredKey::Erased(time) => assert_eq!((number % 100, time), (0, at(7))),
        }
    }
}

async fn keys_that_do_not_open_are_named_and_not_changed(backend: Arc<Backend>) {
    let mut keyring = migrated(&backend).await;
    add(&backend, &keyring, "a").await;
    let before = find(&backend, "a").await;
    // A keyring that has lost the key, and a keyring of another log.
    let old = keyring.active_id().clone();
    let added = keyring.add(at(2)).unwrap();
    keyring.activate(&added).unwrap();
    keyring.remove(&old).unwrap();
    for keyring in [keyring, Keyring::generate(at(3)).unwrap()] {
        let failed = store(&backend).rewrap_some(&keyring).await.unwrap_err();
        let RewrapError::Key {
            aggregate_id, error, ..
        } = failed
        else {
            panic!("{failed}");
        };
        assert_eq!(
            (aggregate_id.as_str(), error),
            ("a", SealError::UnknownWrappingKey(old.clone()))
        );
        assert_eq!(find(&backend, "a").await, before);
    }
}
