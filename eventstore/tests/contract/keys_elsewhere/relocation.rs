//! The place of the keys: chosen when the log is sealed, and changed by a move.

use std::sync::Arc;

use eventstore::schema::{self, SchemaError};
use eventstore::sealing::{Keyring, MoveError, SealingError, StoredKey};
use eventstore::{AppendError, LogFormat, SystemClock, Timestamp};
use serde_json::{Value, json};

use super::rig::{KIND, KeysDatabase, KeysOn, Log, named};
use crate::backend::{Backend, on_mysql, on_sqlite};

with_keys_elsewhere!(
    keys_move_there_and_back_and_open_the_same_events,
    a_move_keeps_erasures_of_both_places,
    a_move_never_replaces_another_key,
    an_erasure_reaches_the_copy_that_an_interrupted_move_has_left,
    a_move_does_not_accept_an_empty_database_in_place_of_the_keys,
    an_append_for_another_place_of_the_keys_is_rejected,
    a_log_is_sealed_with_keys_that_an_interrupted_process_reserved,
    a_database_has_a_log_or_keys_but_not_both,
);

async fn keys_move_there_and_back_and_open_the_same_events(backend: Arc<Backend>, on: KeysOn) {
    let log = Log::new(&backend, on).await;
    // More than one page.
    for number in 0..203 {
        let stored = log.seal(vec![named(&format!("{number}"), 1, "x")], true).await;
        assert_eq!(stored.unwrap().new_key, None);
    }
    log.append(named("a", 1, "Ana")).await;
    log.append(named("b", 1, "Bea")).await;
    log.erase_with(log.sealing.keys(), "b").await.unwrap();
    let (there, here) = (log.sealing.keys().clone(), log.in_log_store());
    let keyring = log.sealing.keyring();
    let mut newer = Keyring::clone(&keyring);
    let added = newer.add(Timestamp::default()).unwrap();
    newer.activate(&added).unwrap();
    there
        .retire(
            &backend.database,
            &added,
            std::slice::from_ref(keyring.active_id()),
        )
        .await
        .unwrap();
    let older = log.move_keys(&there, &here).await;
    assert!(
        matches!(older, Err(MoveError::Sealing(SealingError::RetiredKey))),
        "{older:?}"
    );
    log.sealing.replace_keyring(newer);
    for _ in 0..2 {
        for (from, to, in_log, elsewhere) in [(&there, &here, 205, 0), (&here, &there, 0, 205)] {
            assert_eq!(log.move_keys(from, to).await.unwrap(), 205);
            assert_eq!((log.in_log().await, log.keys.count().await), (in_log, elsewhere));
            assert_eq!(LogFormat::read(&backend.database).await.unwrap(), to.format());
            let sealing = log.with(to.clone());
            to.check(&backend.database, &sealing.keyring()).await.unwrap();
            assert_eq!(
                log.open_with(&sealing).await.unwrap(),
                [json!("Ana"), Value::Null]
            );
            // A process that still uses the old place stops.
            let stale = log.open_with(&log.with(from.clone())).await.unwrap_err();
            assert!(matches!(stale, SealingError::KeyMissing { .. }), "{stale}");
            assert!(
                to.is_retired(&backend.database, keyring.active_id())
                    .await
                    .unwrap()
            );
            // Repeating the move changes nothing.
            assert_eq!(log.move_keys(from, to).await.unwrap(), 0);
        }
    }
}

async fn an_erasure_reaches_the_copy_that_an_interrupted_move_has_left(backend: Arc<Backend>, on: KeysOn) {
    let log = Log::new(&backend, on).await;
    log.append(named("a", 1, "Ana")).await;
    let left = format!(
        "INSERT INTO subject_keys (aggregate_id, aggregate_type, key_id, wrapping_key, wrapped, created_at) \
         VALUES ('a', '{KIND}', X'{:032}', '0123456789abcdef', X'00', 0)",
        0
    );
    backend.execute(&left).await;
    assert!(log.sealing.keys().has_left_keys(&backend.database).await.unwrap());
    log.erase_with(log.sealing.keys(), "a").await.unwrap();
    let with_key = "SELECT COUNT(*) FROM subject_keys WHERE wrapped IS NOT NULL";
    assert_eq!(backend.number(with_key).await, 0);
}

async fn a_move_does_not_accept_an_empty_database_in_place_of_the_keys(backend: Arc<Backend>, on: KeysOn) {
    let log = Log::new(&backend, on).await;
    log.append(named("a", 1, "Ana")).await;
    let wrong = KeysDatabase::migrated(&backend, on).await;
    let store = wrong.store(log.format);
    let moved = log.move_keys(&log.in_log_store(), &store).await;
    assert!(
        matches!(
            moved,
            Err(MoveError::Sealing(SealingError::Store(_) | SealingError::NoKeys))
        ),
        "{moved:?}"
    );
    let opened = store.check(&backend.database, &log.sealing.keyring()).await;
    assert!(opened.is_err(), "the database must not belong to the log");
}

