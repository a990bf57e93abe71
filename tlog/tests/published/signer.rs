//! The signer: never two roots of one size.

use std::time::Duration;

use eventstore::{EventLog, Lease, ManualClock, SystemClock, Timestamp};
use tempfile::TempDir;
use testkit::wait_until;
use tlog::{AdoptError, KeyFile, KeyFileError, Outcome, SignError, Signer, TlogError, adopt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use transparency::checkpoint::{Checkpoint, SignedCheckpoint};
use transparency::note::SigningKey;

use crate::backend::{Backend, ORIGIN, on_sqlite, root};

on_every_backend! {
    a_checkpoint_is_signed_whenever_the_log_has_moved,
    a_signer_that_was_killed_before_it_signed_signs_the_same_root,
    a_restored_log_is_not_signed,
    a_rewritten_log_is_not_signed,
    without_its_state_a_signer_signs_nothing_until_a_checkpoint_is_adopted,
    a_new_key_signs_the_newest_checkpoint_too,
    without_its_state_a_signer_does_not_believe_an_empty_database,
    a_state_that_is_behind_the_database_is_not_believed,
    of_two_signers_one_signs_and_the_other_takes_over,
}

const SOON: Duration = Duration::from_secs(20);

/// The files of a signer.
pub(crate) struct Files {
    folder: TempDir,
    file: KeyFile,
}

impl Files {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("log.key"));
        file.create(ORIGIN).unwrap();
        Self { folder, file }
    }

    pub(crate) fn key(&self) -> SigningKey {
        self.file.load(ORIGIN).unwrap()
    }

    fn state(&self) -> Option<Checkpoint> {
        self.file.state().lock().unwrap().unwrap().read(ORIGIN).unwrap()
    }

    pub(crate) fn signer(&self, backend: &Backend) -> Signer {
        let log = EventLog::new(backend.database.clone());
        Signer::new(log, self.key(), self.file.state(), SystemClock::shared())
    }

    pub(crate) async fn sign(&self, backend: &Backend) -> Result<Outcome, SignError> {
        self.signer(backend).sign(&mut lease(backend)).await
    }
}

fn lease(backend: &Backend) -> Lease {
    let database = backend.database.clone();
    let duration = Duration::from_mins(1);
    Lease::new(
        database,
        SystemClock::shared(),
        "test".into(),
        "test".into(),
        duration,
    )
}

/// Returns the newest signed checkpoint.
async fn newest(backend: &Backend) -> SignedCheckpoint {
    let newest = backend.published().checkpoints().newest().await.unwrap();
    newest.unwrap().parse().unwrap()
}

async fn a_checkpoint_is_signed_whenever_the_log_has_moved(mut backend: Backend) {
    let files = Files::new();
    assert_eq!(files.sign(&backend).await.unwrap(), Outcome::UpToDate(0));
    assert_eq!(files.state().unwrap().size(), 0);
    for size in [1, 2, 256, 9000] {
        backend.grow(size).await;
        assert_eq!(files.sign(&backend).await.unwrap(), Outcome::Signed(size));
        let signed = newest(&backend).await;
        signed.verify([files.key().verifier()]).unwrap();
        let expected = Checkpoint::new(ORIGIN, size, root(size)).unwrap();
        assert_eq!(*signed.checkpoint(), expected);
        assert_eq!(files.state(), Some(expected));
        assert_eq!(files.sign(&backend).await.unwrap(), Outcome::UpToDate(size));
    }
    // The tables are derived. The same checkpoint is signed again.
    let before = newest(&backend).await;
    backend.execute("DELETE FROM log_tiles").await;
    backend.execute("DELETE FROM log_checkpoints").await;
    assert_eq!(files.sign(&backend).await.unwrap(), Outcome::Signed(9000));
    assert_eq!(newest(&backend).await, before);
    // Another process of this machine is signing.
    let locked = files.file.state().lock().unwrap();
    assert_eq!(files.sign(&backend).await.unwrap(), Outcome::Locked);
    drop(locked);
}

