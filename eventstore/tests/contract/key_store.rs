//! The stored data keys: adding, erasing, and wrapping them again.

use std::sync::Arc;

use eventstore::sealing::{
    AddKeyError, DataKey, KeyStore, Keyring, LogId, Rewrapped, SealError, StoredKey, Subject,
};
use eventstore::{Session, Timestamp};

use crate::backend::Backend;

on_every_backend!(
    the_first_key_of_an_aggregate_stays_its_key,
    an_erased_key_never_comes_back,
    an_aggregate_without_a_key_can_be_erased,
    all_keys_can_be_wrapped_again_while_others_are_added_and_erased,
    keys_that_do_not_open_are_named_and_not_changed,
    a_key_that_does_not_open_does_not_stop_the_rotation_of_the_others,
    a_key_that_is_added_during_its_erasure_is_erased,
    an_id_that_is_too_long_is_an_error_and_leaves_no_row,
);

const LOG: LogId = LogId([7; 16]);
const KIND: &str = "thing";

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn store() -> KeyStore {
    KeyStore::new(LOG)
}

async fn add(backend: &Backend, keyring: &Keyring, id: &str) -> (DataKey, Result<(), AddKeyError>) {
    let (store, key) = (store(), DataKey::random().unwrap());
    let owner = store.owner(KIND, id);
    let wrapped = key.wrap(keyring, &owner).unwrap();
    let mut writer = backend.database.writer().await.unwrap();
    let added = store.add(&mut writer, &owner, &wrapped, at(1)).await;
    (key, added)
}

async fn added(backend: &Backend, keyring: &Keyring, id: &str) -> DataKey {
    let (key, added) = add(backend, keyring, id).await;
    added.unwrap();
    key
}

/// Wraps all keys again.
async fn rewrap(backend: &Backend, keyring: &Keyring, mut after: Option<Subject>) -> Rewrapped {
    let mut all = Rewrapped::default();
    loop {
        let some = store()
            .rewrap_some(&backend.database, keyring, after)
            .await
            .unwrap();
        all.changed += some.changed;
        all.failed.extend(some.failed);
        after = some.next;
        if after.is_none() {
            return all;
        }
    }
}

async fn erase(backend: &Backend, id: &str, now: Timestamp) -> Timestamp {
    let mut transaction = backend.database.begin().await.unwrap();
    let erased = store().erase(&mut transaction, KIND, id, now).await.unwrap();
    transaction.commit().await.unwrap();
    erased
}

async fn find(backend: &Backend, id: &str) -> Option<StoredKey> {
    let mut reader = backend.database.reader().await.unwrap();
    let mut found = store().find(&mut reader, KIND, &[id, "nobody"]).await.unwrap();
    assert!(found.len() <= 1);
    found.remove(id)
}

fn thing(id: &str) -> Subject {
    Subject {
        aggregate_type: KIND.to_owned(),
        aggregate_id: id.to_owned(),
    }
}

async fn migrated(backend: &Backend) -> Keyring {
    backend.migrate().await;
    Keyring::generate(at(0)).unwrap()
}

async fn the_first_key_of_an_aggregate_stays_its_key(backend: Arc<Backend>) {
    let keyring = migrated(&backend).await;
    let key = added(&backend, &keyring, "a").await;
    let (_, second) = add(&backend, &keyring, "a").await;
    assert!(matches!(second, Err(AddKeyError::OtherKey)), "{second:?}");
    let Some(StoredKey::Present(found)) = find(&backend, "a").await else {
        panic!("no key");
    };
    let opened = found.unwrap(&keyring, &store().owner(KIND, "a")).unwrap();
    assert_eq!(opened.id, key.id);
    // A retry, although the key was wrapped again meanwhile.
    let store = store();
    let owner = store.owner(KIND, "a");
    let retried = key.wrap(&keyring, &owner).unwrap();
    let mut writer = backend.database.writer().await.unwrap();
    store.add(&mut writer, &owner, &retried, at(2)).await.unwrap();
    drop(writer);
    assert_eq!(find(&backend, "a").await, Some(StoredKey::Present(found)));
    assert_eq!(find(&backend, "b").await, None);
}

