//! The mirror and the monitor, which trust only keys.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use tempfile::tempdir;
use tlog::{Alarm, LogSource, Mirror, MirrorError, Monitor, MonitorError, PublishedLog, Seen, SourceError};
use transparency::Hash;
use transparency::checkpoint::{Checkpoint, SignedCheckpoint};
use transparency::cosignature::CosigningKey;
use transparency::note::SigningKey;
use transparency::policy::Policy;
use transparency::tile::{Level, Tile};
use transparency::tree::Plan;

use crate::backend::{Backend, ORIGIN, on_sqlite, root};

fn log() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn witness() -> CosigningKey {
    let key = SigningKey::from_seed("witness.example.org", &[2; 32]);
    key.unwrap().into()
}

fn policy(quorum: usize) -> Policy {
    let witnesses = vec![witness().verifier().clone()];
    Policy::new(ORIGIN, vec![log().verifier().clone()], witnesses, quorum).unwrap()
}

fn signed(size: u64, root: Hash) -> SignedCheckpoint {
    SignedCheckpoint::sign(Checkpoint::new(ORIGIN, size, root).unwrap(), &log()).unwrap()
}

/// The time of the monitor.
const NOW: u64 = 1_000;

/// A log whose server can be told to lie.
struct Source {
    published: PublishedLog,
    checkpoint: Mutex<SignedCheckpoint>,
    /// The tile in which one bit is changed.
    changed: Mutex<Option<Tile>>,
    read: Mutex<BTreeSet<Tile>>,
    /// Number of tiles after which the server fails.
    fails_after: Mutex<usize>,
}

impl Source {
    fn new(backend: &Backend, checkpoint: SignedCheckpoint) -> Self {
        Self {
            published: backend.published(),
            checkpoint: Mutex::new(checkpoint),
            changed: Mutex::new(None),
            read: Mutex::default(),
            fails_after: Mutex::new(usize::MAX),
        }
    }

    fn sign(&self, checkpoint: SignedCheckpoint) {
        *self.checkpoint.lock().unwrap() = checkpoint;
    }
}

impl LogSource for Source {
    async fn checkpoint(&self) -> Result<SignedCheckpoint, SourceError> {
        Ok(self.checkpoint.lock().unwrap().clone())
    }

    async fn tile(&self, tile: &Tile) -> Result<Vec<u8>, SourceError> {
        {
            let mut left = self.fails_after.lock().unwrap();
            *left = left.checked_sub(1).ok_or(SourceError::NoCheckpoint)?;
        }
        let mut content = self.published.tiles().content(tile).await?;
        self.read.lock().unwrap().insert(*tile);
        if *self.changed.lock().unwrap() == Some(*tile) {
            let last = content.len() - 1;
            content[last] ^= 1;
        }
        Ok(content)
    }
}

/// Returns the files of a mirror, except the checkpoint.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap();
                all.insert(name.to_str().unwrap().to_owned());
            }
        }
    }
    assert!(all.remove("checkpoint") && all.remove(".lock"));
    all
}