async fn a_signer_that_was_killed_before_it_signed_signs_the_same_root(mut backend: Backend) {
    let files = Files::new();
    backend.grow(300).await;
    let state = Checkpoint::new(ORIGIN, 300, root(300)).unwrap();
    let write = |state: &Checkpoint| {
        let locked = files.file.state().lock().unwrap().unwrap();
        locked.write(state).unwrap();
    };
    write(&state);
    assert_eq!(files.sign(&backend).await.unwrap(), Outcome::Signed(300));
    assert_eq!(*newest(&backend).await.checkpoint(), state);
    // The killed signer may have signed another root of a later size.
    backend.grow(301).await;
    write(&Checkpoint::new(ORIGIN, 301, root(300)).unwrap());
    for size in [301, 400] {
        backend.grow(size).await;
        let refused = files.sign(&backend).await;
        assert!(
            matches!(refused, Err(SignError::Rewritten { size: 301 })),
            "{refused:?}"
        );
    }
    assert_eq!(newest(&backend).await.checkpoint().size(), 300);
}

#[tokio::test]
async fn a_checkpoint_that_could_not_be_stored_is_already_in_the_state() {
    on_sqlite(async |mut backend| {
        let files = Files::new();
        backend.grow(3).await;
        files.sign(&backend).await.unwrap();
        backend
            .execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON log_checkpoints BEGIN SELECT RAISE(ABORT, 'refused'); END",
            )
            .await;
        backend.grow(5).await;
        let refused = files.sign(&backend).await;
        assert!(
            matches!(refused, Err(SignError::Tlog(TlogError::Store(_)))),
            "{refused:?}"
        );
        // The signature may have left the process, so no other root of this size is ever signed.
        let state = Checkpoint::new(ORIGIN, 5, root(5)).unwrap();
        assert_eq!(files.state(), Some(state.clone()));
        assert_eq!(newest(&backend).await.checkpoint().size(), 3);
        backend.execute("DROP TRIGGER refuse").await;
        assert_eq!(files.sign(&backend).await.unwrap(), Outcome::Signed(5));
        assert_eq!(*newest(&backend).await.checkpoint(), state);
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_goes_back_delays_no_checkpoint() {
    on_sqlite(async |mut backend| {
        let files = Files::new();
        let start = Timestamp::from_micros(1_790_000_000_000_000);
        let clock = ManualClock::at(start);
        let sign = async |backend: &Backend| {
            let log = EventLog::new(backend.database.clone());
            let signer = Signer::new(log, files.key(), files.file.state(), clock.clone());
            signer.sign(&mut lease(backend)).await.unwrap()
        };
        backend.grow(3).await;
        assert_eq!(sign(&backend).await, Outcome::Signed(3));
        clock.set(start - Duration::from_hours(1));
        assert_eq!(sign(&backend).await, Outcome::UpToDate(3));
        backend.grow(5).await;
        assert_eq!(sign(&backend).await, Outcome::Signed(5));
    })
    .await;
}

async fn a_restored_log_is_not_signed(mut backend: Backend) {
    let files = Files::new();
    backend.grow(700).await;
    files.sign(&backend).await.unwrap();
    // The backup is older than the checkpoint.
    backend.execute("DELETE FROM events WHERE position > 600").await;
    backend.execute("DELETE FROM log_tiles").await;
    backend.execute("DELETE FROM log_checkpoints").await;
    backend.set_size(600).await;
    let refused = files.sign(&backend).await;
    let shrunk = matches!(
        refused,
        Err(SignError::Shrunk {
            signed: 700,
            size: 600
        })
    );
    assert!(shrunk, "{refused:?}");
    assert!(refused.unwrap_err().is_lasting());
    assert_eq!(backend.published().checkpoints().newest().await.unwrap(), None);
    // If the same events come back, nothing is lost.
    backend.grow(800).await;
    assert_eq!(files.sign(&backend).await.unwrap(), Outcome::Signed(800));
}

async fn a_rewritten_log_is_not_signed(mut backend: Backend) {
    let rewrite = "UPDATE events SET hash = (SELECT hash FROM (SELECT hash FROM events WHERE position = 1) AS f) \
                   WHERE position >= 500";
    // At 512, all leaves are below stored tiles.
    for last in [512, 700] {
        let files = Files::new();
        for table in ["log_tiles", "log_checkpoints", "events"] {
            backend.execute(&format!("DELETE FROM {table}")).await;
        }
        backend.set_size(0).await;
        backend.grow(last).await;
        files.sign(&backend).await.unwrap();
        let state = files.state();
        backend.execute(rewrite).await;
        // The log has grown since, but no further leaves are below stored tiles.
        backend.grow(last + 50).await;
        for tables in [&[][..], &["log_tiles"], &["log_tiles", "log_checkpoints"]] {
            for table in tables {
                backend.execute(&format!("DELETE FROM {table}")).await;
            }
            let refused = files.sign(&backend).await.unwrap_err();
            let is_noticed = match &refused {
                SignError::Rewritten { size } => *size == last,
                SignError::Tlog(TlogError::Tiles { .. }) => tables.is_empty(),
                _ => false,
            };
            assert!(is_noticed && refused.is_lasting(), "{last}: {refused}");
            assert_eq!(files.state(), state);
        }
    }
}

async fn without_its_state_a_signer_signs_nothing_until_a_checkpoint_is_adopted(mut backend: Backend) {
    let files = Files::new();
    let log = EventLog::new(backend.database.clone());
    let state = files.file.state();
    backend.grow(300).await;
    files.sign(&backend).await.unwrap();
    let first = newest(&backend).await;
    backend.grow(600).await;
    files.sign(&backend).await.unwrap();
    let second = newest(&backend).await;
    let adopted = adopt(&log, files.key().verifier(), &state, &second).await;
    assert!(matches!(adopted, Err(AdoptError::Current(_))), "{adopted:?}");

    std::fs::remove_file(state.path()).unwrap();
    backend.grow(700).await;
    let refused = files.sign(&backend).await;
    assert!(matches!(refused, Err(SignError::StateMissing(_))), "{refused:?}");
    assert!(matches!(
        files.file.create(ORIGIN),
        Err(KeyFileError::Exists { .. })
    ));
    assert_eq!(files.state(), None, "the key may have signed something");
    let older = adopt(&log, files.key().verifier(), &state, &first).await;
    assert!(
        matches!(
            older,
            Err(AdoptError::Older {
                newest: 600,
                given: 300
            })
        ),
        "{older:?}"
    );
    let made = |size, root, key: &SigningKey| {
        SignedCheckpoint::sign(Checkpoint::new(ORIGIN, size, root).unwrap(), key).unwrap()
    };
    let forged = made(600, root(600), &SigningKey::from_seed(ORIGIN, &[7; 32]).unwrap());
    let forged = adopt(&log, files.key().verifier(), &state, &forged).await;
    assert!(matches!(forged, Err(AdoptError::Signature(_))), "{forged:?}");
    // The database is a restored backup: the key has signed other events or more events.
    let other = adopt(
        &log,
        files.key().verifier(),
        &state,
        &made(650, root(600), &files.key()),
    )
    .await;
    assert!(matches!(other, Err(AdoptError::Rewritten(650))), "{other:?}");
    let more = adopt(
        &log,
        files.key().verifier(),
        &state,
        &made(900, root(900), &files.key()),
    )
    .await;
    assert!(
        matches!(
            more,
            Err(AdoptError::Shrunk {
                given: 900,
                size: 700
            })
        ),
        "{more:?}"
    );
    assert_eq!(files.state(), None);
    assert_eq!(
        adopt(&log, files.key().verifier(), &state, &second)
            .await
            .unwrap(),
        600
    );
    assert_eq!(files.sign(&backend).await.unwrap(), Outcome::Signed(700));
}

async fn a_new_key_signs_the_newest_checkpoint_too(mut backend: Backend) {
    let files = Files::new();
    backend.grow(5).await;
    files.sign(&backend).await.unwrap();
    let old = files.key();
    std::fs::rename(files.file.path(), files.folder.path().join("old.key")).unwrap();
    files.file.create(ORIGIN).unwrap();
    assert_eq!(files.sign(&backend).await.unwrap(), Outcome::Signed(5));
    let new = files.key();
    let both = [old.verifier().clone(), new.verifier().clone()];
    assert_eq!(newest(&backend).await.verify(&both).unwrap().len(), 2);
    backend.grow(6).await;
    files.sign(&backend).await.unwrap();
    assert_eq!(newest(&backend).await.verify(&both).unwrap().len(), 1);
}

async fn without_its_state_a_signer_does_not_believe_an_empty_database(mut backend: Backend) {
    let files = Files::new();
    backend.grow(300).await;
    files.sign(&backend).await.unwrap();
    // The machine is lost, and the database is restored from before the first checkpoint.
    std::fs::remove_file(files.file.state().path()).unwrap();
    for table in ["log_tiles", "log_checkpoints"] {
        backend.execute(&format!("DELETE FROM {table}")).await;
    }
    let refused = files.sign(&backend).await;
    assert!(matches!(refused, Err(SignError::StateMissing(_))), "{refused:?}");
}

async fn a_state_that_is_behind_the_database_is_not_believed(mut backend: Backend) {
    let files = Files::new();
    backend.grow(3).await;
    files.sign(&backend).await.unwrap();
    let older = files.state().unwrap();
    backend.grow(5).await;
    files.sign(&backend).await.unwrap();
    let newest = newest(&backend).await;
    // The state of another machine, or from a backup.
    let state = files.file.state();
    state.lock().unwrap().unwrap().write(&older).unwrap();
    for size in [5, 6] {
        backend.grow(size).await;
        let refused = files.sign(&backend).await;
        let is_behind = matches!(
            refused,
            Err(SignError::StateBehind {
                state: 3,
                newest: 5,
                ..
            })
        );
        assert!(is_behind, "{refused:?}");
        assert_eq!(files.state().unwrap(), older);
    }
    let log = EventLog::new(backend.database.clone());
    adopt(&log, files.key().verifier(), &state, &newest)
        .await
        .unwrap();
    assert_eq!(files.sign(&backend).await.unwrap(), Outcome::Signed(6));
}

async fn of_two_signers_one_signs_and_the_other_takes_over(mut backend: Backend) {
    let files = Files::new();
    backend.grow(1).await;
    let tasks = TaskTracker::new();
    let stops = ["a", "b"].map(|owner| {
        let stop = CancellationToken::new();
        let signer = files.signer(&backend);
        tasks.spawn(signer.run(owner.to_owned(), Duration::from_millis(100), stop.clone()));
        stop
    });
    let covers = async |size: u64| {
        let newest = backend.published().checkpoints().newest().await.unwrap();
        newest.is_some_and(|newest| newest.size == size)
    };
    wait_until(SOON, "a checkpoint is signed", async || covers(1).await).await;
    let [first, second] = stops;
    first.cancel();
    backend.grow(2).await;
    let covers = async |size: u64| {
        let newest = backend.published().checkpoints().newest().await.unwrap();
        newest.is_some_and(|newest| newest.size == size)
    };
    wait_until(SOON, "the other signer has taken over", async || covers(2).await).await;
    second.cancel();
    tasks.close();
    tasks.wait().await;
    assert_eq!(files.state().unwrap().size(), 2);
}
