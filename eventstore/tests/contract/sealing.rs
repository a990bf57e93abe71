//! Events that are sealed, appended, read from the log, and opened.

use std::collections::BTreeSet;
use std::sync::Arc;

use eventstore::sealing::{
    DataKey, DeclarePersonalData, Keyring, LogId, PersonalData, SealError, SealedEvents, Sealing,
    SealingError,
};
use eventstore::{
    Append, AppendError, Appended, Connection, EventFilter, EventLog, LogFormat, NewEvent, Position,
    RecordedEvent, Timestamp, verify,
};
use serde_json::{Value, json};

use crate::backend::Backend;

/// Version of the claim rules.
const CLAIMS: i64 = 1;

on_every_backend!(
    sealed_events_are_stored_without_personal_data_and_open_again,
    each_version_is_sealed_with_a_version_of_its_own,
    an_erasure_leaves_the_log_as_it_is_and_its_data_unreadable,
    an_event_without_its_key_is_an_error_and_not_erased,
    events_from_before_sealing_are_read_as_they_are,
    ciphertexts_that_were_exchanged_do_not_open,
    a_database_with_a_sealing_opens_what_it_reads,
    of_two_processes_that_seal_the_first_event_at_once_only_one_appends,
    a_key_is_stored_with_its_events_or_not_at_all,
    without_a_keyring_sealed_events_are_an_error_for_every_reader,
    an_altered_event_concerns_its_own_aggregate_alone,
    a_log_recognizes_its_keyring_before_it_has_a_key,
    no_append_uses_a_retired_wrapping_key,
    the_keys_of_many_aggregates_are_found_whatever_their_ids_are,
);

const KIND: &str = "thing";

struct Names;

impl DeclarePersonalData for Names {
    fn of(&self, event_type: &str) -> Option<PersonalData> {
        (event_type == "Named").then_some(PersonalData {
            members: &["name"],
            versions: &[("1.0", "2.0"), ("1.1", "2.1")],
        })
    }
}

fn event(id: &str, sequence: u64, event_type: &str, payload: Value) -> NewEvent {
    NewEvent {
        aggregate_type: KIND.to_owned(),
        aggregate_id: id.to_owned(),
        sequence,
        event_type: event_type.to_owned(),
        event_version: "1.0".to_owned(),
        payload,
        metadata: json!({}),
    }
}

fn named(id: &str, sequence: u64, name: &str) -> NewEvent {
    event(
        id,
        sequence,
        "Named",
        json!({"type": "Named", "name": name, "length": name.len()}),
    )
}

struct Log<'b> {
    backend: &'b Backend,
    sealing: Sealing,
}

fn keyring() -> Keyring {
    Keyring::generate(Timestamp::default()).unwrap()
}

/// The sealing of a log that has no events yet.
pub(crate) fn sealing_of_a_new_log() -> Sealing {
    Sealing::new(keyring(), LogId::random().unwrap(), CLAIMS, Names)
}

impl<'b> Log<'b> {
    /// A new log, which is sealed.
    async fn new(backend: &'b Backend) -> Self {
        backend.migrate().await;
        let keyring = keyring();
        let format = LogFormat::seal_if_empty(&backend.database, &keyring, CLAIMS, None).await;
        Self::of(backend, format.unwrap(), keyring)
    }

    fn of(backend: &'b Backend, format: LogFormat, keyring: Keyring) -> Self {
        let log = format.log_id().unwrap();
        Self {
            backend,
            sealing: Sealing::new(keyring, log, CLAIMS, Names),
        }
    }

    async fn seal(&self, events: Vec<NewEvent>, fresh: bool) -> Result<SealedEvents, SealingError> {
        self.sealing.seal(&self.backend.database, events, fresh).await
    }

    async fn try_append(&self, sealed: SealedEvents) -> Result<Appended, AppendError> {
        let append = Append::new(sealed.events, Vec::new()).unwrap();
        let queue = self.backend.queue();
        let appended = queue
            .append(append.sealed(self.sealing.keys(), sealed.new_key))
            .await;
        queue.shutdown().await;
        appended
    }