#[tokio::test]
async fn a_mirror_has_exactly_the_files_of_the_log_and_each_is_verified() {
    on_sqlite(async |mut backend| {
        let size = 66_000;
        backend.grow(size).await;
        backend.extend().await.unwrap();
        let folder = tempdir().unwrap();
        let mirror = Mirror::new(folder.path().join("mirror"));
        let source = Source::new(&backend, signed(700, root(700)));
        let policy = policy(0);
        let update = async || mirror.update(&source, &policy, |_, _| ()).await;
        let path = |name: &str| folder.path().join("mirror").join(name);

        // A changed bit of any tile is noticed, and nothing wrong is written.
        for tile in Tile::of_tree(700) {
            *source.changed.lock().unwrap() = Some(tile);
            let refused = update().await;
            assert!(
                matches!(refused, Err(MirrorError::Source(_))),
                "{tile}: {refused:?}"
            );
            assert!(!path("checkpoint").exists(), "{tile}");
            if let Ok(written) = std::fs::read(path(&tile.to_string())) {
                let content = backend.tiles().content(&tile).await.unwrap();
                assert_eq!(written, content, "{tile}");
            }
        }
        *source.changed.lock().unwrap() = None;
        let mirrored = update().await.unwrap();
        assert_eq!(mirrored.size, 700);
        let expected: BTreeSet<_> = Tile::of_tree(700).map(|tile| tile.to_string()).collect();
        assert_eq!(files(&path("")), expected);
        assert_eq!(update().await.unwrap().written, 0);

        // A changed bit of a tile of the proof is no fork.
        source.sign(signed(size, root(size)));
        for tile in Plan::consistency(700, size).unwrap().tiles() {
            *source.changed.lock().unwrap() = Some(tile);
            let refused = update().await;
            assert!(
                matches!(refused, Err(MirrorError::Source(_))),
                "{tile}: {refused:?}"
            );
        }
        *source.changed.lock().unwrap() = None;

        // An interrupted run is resumed, and reads no file again.
        source.sign(signed(size, root(size)));
        *source.fails_after.lock().unwrap() = 200;
        update().await.unwrap_err();
        *source.fails_after.lock().unwrap() = usize::MAX;
        source.read.lock().unwrap().clear();
        let done = RefCell::new((0, 0));
        let progress = |now, all| *done.borrow_mut() = (now, all);
        let resumed = mirror.update(&source, &policy, progress).await.unwrap();
        let all = Tile::between(700, size).count() as u64;
        assert_eq!(done.into_inner(), (all, all));
        assert!(resumed.written < all - 150, "{resumed:?}");
        for tile in Tile::of_tree(size) {
            let content = std::fs::read(path(&tile.to_string())).unwrap();
            assert_eq!(content, backend.tiles().content(&tile).await.unwrap(), "{tile}");
        }
        let note = std::fs::read(path("checkpoint")).unwrap();
        assert_eq!(note, signed(size, root(size)).to_string().into_bytes());

        // A second run at the same time writes nothing.
        let lock = tlog::lock_file(&path(".lock")).unwrap().unwrap();
        let locked = update().await;
        assert!(matches!(locked, Err(MirrorError::Locked(_))), "{locked:?}");
        drop(lock);
        // The mirrored checkpoint is signed with a key that was replaced.
        let new_key = SigningKey::from_seed(ORIGIN, &[8; 32]).unwrap();
        let head = Checkpoint::new(ORIGIN, size, root(size)).unwrap();
        source.sign(SignedCheckpoint::sign(head, &new_key).unwrap());
        let new_keys = Policy::new(ORIGIN, vec![new_key.verifier().clone()], vec![], 0).unwrap();
        let replaced = mirror.update(&source, &new_keys, |_, _| ()).await;
        assert!(
            matches!(replaced, Err(MirrorError::MirroredUntrusted { .. })),
            "{replaced:?}"
        );

        // A log that is not the mirrored log changes nothing.
        source.sign(signed(700, root(700)));
        let shrunk = update().await;
        assert!(matches!(shrunk, Err(MirrorError::Shrunk { .. })), "{shrunk:?}");
        source.sign(signed(size, root(700)));
        let fork = update().await;
        assert!(matches!(fork, Err(MirrorError::Fork { .. })), "{fork:?}");
        let stranger = SigningKey::from_seed(ORIGIN, &[9; 32]).unwrap();
        let head = Checkpoint::new(ORIGIN, size, root(size)).unwrap();
        source.sign(SignedCheckpoint::sign(head, &stranger).unwrap());
        let untrusted = update().await;
        assert!(
            matches!(untrusted, Err(MirrorError::Untrusted(_))),
            "{untrusted:?}"
        );
        assert_eq!(std::fs::read(path("checkpoint")).unwrap(), note);
    })
    .await;
}