async fn an_erased_key_never_comes_back(backend: Arc<Backend>) {
    let mut keyring = migrated(&backend).await;
    added(&backend, &keyring, "a").await;
    let Some(StoredKey::Present(copy)) = find(&backend, "a").await else {
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
    let (_, refused) = add(&backend, &keyring, "a").await;
    assert!(
        matches!(refused, Err(AddKeyError::Erased { at: time }) if time == at(5)),
        "{refused:?}"
    );
    let store = store();
    let mut writer = backend.database.writer().await.unwrap();
    let again = store
        .add(&mut writer, &store.owner(KIND, "a"), &copy, at(9))
        .await;
    assert!(
        matches!(again, Err(AddKeyError::Erased { at: time }) if time == at(5)),
        "{again:?}"
    );
    drop(writer);
    let added = keyring.add(at(9)).unwrap();
    keyring.activate(&added).unwrap();
    assert_eq!(rewrap(&backend, &keyring, None).await, Rewrapped::default());
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
    let (_, refused) = add(&backend, &keyring, "a").await;
    assert!(
        matches!(refused, Err(AddKeyError::Erased { at: time }) if time == at(5)),
        "{refused:?}"
    );
    assert_eq!(find(&backend, "a").await, Some(StoredKey::Erased(at(5))));
}

async fn all_keys_can_be_wrapped_again_while_others_are_added_and_erased(backend: Arc<Backend>) {
    let mut keyring = migrated(&backend).await;
    let old = keyring.active_id().clone();
    let ids: Vec<String> = (0..450).map(|number| format!("aggregate-{number:04}")).collect();
    for id in &ids {
        added(&backend, &keyring, id).await;
    }
    let before = keyring.clone();
    let new = keyring.add(at(2)).unwrap();
    keyring.activate(&new).unwrap();

    let store = store();
    let first = store
        .rewrap_some(&backend.database, &keyring, None)
        .await
        .unwrap();
    assert_eq!((first.changed, first.failed.len()), (200, 0));
    let next = first.next.unwrap();
    assert_eq!(
        (next.aggregate_type.as_str(), next.aggregate_id.as_str()),
        (KIND, "aggregate-0199")
    );
    // Another process still has the old active key. The rotation has already passed the first of these two
    // aggregates.
    added(&backend, &before, "aaa").await;
    added(&backend, &before, "late").await;
    let erasing = async {
        for id in ids.iter().step_by(100) {
            erase(&backend, id, at(7)).await;
        }
    };
    let ((), rest) = tokio::join!(erasing, rewrap(&backend, &keyring, Some(next)));
    assert!((248..=251).contains(&rest.changed), "{}", rest.changed);
    assert_eq!(rest.failed, []);
    let usage = store.usage(&backend.database).await.unwrap();
    assert_eq!(usage.get(&old), Some(&1));
    assert_eq!(rewrap(&backend, &keyring, None).await.changed, 1);

    let usage = store.usage(&backend.database).await.unwrap();
    assert_eq!(usage.into_iter().collect::<Vec<_>>(), [(new, 447)]);
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
    added(&backend, &keyring, "a").await;
    let before = find(&backend, "a").await;
    // A keyring that has lost the key, and a keyring of another log.
    let old = keyring.active_id().clone();
    let added = keyring.add(at(2)).unwrap();
    keyring.activate(&added).unwrap();
    keyring.remove(&old).unwrap();
    for keyring in [keyring, Keyring::generate(at(3)).unwrap()] {
        let result = rewrap(&backend, &keyring, None).await;
        let failed = (thing("a"), SealError::UnknownWrappingKey(old.clone()));
        assert_eq!((result.changed, result.failed), (0, vec![failed]));
        assert_eq!(find(&backend, "a").await, before);
    }
}

async fn a_key_that_does_not_open_does_not_stop_the_rotation_of_the_others(backend: Arc<Backend>) {
    let mut keyring = migrated(&backend).await;
    for id in ["a", "b", "c", "d"] {
        added(&backend, &keyring, id).await;
    }
    // An aggregate of another type with the same id.
    let store = store();
    let owner = store.owner("thing2", "d");
    let other = DataKey::random().unwrap().wrap(&keyring, &owner).unwrap();
    let mut writer = backend.database.writer().await.unwrap();
    store.add(&mut writer, &owner, &other, at(1)).await.unwrap();
    drop(writer);
    backend
        .execute("UPDATE subject_keys SET wrapped = key_id WHERE aggregate_id = 'a'")
        .await;
    backend
        .execute("UPDATE subject_keys SET wrapping_key = NULL WHERE aggregate_id = 'c'")
        .await;
    let old = keyring.active_id().clone();
    let new = keyring.add(at(2)).unwrap();
    keyring.activate(&new).unwrap();
    let failed = ["a", "c"].map(|id| (thing(id), SealError::WrongKey)).to_vec();
    let result = rewrap(&backend, &keyring, None).await;
    assert_eq!((result.changed, result.failed), (3, failed.clone()));
    // A rotation that begins again reports them again.
    let result = rewrap(&backend, &keyring, None).await;
    assert_eq!((result.changed, result.failed), (0, failed));
    let result = rewrap(&backend, &keyring, Some(thing("c"))).await;
    assert_eq!(result, Rewrapped::default());
    backend
        .execute("UPDATE subject_keys SET wrapped = key_id WHERE aggregate_id = 'd'")
        .await;
    keyring.activate(&old).unwrap();
    let result = rewrap(&backend, &keyring, Some(thing("d"))).await;
    let second = Subject {
        aggregate_type: "thing2".to_owned(),
        ..thing("d")
    };
    assert_eq!(result.failed, [(second, SealError::WrongKey)]);
}

async fn a_key_that_is_added_during_its_erasure_is_erased(backend: Arc<Backend>) {
    let keyring = migrated(&backend).await;
    for round in 0..100 {
        let id = format!("aggregate-{round}");
        // Without a transaction, so other statements come between the statements of the erasure.
        let erasing = async {
            let mut writer = backend.database.writer().await.unwrap();
            store().erase(&mut writer, KIND, &id, at(5)).await
        };
        let (erased, (_, added)) = tokio::join!(erasing, add(&backend, &keyring, &id));
        assert_eq!(erased.unwrap(), at(5));
        assert!(
            matches!(added, Ok(()) | Err(AddKeyError::Erased { .. })),
            "{added:?}"
        );
        assert_eq!(find(&backend, &id).await, Some(StoredKey::Erased(at(5))));
    }
}

async fn an_id_that_is_too_long_is_an_error_and_leaves_no_row(backend: Arc<Backend>) {
    let keyring = migrated(&backend).await;
    let (longest, too_long) = ("a".repeat(64), "a".repeat(65));
    let (_, refused) = add(&backend, &keyring, &too_long).await;
    assert!(matches!(refused, Err(AddKeyError::Store(_))), "{refused:?}");
    let mut writer = backend.database.writer().await.unwrap();
    let erased = store().erase(&mut writer, KIND, &too_long, at(5)).await;
    erased.unwrap_err();
    drop(writer);
    assert_eq!(find(&backend, &longest).await, None);
    assert_eq!(find(&backend, &too_long).await, None);
    added(&backend, &keyring, &longest).await;
}