    async fn append(&self, events: Vec<NewEvent>) {
        let fresh = events[0].sequence == 1;
        let sealed = self.seal(events, fresh).await.unwrap();
        self.try_append(sealed).await.unwrap();
    }

    async fn stored(&self) -> Vec<RecordedEvent> {
        let log = &self.backend.log;
        log.stored_feed(Position::BEGINNING, 100).await.unwrap()
    }

    async fn open(&self, events: Vec<RecordedEvent>) -> Result<Vec<RecordedEvent>, SealingError> {
        let mut reader = self.backend.database.reader().await.unwrap();
        self.sealing.open(&mut reader, events).await
    }

    async fn erase(&self, id: &str) -> Timestamp {
        let mut writer = self.backend.database.writer().await.unwrap();
        let now = Timestamp::from_micros(5);
        self.sealing
            .keys()
            .erase(&mut writer, KIND, id, now)
            .await
            .unwrap()
    }
}

async fn sealed_events_are_stored_without_personal_data_and_open_again(backend: Arc<Backend>) {
    let log = Log::new(&backend).await;
    let closed = event("a", 3, "Closed", json!({"type": "Closed"}));
    log.append(vec![named("a", 1, "Ana López")]).await;
    log.append(vec![named("a", 2, "Ana Ruiz"), closed.clone()]).await;
    let stored = log.stored().await;
    for event in &stored[..2] {
        assert_eq!(event.event_version, "2.0");
        assert!(!event.payload.to_string().contains("Ana"), "{}", event.payload);
    }
    let opened = log.open(stored.clone()).await.unwrap();
    let read: Vec<NewEvent> = opened.iter().map(|opened| opened.clone().into()).collect();
    assert_eq!(
        read,
        [named("a", 1, "Ana López"), named("a", 2, "Ana Ruiz"), closed]
    );
    assert!(opened.iter().all(|opened| opened.erased_at.is_none()));
    // Opening changes neither the place in the log nor the link.
    assert_eq!(opened[1].hash, stored[1].hash);
}

async fn each_version_is_sealed_with_a_version_of_its_own(backend: Arc<Backend>) {
    let log = Log::new(&backend).await;
    let of_version = |version: &str| NewEvent {
        event_version: version.to_owned(),
        ..named("a", 1, "Ana")
    };
    log.append(vec![of_version("1.1")]).await;
    let stored = log.stored().await;
    assert_eq!(stored[0].event_version, "2.1");
    let opened = log.open(stored.clone()).await.unwrap();
    assert_eq!(NewEvent::from(opened[0].clone()), of_version("1.1"));
    // The version is bound to the ciphertext.
    backend
        .execute("UPDATE events SET event_version = '2.0' WHERE position = 1")
        .await;
    let altered = log.open(log.stored().await).await.unwrap_err();
    assert!(altered.is_of_one_event(), "{altered}");
    let unknown = log.seal(vec![of_version("1.2")], true).await;
    assert!(
        matches!(unknown, Err(SealingError::Seal(SealError::UnknownVersion))),
        "{unknown:?}"
    );
}

async fn an_erasure_leaves_the_log_as_it_is_and_its_data_unreadable(backend: Arc<Backend>) {
    let log = Log::new(&backend).await;
    log.append(vec![named("a", 1, "Ana")]).await;
    log.append(vec![named("b", 1, "Bea")]).await;
    let before = log.stored().await;
    let at = log.erase("a").await;
    assert_eq!(log.stored().await, before);
    verify(&backend.log, Vec::new(), |_| ()).await.unwrap().unwrap();
    let opened = log.open(before).await.unwrap();
    assert_eq!(opened[0].erased_at, Some(at));
    let erased = json!({"type": "Named", "length": 3, "erased": at.to_string()});
    assert_eq!(opened[0].payload, erased);
    assert_eq!(opened[1].payload["name"], "Bea");
    let more = log.seal(vec![named("a", 2, "Eva")], false).await;
    assert!(matches!(more, Err(SealingError::Erased { .. })), "{more:?}");
}