#[tokio::test]
async fn a_monitor_notices_what_a_log_must_not_do() {
    on_sqlite(async |mut backend| {
        backend.grow(600).await;
        backend.extend().await.unwrap();
        let cosigned = |size: u64, time| {
            let mut signed = signed(size, root(size));
            signed
                .add(witness().sign(signed.checkpoint(), time).unwrap())
                .unwrap();
            signed
        };
        let source = Source::new(&backend, signed(300, root(300)));
        let mut monitor = Monitor::new(policy(1), None, None).unwrap();
        let seen = |size, is_newer, attested_at: Option<u64>| Seen {
            size,
            is_newer,
            has_quorum: attested_at.is_some(),
            attested_at,
            is_ahead: false,
        };
        assert_eq!(monitor.check(&source, NOW).await.unwrap(), seen(300, true, None));
        source.sign(cosigned(300, 7));
        assert_eq!(
            monitor.check(&source, NOW).await.unwrap(),
            seen(300, false, Some(7))
        );
        // A copy with fewer or older cosignatures hides none.
        for copy in [signed(300, root(300)), cosigned(300, 6)] {
            source.sign(copy);
            assert_eq!(
                monitor.check(&source, NOW).await.unwrap(),
                seen(300, false, Some(7))
            );
        }
        source.sign(cosigned(600, 8));
        assert_eq!(
            monitor.check(&source, NOW).await.unwrap(),
            seen(600, true, Some(8))
        );
        let last = monitor.last().cloned();

        source.sign(signed(300, root(300)));
        let shrunk = monitor.check(&source, NOW).await;
        let is_shrunk = |checked| {
            matches!(
                checked,
                Err(MonitorError::Alarm(Alarm::Shrunk { old: 600, new })) if *new == signed(300, root(300))
            )
        };
        assert!(is_shrunk(shrunk));
        source.sign(signed(600, root(599)));
        let is_fork = |checked| matches!(checked, Err(MonitorError::Alarm(Alarm::Fork { old: 600, .. })));
        assert!(is_fork(monitor.check(&source, NOW).await));
        let mut invalid = signed(600, root(600));
        invalid
            .add(witness().sign(signed(300, root(300)).checkpoint(), 9).unwrap())
            .unwrap();
        source.sign(invalid);
        let untrusted = monitor.check(&source, NOW).await;
        assert!(
            matches!(untrusted, Err(MonitorError::Alarm(Alarm::Signature(_)))),
            "{untrusted:?}"
        );
        assert_eq!(monitor.last().cloned(), last);

        // The later log has other events.
        let mut monitor = Monitor::new(policy(0), Some(signed(300, root(299))), None).unwrap();
        source.sign(signed(600, root(600)));
        let forked = monitor.check(&source, NOW).await;
        assert!(
            matches!(forked, Err(MonitorError::Alarm(Alarm::Fork { old: 300, .. }))),
            "{forked:?}"
        );
        // A changed bit of any tile that is read proves nothing.
        let genuine = signed(300, root(300));
        let monitor = || Monitor::new(policy(0), Some(genuine.clone()), None).unwrap();
        source.read.lock().unwrap().clear();
        monitor().check(&source, NOW).await.unwrap();
        let read = source.read.lock().unwrap().clone();
        let full = Tile::new(Level::Hashes(0), 1, 256).unwrap();
        assert!(read.contains(&full), "{read:?}");
        for tile in read {
            *source.changed.lock().unwrap() = Some(tile);
            let damaged = monitor().check(&source, NOW).await;
            assert!(
                matches!(
                    damaged,
                    Err(MonitorError::Source(
                        SourceError::Tile(_) | SourceError::Root(600)
                    ))
                ),
                "{tile}: {damaged:?}"
            );
        }
        *source.changed.lock().unwrap() = None;
        let mut monitor = Monitor::new(policy(0), Some(signed(300, root(300))), None).unwrap();
        source.sign(signed(600, root(599)));
        let damaged = monitor.check(&source, NOW).await;
        let nothing = matches!(damaged, Err(MonitorError::Source(SourceError::Root(600))));
        assert!(nothing, "{damaged:?}");
    })
    .await;
}

#[tokio::test]
async fn a_monitor_remembers_the_last_quorum() {
    on_sqlite(async |mut backend| {
        backend.grow(600).await;
        backend.extend().await.unwrap();
        let cosigned = |size: u64, time| {
            let mut signed = signed(size, root(size));
            let cosignature = witness().sign(signed.checkpoint(), time).unwrap();
            signed.add(cosignature).unwrap();
            signed
        };
        let seen = |size, has_quorum, is_ahead| Seen {
            size,
            is_newer: true,
            has_quorum,
            attested_at: Some(8),
            is_ahead,
        };
        let source = Source::new(&backend, cosigned(300, 8));
        let mut monitor = Monitor::new(policy(1), None, None).unwrap();
        assert_eq!(monitor.check(&source, NOW).await.unwrap(), seen(300, true, false));
        // A newer checkpoint without a quorum does not hide it, even after a restart.
        let (last, attested) = (monitor.last().cloned(), monitor.attested().cloned());
        let mut monitor = Monitor::new(policy(1), last, attested).unwrap();
        source.sign(signed(599, root(599)));
        assert_eq!(
            monitor.check(&source, NOW).await.unwrap(),
            seen(599, false, false)
        );
        assert_eq!(monitor.attested(), Some(&cosigned(300, 8)));
        // Nor does a cosignature from the future.
        source.sign(cosigned(600, NOW + 301));
        assert_eq!(monitor.check(&source, NOW).await.unwrap(), seen(600, true, true));
        assert_eq!(monitor.attested(), Some(&cosigned(300, 8)));
    })
    .await;
}

#[tokio::test]
async fn a_monitor_whose_clock_goes_back_does_not_count_later_cosignatures() {
    on_sqlite(async |mut backend| {
        backend.grow(300).await;
        backend.extend().await.unwrap();
        let mut cosigned = signed(300, root(300));
        let now = 1_000_000;
        let cosignature = witness().sign(cosigned.checkpoint(), now).unwrap();
        cosigned.add(cosignature).unwrap();
        let source = Source::new(&backend, cosigned);
        let mut monitor = Monitor::new(policy(1), None, None).unwrap();
        let mut at = async |time| {
            let seen = monitor.check(&source, time).await.unwrap();
            (seen.attested_at, seen.is_ahead)
        };
        assert_eq!(at(now).await, (Some(now), false));
        // Until the clock is correct, nothing shows that the log is not silent.
        assert_eq!(at(now - 3600).await, (None, true));
        assert_eq!(at(now + 1).await, (Some(now), false));
    })
    .await;
}
