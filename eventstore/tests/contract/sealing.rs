//! Events that are sealed, appended, read from the log, and opened.

use std::sync::Arc;

use eventstore::sealing::{
    AddKeyError, DeclarePersonalData, KeyStore, Keyring, LogId, OpenedEvent, PersonalData, SealError,
    Sealing, SealingError, schema_step,
};
use eventstore::{Append, NewEvent, Position, RecordedEvent, Timestamp, verify};
use serde_json::{Value, json};

use crate::backend::Backend;

on_every_backend!(
    sealed_events_are_stored_without_personal_data_and_open_again,
    an_erasure_leaves_the_log_as_it_is_and_its_data_unreadable,
    an_event_without_its_key_is_an_error_and_not_erased,
    events_from_before_sealing_are_read_as_they_are,
    ciphertexts_that_were_exchanged_do_not_open,
    of_two_processes_that_seal_the_first_event_at_once_the_later_one_seals_again,
);

const LOG: LogId = LogId([7; 16]);
const KIND: &str = "thing";

struct Names;

impl DeclarePersonalData for Names {
    fn of(&self, event_type: &str) -> Option<PersonalData> {
        (event_type == "Named").then_some(PersonalData {
            members: &["name"],
            version: "1.0",
            sealed_version: "2.0",
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
    store: KeyStore,
}

impl<'b> Log<'b> {
    async fn new(backend: &'b Backend) -> Self {
        backend.migrate_with(&[schema_step(5)]).await;
        let store = KeyStore::new(backend.database.clone(), LOG);
        let keyring = Arc::new(Keyring::generate(Timestamp::default()).unwrap());
        Self {
            backend,
            sealing: Sealing::new(keyring, store.clone(), Arc::new(Names)),
            store,
        }
    }

    async fn append(&self, events: Vec<NewEvent>) {
        let fresh = events[0].sequence == 1;
        let mut writer = self.backend.database.writer().await.unwrap();
        let sealed = self.sealing.seal(&mut writer, events, fresh).await.unwrap();
        if let Some(key) = sealed.new_key {
            let owner = self.store.owner(KIND, &sealed.events[0].aggregate_id);
            self.store
                .add(&mut writer, &owner, &key, Timestamp::default())
                .await
                .unwrap();
        }
        drop(writer);
        let queue = self.backend.queue();
        queue
            .append(Append::new(sealed.events, Vec::new()).unwrap())
            .await
            .unwrap();
        queue.shutdown().await;
    }

    async fn stored(&self) -> Vec<RecordedEvent> {
        self.backend.log.feed(Position::BEGINNING, 100).await.unwrap()
    }

    async fn open(&self, events: Vec<RecordedEvent>) -> Result<Vec<OpenedEvent>, SealingError> {
        let mut reader = self.backend.database.reader().await.unwrap();
        self.sealing.open(&mut reader, events).await
    }

    async fn erase(&self, id: &str) -> Timestamp {
        let mut writer = self.backend.database.writer().await.unwrap();
        let (owner, now) = (self.store.owner(KIND, id), Timestamp::from_micros(5));
        self.store.erase(&mut writer, &owner, now).await.unwrap()
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
    let read: Vec<NewEvent> = opened.iter().map(|opened| opened.event.clone().into()).collect();
    assert_eq!(
        read,
        [named("a", 1, "Ana López"), named("a", 2, "Ana Ruiz"), closed]
    );
    assert!(opened.iter().all(|opened| opened.erased_at.is_none()));
    // Opening changes neither the place in the log nor the link.
    assert_eq!(opened[1].event.hash, stored[1].hash);
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
    assert_eq!(opened[0].event.payload, erased);
    assert_eq!(opened[1].event.payload["name"], "Bea");
    let mut writer = backend.database.writer().await.unwrap();
    let more = log
        .sealing
        .seal(&mut writer, vec![named("a", 2, "Eva")], false)
        .await;
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
    let keyring = Arc::new(Keyring::generate(Timestamp::default()).unwrap());
    let log = Log {
        sealing: Sealing::new(keyring, log.store.clone(), Arc::new(Names)),
        ..log
    };
    log.append(vec![named("c", 1, "Caro")]).await;
    let other = Sealing::new(
        Arc::new(Keyring::generate(Timestamp::default()).unwrap()),
        log.store.clone(),
        Arc::new(Names),
    );
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
    let log = Log::new(&backend).await;
    let clear = named("a", 1, "Ana");
    let queue = backend.queue();
    queue
        .append(Append::new(vec![clear.clone()], Vec::new()).unwrap())
        .await
        .unwrap();
    let opened = log.open(log.stored().await).await.unwrap();
    assert_eq!(NewEvent::from(opened[0].event.clone()), clear);
    // The version of a sealed event without sealed data: personal data must not come from outside the seal.
    let forged = NewEvent {
        event_version: "2.0".to_owned(),
        ..named("b", 1, "Bea")
    };
    queue
        .append(Append::new(vec![forged], Vec::new()).unwrap())
        .await
        .unwrap();
    queue.shutdown().await;
    let refused = log.open(log.stored().await).await.unwrap_err();
    assert!(
        matches!(refused, SealingError::NotSealed { position } if position.get() == 2),
        "{refused}"
    );
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

async fn of_two_processes_that_seal_the_first_event_at_once_the_later_one_seals_again(backend: Arc<Backend>) {
    let log = Log::new(&backend).await;
    let mut writer = backend.database.writer().await.unwrap();
    // Both look before either has stored its key.
    let event = || vec![named("a", 2, "Eva")];
    let late = log.sealing.seal(&mut writer, event(), true).await.unwrap();
    drop(writer);
    log.append(vec![named("a", 1, "Ana")]).await;
    let mut writer = backend.database.writer().await.unwrap();
    let (owner, key) = (log.store.owner(KIND, "a"), late.new_key.unwrap());
    let refused = log
        .store
        .add(&mut writer, &owner, &key, Timestamp::default())
        .await;
    assert!(matches!(refused, Err(AddKeyError::OtherKey)), "{refused:?}");
    let again = log.sealing.seal(&mut writer, event(), false).await.unwrap();
    assert_eq!(again.new_key, None);
    drop(writer);
    let queue = backend.queue();
    queue
        .append(Append::new(again.events, Vec::new()).unwrap())
        .await
        .unwrap();
    queue.shutdown().await;
    let opened = log.open(log.stored().await).await.unwrap();
    let names: Vec<_> = opened
        .iter()
        .map(|opened| &opened.event.payload["name"])
        .collect();
    assert_eq!(names, ["Ana", "Eva"]);
}