async fn an_event_without_its_key_is_an_error_and_not_erased(backend: Arc<Backend>) {
    let log = Log::new(&backend).await;
    log.append(vec![event("a", 1, "Closed", json!({"type": "Closed"}))])
        .await;
    log.append(vec![named("b", 1, "Bea")]).await;
    let stored = log.stored().await;
    backend.execute("DELETE FROM subject_keys").await;
    let missing = log.open(stored.clone()).await.unwrap_err();
    assert!(
        matches!(missing, SealingError::KeyMissing { position } if position.get() == 2),
        "{missing}"
    );
    // A keyring of another log.
    let other = Sealing::new(keyring(), log.sealing.keys().log(), CLAIMS, Names);
    log.append(vec![named("c", 1, "Caro")]).await;
    let mut reader = backend.database.reader().await.unwrap();
    let last = log.stored().await.split_off(2);
    let wrong = other.open(&mut reader, last).await.unwrap_err();
    let SealingError::Event { position, error } = wrong else {
        panic!("{wrong}");
    };
    assert_eq!(position.get(), 3);
    assert!(matches!(error, SealError::UnknownWrappingKey(_)), "{error}");
}

async fn events_from_before_sealing_are_read_as_they_are(backend: Arc<Backend>) {
    backend.migrate().await;
    let clear = named("a", 1, "Ana");
    let queue = backend.queue();
    let append = |event| queue.append(Append::new(vec![event], Vec::new()).unwrap());
    append(clear.clone()).await.unwrap();
    // The version of a sealed event without sealed data: personal data must not come from outside the seal.
    let forged = NewEvent {
        event_version: "2.0".to_owned(),
        ..named("b", 1, "Bea")
    };
    append(forged).await.unwrap();
    // A log with events is sealed only on request.
    let keyring = keyring();
    let format = LogFormat::seal_if_empty(&backend.database, &keyring, CLAIMS, None)
        .await
        .unwrap();
    assert_eq!(format, LogFormat::Clear);
    let format = LogFormat::seal(&backend.database, &keyring, CLAIMS, None)
        .await
        .unwrap();
    assert_eq!(
        LogFormat::seal(&backend.database, &keyring, CLAIMS, None)
            .await
            .unwrap(),
        format
    );
    assert_eq!(LogFormat::read(&backend.database).await.unwrap(), format);
    let log = Log::of(&backend, format, keyring);
    // A process that has not noticed yet cannot add unencrypted events.
    let late = append(named("c", 1, "Caro")).await;
    assert!(matches!(late, Err(AppendError::OtherFormat)), "{late:?}");
    queue.shutdown().await;
    let mut stored = log.stored().await;
    let refused = log.open(stored.clone()).await.unwrap_err();
    assert!(
        matches!(refused, SealingError::NotSealed { position } if position.get() == 2),
        "{refused}"
    );
    stored.truncate(1);
    let opened = log.open(stored.clone()).await.unwrap();
    assert_eq!(NewEvent::from(opened[0].clone()), clear);
    // The aggregate gets a key with its next event. An erasure also hides the unencrypted event.
    log.append(vec![named("a", 2, "Eva")]).await;
    let at = log.erase("a").await;
    let opened = log.open(stored).await.unwrap();
    assert_eq!(opened[0].erased_at, Some(at));
    let erased = json!({"type": "Named", "length": 3, "erased": at.to_string()});
    assert_eq!(opened[0].payload, erased);
}