async fn a_move_keeps_erasures_of_both_places(backend: Arc<Backend>, on: KeysOn) {
    let log = Log::new(&backend, on).await;
    for id in ["a", "b", "c"] {
        log.append(named(id, 1, id)).await;
    }
    let (there, here) = (log.sealing.keys().clone(), log.in_log_store());
    // An older copy of the keys, as a restored backup of the log has it.
    log.move_keys(&there, &here).await.unwrap();
    log.erase_with(&here, "b").await.unwrap();
    let keys: Vec<(String, StoredKey)> = {
        let mut reader = backend.database.reader().await.unwrap();
        let found = here.find(&mut reader, KIND, &["a", "b", "c"]).await.unwrap();
        found.into_iter().collect()
    };
    log.move_keys(&here, &there).await.unwrap();
    log.erase_with(&there, "a").await.unwrap();
    backend.execute("UPDATE log_format SET format = 2").await;
    for (id, key) in &keys {
        let mut writer = backend.database.writer().await.unwrap();
        match key {
            StoredKey::Present(key) => {
                let owner = here.owner(KIND, id);
                here.add(&mut writer, &owner, key, Timestamp::default())
                    .await
                    .unwrap();
            }
            StoredKey::Erased(at) => {
                here.erase(&mut writer, KIND, id, *at).await.unwrap();
            }
        }
    }
    assert!(there.has_left_keys(&backend.database).await.unwrap());
    log.move_keys(&here, &there).await.unwrap();
    assert!(!there.has_left_keys(&backend.database).await.unwrap());
    let names = log.open().await.unwrap();
    assert_eq!(names, [Value::Null, Value::Null, json!("c")]);
    // The reverse: the new place has a key that was erased in the old place.
    backend.execute("UPDATE log_format SET format = 2").await;
    log.erase_with(&here, "c").await.unwrap();
    log.move_keys(&here, &there).await.unwrap();
    assert_eq!(log.open().await.unwrap(), [Value::Null, Value::Null, Value::Null]);
}

async fn a_move_never_replaces_another_key(backend: Arc<Backend>, on: KeysOn) {
    let log = Log::new(&backend, on).await;
    log.append(named("a", 1, "Ana")).await;
    let here = log.in_log_store();
    let foreign = log.with(here.clone());
    let sealed = foreign
        .seal(&backend.database, vec![named("a", 1, "Eva")], true)
        .await
        .unwrap();
    let mut writer = backend.database.writer().await.unwrap();
    let key = sealed.new_key.unwrap();
    here.add(&mut writer, &here.owner(KIND, "a"), &key, Timestamp::default())
        .await
        .unwrap();
    drop(writer);
    let refused = log.move_keys(log.sealing.keys(), &here).await;
    assert!(
        matches!(&refused, Err(MoveError::Differs(subject)) if subject.aggregate_id == "a"),
        "{refused:?}"
    );
    assert_eq!(log.open().await.unwrap(), [json!("Ana")]);
}

async fn an_append_for_another_place_of_the_keys_is_rejected(backend: Arc<Backend>, on: KeysOn) {
    let log = Log::new(&backend, on).await;
    log.append(named("a", 1, "Ana")).await;
    let stale = log.with(log.in_log_store());
    let sealed = stale
        .seal(&backend.database, vec![named("b", 1, "Bea")], true)
        .await;
    let late = log.try_append(&stale, sealed.unwrap()).await;
    assert!(matches!(late, Err(AppendError::OtherFormat)), "{late:?}");
    assert_eq!(log.in_log().await, 0);
    // And the reverse, although the key is stored.
    let sealed = log.seal(vec![named("c", 1, "Caro")], true).await.unwrap();
    log.move_keys(log.sealing.keys(), &log.in_log_store())
        .await
        .unwrap();
    let late = log.try_append(&log.sealing, sealed).await;
    assert!(matches!(late, Err(AppendError::OtherFormat)), "{late:?}");
    assert_eq!(log.stored().await.len(), 1);
}

async fn a_log_is_sealed_with_keys_that_an_interrupted_process_reserved(backend: Arc<Backend>, on: KeysOn) {
    let log = Log::new(&backend, on).await;
    let keyring = log.sealing.keyring();
    // As if the process had been killed before the log was sealed.
    let clear = "UPDATE log_format SET format = 1, log_id = NULL, keyring = NULL, claims = 1";
    backend.execute(clear).await;
    let seal = async |keyring: &Keyring| {
        LogFormat::seal_if_empty(&backend.database, keyring, 1, Some(&log.keys.database)).await
    };
    let refused = seal(&super::rig::keyring()).await.unwrap_err();
    assert!(
        refused.to_string().contains("belongs to another log"),
        "{refused}"
    );
    assert_eq!(
        LogFormat::read(&backend.database).await.unwrap(),
        LogFormat::Clear
    );
    assert_eq!(seal(&keyring).await.unwrap(), log.format);
    // With keys, the database belongs to a log that is in use.
    log.append(named("a", 1, "Ana")).await;
    backend.execute(clear).await;
    backend.execute("UPDATE log_head SET position = 0").await;
    let refused = seal(&keyring).await.unwrap_err();
    assert!(
        refused.to_string().contains("belongs to another log"),
        "{refused}"
    );
}

async fn a_database_has_a_log_or_keys_but_not_both(backend: Arc<Backend>, on: KeysOn) {
    let keys = KeysDatabase::migrated(&backend, on).await;
    let clock = SystemClock::shared();
    let refused = schema::migrate(&keys.database, Arc::clone(&clock), "test", &[]).await;
    assert!(
        matches!(refused, Err(SchemaError::OtherUse { .. })),
        "{refused:?}"
    );
    backend.migrate().await;
    let refused = schema::migrate_keys(&backend.database, clock, "test").await;
    assert!(
        matches!(refused, Err(SchemaError::OtherUse { .. })),
        "{refused:?}"
    );
    let refused = schema::check_keys(&backend.database).await;
    assert!(
        matches!(refused, Err(SchemaError::OtherUse { .. })),
        "{refused:?}"
    );
    let empty = KeysDatabase::empty(&backend, on).await;
    let behind = schema::check_keys(&empty.database).await;
    assert!(
        matches!(behind, Err(SchemaError::Behind { found: 0, .. })),
        "{behind:?}"
    );
}
