//! Data keys in a separate database: sealing, erasing, and retiring wrapping keys.

use std::sync::Arc;

use eventstore::sealing::{KeyStore, Keyring, SealingError};
use eventstore::{AppendError, Database, DatabaseOptions, Error, Position, Session, SystemClock, Timestamp};
use serde_json::{Value, json};

use crate::backend::{Backend, on_mysql, on_sqlite};

macro_rules! with_keys_elsewhere {
    ($($contract:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $contract() {
                super::on_sqlite(async |backend| super::$contract(backend, super::KeysOn::TheSame).await).await;
            })+
        }
        mod mysql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $contract() {
                super::on_mysql(async |backend| super::$contract(backend, super::KeysOn::TheSame).await).await;
            })+
        }
        mod mysql_with_keys_on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $contract() {
                super::on_mysql(async |backend| super::$contract(backend, super::KeysOn::Sqlite).await).await;
            })+
        }
    };
}

mod relocation;
mod rig;

use rig::{KIND, KeysDatabase, KeysOn, Log, named};

with_keys_elsewhere!(
    a_key_is_in_its_own_database_before_its_events_are_in_the_log,
    a_key_whose_append_failed_is_used_by_the_next_events,
    an_erasure_destroys_the_key_in_its_own_database,
    a_retired_wrapping_key_wraps_no_new_key,
    a_database_of_another_log_is_neither_read_nor_written,
    a_lost_key_is_an_error_and_not_erased,
    an_unreachable_database_of_keys_is_an_error_and_not_erased,
    many_readers_share_few_connections_to_the_keys,
);

async fn a_key_is_in_its_own_database_before_its_events_are_in_the_log(backend: Arc<Backend>, on: KeysOn) {
    let log = Log::new(&backend, on).await;
    let sealed = log.seal(vec![named("a", 1, "Ana")], true).await.unwrap();
    assert_eq!(sealed.new_key, None);
    // Another process reads it, so it is committed.
    let other = Database::connect(&log.keys.url, DatabaseOptions::default())
        .await
        .unwrap();
    let mut reader = other.reader().await.unwrap();
    let count = reader.query("SELECT COUNT(*) FROM subject_keys WHERE created_at > 0");
    let count: i64 = count.fetch_optional().await.unwrap().unwrap().get(0).unwrap();
    assert_eq!(count, 1);
    drop(reader);
    other.close().await;
    log.try_append(&log.sealing, sealed).await.unwrap();
    assert_eq!(log.in_log().await, 0);
    assert_eq!(log.open().await.unwrap(), [json!("Ana")]);
    backend.database.seal_with(log.sealing.clone());
    let read = backend.log.feed(Position::BEGINNING, 10).await.unwrap();
    assert_eq!(read[0].payload["name"], "Ana");
    assert!(
        backend
            .database
            .connections()
            .iter()
            .any(|(pool, _, _)| pool.starts_with("keys-")),
        "{:?}",
        backend.database.connections()
    );
}

async fn a_key_whose_append_failed_is_used_by_the_next_events(backend: Arc<Backend>, on: KeysOn) {
    let log = Log::new(&backend, on).await;
    // Both processes take the aggregate for new, and neither has appended yet.
    let [first, second] = ["Ana", "Eva"].map(|name| log.seal(vec![named("a", 1, name)], true));
    let (first, second) = tokio::join!(first, second);
    log.try_append(&log.sealing, second.unwrap()).await.unwrap();
    let late = log.try_append(&log.sealing, first.unwrap()).await;
    assert!(matches!(late, Err(AppendError::Conflict { .. })), "{late:?}");
    log.append(named("a", 2, "Isa")).await;
    assert_eq!(log.keys.count().await, 1);
    assert_eq!(log.open().await.unwrap(), [json!("Eva"), json!("Isa")]);
}