/// Ids that are neighbours, ids with others between them, and both; some have no key.
async fn the_keys_of_many_aggregates_are_found_whatever_their_ids_are(backend: Arc<Backend>) {
    let log = Log::new(&backend).await;
    let (keys, keyring) = (log.sealing.keys(), log.sealing.keyring());
    let stored: BTreeSet<_> = (0..400).map(|number| format!("n{number:03}")).collect();
    let mut transaction = backend.database.begin().await.unwrap();
    for id in &stored {
        let owner = keys.owner(KIND, id);
        let key = DataKey::random().unwrap().wrap(&keyring, &owner).unwrap();
        keys.add(&mut transaction, &owner, &key, Timestamp::default())
            .await
            .unwrap();
    }
    let number = |number: u32| format!("n{number:03}");
    let wanted: [Vec<String>; 6] = [
        (0..400).map(number).collect(),
        (0..100).map(|part| number(part * 4)).collect(),
        (0..300)
            .chain((300..400).step_by(10))
            .chain(500..550)
            .map(number)
            .collect(),
        (380..500).map(number).collect(),
        (0..100).map(|part| format!("n{part:03}x")).collect(),
        vec![number(7)],
    ];
    for wanted in wanted {
        let ids: Vec<_> = wanted.iter().rev().map(String::as_str).collect();
        let found = keys.find(&mut transaction, KIND, &ids).await.unwrap();
        let expected: BTreeSet<_> = wanted.iter().filter(|id| stored.contains(*id)).collect();
        assert_eq!(found.keys().collect::<BTreeSet<_>>(), expected);
    }
}

/// Every reader of a database with a sealing gets opened events, and its commands append sealed events.
async fn a_database_with_a_sealing_opens_what_it_reads(backend: Arc<Backend>) {
    let log = Log::new(&backend).await;
    log.append(vec![named("a", 1, "Ana")]).await;
    backend.database.seal_with(log.sealing.clone());
    let reader = &backend.log;
    let fed = reader.feed(Position::BEGINNING, 10).await.unwrap();
    let history = reader.history(KIND, "a", 0, 10).await.unwrap();
    let mut transaction = backend.database.begin().await.unwrap();
    let found = EventLog::events_of(&mut transaction, KIND, &["a"], Position::BEGINNING).await;
    let last = Position::LAST;
    let between =
        EventLog::events_between(&mut transaction, KIND, &["a"], Position::BEGINNING, last, 10).await;
    transaction.rollback().await.unwrap();
    for events in [fed, history, found.unwrap(), between.unwrap()] {
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].payload["name"], "Ana");
        assert_eq!(events[0].event_version, "1.0");
    }
    let filter = EventFilter::default();
    let page = reader.page(&filter, Position::BEGINNING, Position::BEGINNING.next(), 10);
    assert_eq!(page.await.unwrap().events, log.stored().await);
}

async fn ciphertexts_that_were_exchanged_do_not_open(backend: Arc<Backend>) {
    let log = Log::new(&backend).await;
    log.append(vec![named("a", 1, "Ana")]).await;
    log.append(vec![named("a", 2, "Eva")]).await;
    log.append(vec![named("b", 1, "Bea")]).await;
    let stored = log.stored().await;
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
        let mut events = stored.clone();
        events[to].payload["sealed"] = stored[from].payload["sealed"].clone();
        let failed = log.open(events).await.unwrap_err();
        let SealingError::Event { position, error } = failed else {
            panic!("{failed}");
        };
        assert_eq!(position, stored[to].position);
        assert!(
            matches!(error, SealError::WrongData | SealError::OtherDataKey(_)),
            "{error}"
        );
    }
}

async fn of_two_processes_that_seal_the_first_event_at_once_only_one_appends(backend: Arc<Backend>) {
    let log = Log::new(&backend).await;
    // Both look before either has stored its key.
    let late = log.seal(vec![named("a", 1, "Eva")], true).await.unwrap();
    log.append(vec![named("a", 1, "Ana")]).await;
    let refused = log.try_append(late).await;
    assert!(
        matches!(refused, Err(AppendError::Conflict { .. })),
        "{refused:?}"
    );
    let again = log.seal(vec![named("a", 2, "Eva")], false).await.unwrap();
    assert_eq!(again.new_key, None);
    log.try_append(again).await.unwrap();
    let opened = log.open(log.stored().await).await.unwrap();
    let names: Vec<_> = opened.iter().map(|opened| &opened.payload["name"]).collect();
    assert_eq!(names, ["Ana", "Eva"]);
}

/// A process that does not know yet that the log was sealed.
async fn without_a_keyring_sealed_events_are_an_error_for_every_reader(backend: Arc<Backend>) {
    let log = Log::new(&backend).await;
    log.append(vec![named("a", 1, "Ana")]).await;
    // The connection is older than the sealing.
    let mut kept = backend.database.reader().await.unwrap();
    let read = async |session: &mut Connection| {
        EventLog::events_of(session, KIND, &["a"], Position::BEGINNING).await
    };
    for refused in [
        read(&mut kept).await,
        backend.log.feed(Position::BEGINNING, 10).await,
        backend.log.history(KIND, "a", 0, 10).await,
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(
            error.contains("position 1") && error.contains("no keyring"),
            "{error}"
        );
    }
    backend.database.seal_with(log.sealing.clone());
    assert_eq!(read(&mut kept).await.unwrap()[0].payload["name"], "Ana");
}

async fn an_altered_event_concerns_its_own_aggregate_alone(backend: Arc<Backend>) {
    let log = Log::new(&backend).await;
    log.append(vec![named("a", 1, "Ana")]).await;
    log.append(vec![named("b", 1, "Bea")]).await;
    log.append(vec![named("c", 1, "Caro")]).await;
    backend.database.seal_with(log.sealing.clone());
    let swap = "UPDATE subject_keys SET wrapped = X'00' WHERE aggregate_id = 'b'";
    backend.execute(swap).await;
    let read = backend.log.feed(Position::BEGINNING, 10).await.unwrap();
    assert_eq!(
        (&read[0].payload["name"], &read[2].payload["name"]),
        (&json!("Ana"), &json!("Caro"))
    );
    assert_eq!(
        (read[1].event_version.as_str(), read[1].payload.get("name")),
        ("2.0", None)
    );
    assert_eq!(read[1].erased_at, None);
    // A key that the store never held may mean that it is the wrong store.
    backend
        .execute("DELETE FROM subject_keys WHERE aggregate_id = 'b'")
        .await;
    let error = backend.log.feed(Position::BEGINNING, 10).await.unwrap_err();
    assert!(error.to_string().contains("never held its key"), "{error}");
}

async fn a_log_recognizes_its_keyring_before_it_has_a_key(backend: Arc<Backend>) {
    let log = Log::new(&backend).await;
    let (keys, database) = (log.sealing.keys(), &backend.database);
    keys.check(database, &log.sealing.keyring()).await.unwrap();
    let other = keys.check(database, &keyring()).await;
    assert!(matches!(other, Err(SealingError::OtherKeyring)), "{other:?}");
}

async fn no_append_uses_a_retired_wrapping_key(backend: Arc<Backend>) {
    let log = Log::new(&backend).await;
    let keys = log.sealing.keys();
    let late = log.seal(vec![named("a", 1, "Ana")], true).await.unwrap();
    let mut keyring = Keyring::clone(&log.sealing.keyring());
    let (old, new) = (
        keyring.active_id().clone(),
        keyring.add(Timestamp::default()).unwrap(),
    );
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
    let refused = log.try_append(late).await;
    assert!(matches!(refused, Err(AppendError::RetiredKey)), "{refused:?}");
    log.sealing.replace_keyring(keyring);
    log.append(vec![named("a", 1, "Ana")]).await;
}

async fn a_key_is_stored_with_its_events_or_not_at_all(backend: Arc<Backend>) {
    let log = Log::new(&backend).await;
    let erased = log.erase("a").await;
    let sealed = log.seal(vec![named("a", 1, "Ana")], true).await.unwrap();
    // The tombstone of a database of keys that is newer than the log.
    log.try_append(sealed).await.unwrap_err();
    assert_eq!(log.stored().await, []);
    let refused = log.seal(vec![named("a", 1, "Ana")], false).await;
    assert!(
        matches!(refused, Err(SealingError::Erased { at }) if at == erased),
        "{refused:?}"
    );
}