async fn an_erasure_destroys_the_key_in_its_own_database(backend: Arc<Backend>, on: KeysOn) {
    let log = Log::new(&backend, on).await;
    log.append(named("a", 1, "Ana")).await;
    log.append(named("b", 1, "Bea")).await;
    let at = log.erase_with(log.sealing.keys(), "a").await.unwrap();
    assert_eq!(log.erase_with(log.sealing.keys(), "a").await.unwrap(), at);
    assert_eq!(log.open().await.unwrap(), [Value::Null, json!("Bea")]);
    assert_eq!(log.in_log().await, 0);
    // A tombstone is final, whether the request looks for a key or takes the aggregate for new.
    for fresh in [true, false] {
        let more = log.seal(vec![named("a", 2, "Eva")], fresh).await;
        assert!(
            matches!(more, Err(SealingError::Erased { at: found }) if found == at),
            "{more:?}"
        );
    }
    let (erased, next) = log
        .sealing
        .keys()
        .erased_some(&backend.database, None)
        .await
        .unwrap();
    assert_eq!((erased.len(), next), (1, None));
    assert!(backend.database.truncate_journal().await.unwrap());
}

async fn a_retired_wrapping_key_wraps_no_new_key(backend: Arc<Backend>, on: KeysOn) {
    let log = Log::new(&backend, on).await;
    let keys = log.sealing.keys();
    // Stored before the rotation, and appended afterwards.
    let early = log.seal(vec![named("a", 1, "Ana")], true).await.unwrap();
    let mut keyring = Keyring::clone(&log.sealing.keyring());
    let old = keyring.active_id().clone();
    let new = keyring.add(Timestamp::default()).unwrap();
    keyring.activate(&new).unwrap();
    for _ in 0..2 {
        let retired = keys
            .retire(&backend.database, &new, std::slice::from_ref(&old))
            .await;
        assert!(retired.unwrap());
    }
    let back = keys
        .retire(&backend.database, &old, std::slice::from_ref(&new))
        .await;
    assert!(!back.unwrap());
    assert!(keys.is_retired(&backend.database, &old).await.unwrap());
    assert!(!keys.is_retired(&backend.database, &new).await.unwrap());
    // This process still has the older keyring.
    let late = log.seal(vec![named("b", 1, "Bea")], true).await;
    assert!(matches!(late, Err(SealingError::RetiredKey)), "{late:?}");
    assert_eq!(log.keys.count().await, 1);
    // It can go on with keys that were stored before.
    let again = log.seal(vec![named("a", 1, "Ana")], true).await;
    assert_eq!(again.unwrap().new_key, None);
    let rewrapped = keys.rewrap_some(&backend.database, &keyring, None).await.unwrap();
    assert_eq!((rewrapped.changed, rewrapped.next), (1, None));
    let usage = keys.usage(&backend.database).await.unwrap();
    assert_eq!(usage.into_iter().collect::<Vec<_>>(), [(new, 1)]);
    log.try_append(&log.sealing, early).await.unwrap();
    keyring.remove(&old).unwrap();
    keys.check(&backend.database, &keyring).await.unwrap();
    log.sealing.replace_keyring(keyring);
    log.append(named("b", 1, "Bea")).await;
    assert_eq!(log.open().await.unwrap(), [json!("Ana"), json!("Bea")]);
}

async fn a_database_of_another_log_is_neither_read_nor_written(backend: Arc<Backend>, on: KeysOn) {
    let log = Log::new(&backend, on).await;
    log.append(named("a", 1, "Ana")).await;
    let (other, empty) = (
        KeysDatabase::migrated(&backend, on).await,
        KeysDatabase::migrated(&backend, on).await,
    );
    let sql = "INSERT INTO key_store (id, log_id, keyring) SELECT 1, X'00000000000000000000000000000000', \
               X'0000000000000000000000000000000000000000000000000000000000000000'";
    other.execute(sql).await;
    let keyring = log.sealing.keyring();
    for (wrong, is_expected) in [
        (
            &other,
            (|error| matches!(error, SealingError::OtherKeys)) as fn(&SealingError) -> bool,
        ),
        (&empty, |error| matches!(error, SealingError::NoKeys)),
    ] {
        let sealing = log.with(wrong.store(log.format));
        let error = sealing
            .keys()
            .check(&backend.database, &keyring)
            .await
            .unwrap_err();
        assert!(is_expected(&error), "{error}");
        let sealed = sealing
            .seal(&backend.database, vec![named("b", 1, "Bea")], true)
            .await;
        assert!(is_expected(&sealed.unwrap_err()));
        let Err(Error::Sealing(error)) = log.erase_with(sealing.keys(), "a").await else {
            panic!("erased");
        };
        assert!(is_expected(&error), "{error}");
        let error = log.open_with(&sealing).await.unwrap_err();
        assert!(matches!(error, SealingError::KeyMissing { .. }), "{error}");
        assert_eq!(wrong.count().await, 0);
    }
    // The right database, with the keyring of another log.
    let error = log.sealing.keys().check(&backend.database, &rig::keyring()).await;
    assert!(matches!(error, Err(SealingError::OtherKeyring)), "{error:?}");
    log.keys.execute("UPDATE key_store SET keyring = X'0000000000000000000000000000000000000000000000000000000000000000'").await;
    let error = log.sealing.keys().check(&backend.database, &keyring).await;
    assert!(matches!(error, Err(SealingError::OtherKeyring)), "{error:?}");
}

async fn a_lost_key_is_an_error_and_not_erased(backend: Arc<Backend>, on: KeysOn) {
    let log = Log::new(&backend, on).await;
    log.append(named("a", 1, "Ana")).await;
    log.keys.execute("DELETE FROM subject_keys").await;
    backend.database.seal_with(log.sealing.clone());
    let error = backend.log.feed(Position::BEGINNING, 10).await.unwrap_err();
    assert!(error.to_string().contains("never held its key"), "{error}");
}

async fn an_unreachable_database_of_keys_is_an_error_and_not_erased(backend: Arc<Backend>, on: KeysOn) {
    let log = Log::new(&backend, on).await;
    log.append(named("a", 1, "Ana")).await;
    backend.database.seal_with(log.sealing.clone());
    log.keys.database.close().await;
    let error = backend.log.feed(Position::BEGINNING, 10).await.unwrap_err();
    assert!(matches!(error, Error::Keys(_)), "{error:?}");
    assert!(error.to_string().starts_with("the keys' database: "), "{error}");
    assert!(!error.is_erased() && !error.is_of_data());
    let error = log.seal(vec![named("b", 1, "Bea")], true).await.unwrap_err();
    assert!(matches!(error, SealingError::Store(Error::Keys(_))), "{error:?}");
    let error = log.erase_with(log.sealing.keys(), "a").await.unwrap_err();
    assert!(matches!(error, Error::Keys(_)), "{error:?}");
    // Operations that need no key still work.
    assert_eq!(log.stored().await.len(), 1);
}

async fn many_readers_share_few_connections_to_the_keys(backend: Arc<Backend>, on: KeysOn) {
    let log = Log::new(&backend, on).await;
    log.append(named("a", 1, "Ana")).await;
    let options = DatabaseOptions {
        connections: 1,
        ..DatabaseOptions::default()
    };
    let few = Database::connect(&log.keys.url, options).await.unwrap();
    let store = KeyStore::elsewhere(log.format.log_id().unwrap(), few.clone(), SystemClock::shared());
    backend.database.seal_with(log.with(store));
    // Each reader holds a connection to the log while it waits for the keys.
    let reads = (0..32).map(|_| {
        let (database, log) = (backend.database.clone(), &backend.log);
        async move {
            let mut snapshot = database.snapshot().await.unwrap();
            let read = eventstore::EventLog::events_of(&mut snapshot, KIND, &["a"], Position::BEGINNING);
            assert_eq!(read.await.unwrap()[0].payload["name"], "Ana");
            snapshot.rollback().await.unwrap();
            log.feed(Position::BEGINNING, 1).await.unwrap();
        }
    });
    futures::future::join_all(reads).await;
    few.close().await;
}
