//! Cosignatures of stored checkpoints, and the folder of a witness.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use eventstore::Timestamp;
use tempfile::tempdir;
use tlog::{Conflict, CosignError, NoProof, StateError, WitnessFolder};
use transparency::Hash;
use transparency::checkpoint::{Checkpoint, SignedCheckpoint};
use transparency::cosignature::CosigningKey;
use transparency::note::SigningKey;
use transparency::policy::Policy;
use transparency::witness::{Latest, Store, monitoring_path};

use crate::backend::{Backend, ORIGIN, root};

on_every_backend! {
    proofs_refer_to_the_newest_checkpoint_that_enough_witnesses_have_cosigned,
    cosignatures_that_arrive_at_the_same_time_are_all_kept,
}

const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

fn witness(seed: u8) -> CosigningKey {
    let name = format!("witness-{seed}.example.org");
    SigningKey::from_seed(&name, &[seed; 32]).unwrap().into()
}

/// Returns a policy with the witnesses 2, 3 and 4.
fn policy(quorum: usize) -> Policy {
    let log = SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap();
    let witnesses = [2, 3, 4].map(|seed| witness(seed).verifier().clone());
    Policy::new(ORIGIN, vec![log.verifier().clone()], witnesses.to_vec(), quorum).unwrap()
}

fn signed(size: u64) -> SignedCheckpoint {
    let log = SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap();
    let checkpoint = Checkpoint::new(ORIGIN, size, root(size)).unwrap();
    SignedCheckpoint::sign(checkpoint, &log).unwrap()
}

async fn proofs_refer_to_the_newest_checkpoint_that_enough_witnesses_have_cosigned(mut backend: Backend) {
    backend.grow(300).await;
    backend.extend().await.unwrap();
    let published = backend.published();
    let checkpoints = published.checkpoints();
    for size in [200, 300] {
        checkpoints.store(&signed(size), false, NOW).await.unwrap();
    }
    let first = eventstore::Position::new(1).unwrap();
    let none = published.prove(first).await;
    assert!(matches!(none, Err(NoProof::NoCheckpoint)), "{none:?}");
    let policy = policy(2);
    let cosigned = async |size: u64, seed| {
        let cosignature = witness(seed).sign(signed(size).checkpoint(), 1).unwrap();
        checkpoints.cosign(size, &[cosignature], &policy, NOW).await
    };
    assert!(!cosigned(200, 2).await.unwrap());
    assert!(!cosigned(200, 2).await.unwrap(), "a witness counts once");
    assert!(cosigned(200, 3).await.unwrap());
    assert!(!cosigned(300, 4).await.unwrap());
    let proof = published.prove(first).await.unwrap();
    assert_eq!(proof.checkpoint().checkpoint().size(), 200);
    policy.check(proof.checkpoint()).unwrap();
    assert_eq!(checkpoints.newest().await.unwrap().unwrap().size, 300);
    // A signature that is made again, such as with a new key, keeps the cosignatures and the quorum.
    checkpoints.store(&signed(200), false, NOW).await.unwrap();
    let again = checkpoints.newest_with_quorum().await.unwrap().unwrap();
    policy.check(&again.parse().unwrap()).unwrap();

    let stranger = cosigned(300, 9).await;
    assert!(matches!(stranger, Err(CosignError::Merge(_))), "{stranger:?}");
    let other = witness(3).sign(signed(200).checkpoint(), 1).unwrap();
    let of_another = checkpoints.cosign(300, &[other], &policy, NOW).await;
    assert!(matches!(of_another, Err(CosignError::Merge(_))), "{of_another:?}");
    // A time in the future is rejected; the clock of a witness can be a few minutes ahead.
    for (ahead, is_rejected) in [(301, true), (300, false)] {
        let time = u64::try_from(NOW.as_micros() / 1_000_000).unwrap() + ahead;
        let future = witness(2).sign(signed(300).checkpoint(), time).unwrap();
        let merged = checkpoints.cosign(300, &[future], &policy, NOW).await;
        assert_eq!(
            matches!(merged, Err(CosignError::Ahead(_))),
            is_rejected,
            "{merged:?}"
        );
    }
    let removed = cosigned(299, 2).await;
    assert!(matches!(removed, Err(CosignError::Removed(299))), "{removed:?}");
}

async fn cosignatures_that_arrive_at_the_same_time_are_all_kept(backend: Backend) {
    let published = backend.published();
    let checkpoints = published.checkpoints();
    checkpoints.store(&signed(200), false, NOW).await.unwrap();
    let policy = policy(3);
    let cosign = |seed| {
        let cosignature = witness(seed).sign(signed(200).checkpoint(), 1).unwrap();
        let policy = &policy;
        async move {
            let cosigned = checkpoints.cosign(200, &[cosignature], policy, NOW).await;
            cosigned.unwrap()
        }
    };
    let reached = futures::join!(cosign(2), cosign(3), cosign(4));
    assert_eq!(u8::from(reached.0) + u8::from(reached.1) + u8::from(reached.2), 1);
    let newest = checkpoints.newest_with_quorum().await.unwrap().unwrap();
    policy.check(&newest.parse().unwrap()).unwrap();
}

#[test]
fn the_folder_of_a_witness_remembers_each_log_and_belongs_to_one_process() {
    let folder = tempdir().unwrap();
    let witness = WitnessFolder::lock(folder.path()).unwrap().unwrap();
    assert!(WitnessFolder::lock(folder.path()).unwrap().is_none());
    let latest = |size: u64| {
        let root = Hash::leaf(&size.to_be_bytes());
        let time = 1_000 + size;
        Some(Latest { size, root, time })
    };
    for (origin, old, new, expected) in [
        (ORIGIN, None, latest(3), true),
        (ORIGIN, None, latest(4), false),
        (ORIGIN, latest(3), latest(5), true),
        (ORIGIN, latest(5), latest(5), true),
        ("other.example.org", None, latest(1), true),
    ] {
        assert_eq!((&witness).replace(origin, old, new.unwrap()).unwrap(), expected);
    }
    let state = |origin: &str| {
        let hash = monitoring_path(origin).replace("/checkpoint", ".state");
        folder.path().join(hash)
    };
    // The state is written once for each checkpoint, and once more by a process that does not know whether it
    // was flushed.
    let file = || std::fs::metadata(state(ORIGIN)).unwrap().ino();
    let written = file();
    assert!((&witness).replace(ORIGIN, latest(5), latest(5).unwrap()).unwrap());
    assert_eq!(file(), written);
    witness.publish(&signed(5)).unwrap();
    drop(witness);
    let witness = WitnessFolder::lock(folder.path()).unwrap().unwrap();
    assert!((&witness).replace(ORIGIN, latest(5), latest(5).unwrap()).unwrap());
    assert_ne!(file(), written);
    assert_eq!((&witness).latest(ORIGIN).unwrap(), latest(5));
    assert_eq!((&witness).latest("other.example.org").unwrap(), latest(1));
    assert_eq!((&witness).latest("third.example.org").unwrap(), None);
    assert_eq!(witness.published(ORIGIN).unwrap(), Some(signed(5).to_string()));
    assert_eq!(witness.published("other.example.org").unwrap(), None);
    // A record of an earlier version has no time.
    let before = Checkpoint::new("third.example.org", 5, root(5)).unwrap();
    std::fs::write(state("third.example.org"), before.to_string()).unwrap();
    let without = (&witness).latest("third.example.org").unwrap().unwrap();
    assert_eq!((without.size, without.time), (5, 0));
    let damaged = before.with_extension("time x").unwrap();
    std::fs::write(state("third.example.org"), damaged.to_string()).unwrap();
    (&witness).latest("third.example.org").unwrap_err();
    // A damaged record is an error, not the beginning of the log.
    std::fs::write(state("other.example.org"), "").unwrap();
    (&witness).latest("other.example.org").unwrap_err();
    // A state that is missing or older than a cosigned checkpoint was lost.
    for damage in [
        |path: &Path| std::fs::remove_file(path),
        |path: &Path| {
            let old = Checkpoint::new(ORIGIN, 4, root(4)).unwrap();
            std::fs::write(path, old.to_string())
        },
    ] {
        damage(&state(ORIGIN)).unwrap();
        let lost = (&witness).latest(ORIGIN).unwrap_err();
        assert!(matches!(lost, StateError::Behind { newest: 5, .. }), "{lost:?}");
        (&witness).replace(ORIGIN, None, latest(6).unwrap()).unwrap_err();
    }
}

#[test]
fn a_witness_keeps_checkpoints_in_conflict_beside_the_cosigned_checkpoint() {
    let cosigned = Latest {
        size: 5,
        root: root(5),
        time: 0,
    };
    let other = |size, of| Checkpoint::new(ORIGIN, size, root(of)).unwrap();
    for (submitted, expected) in [
        (other(5, 5), None),
        (other(5, 4), Some(Conflict::Fork)),
        (other(6, 6), Some(Conflict::Unproved)),
    ] {
        assert_eq!(Conflict::between(cosigned, &submitted), expected);
    }
    let folder = tempdir().unwrap();
    let witness = WitnessFolder::lock(folder.path()).unwrap().unwrap();
    witness.publish(&signed(5)).unwrap();
    let mut kept = 0;
    for size in 6..80 {
        let path = witness.keep_conflict(Conflict::Unproved, &signed(size)).unwrap();
        kept += usize::from(path.is_some());
    }
    assert_eq!(kept, 64);
    // Any number of unproved checkpoints leaves room for a fork.
    let fork = witness.keep_conflict(Conflict::Fork, &signed(5)).unwrap();
    let fork = fork.unwrap();
    assert_eq!(std::fs::read_to_string(&fork).unwrap(), signed(5).to_string());
    let beside = std::fs::read_to_string(fork.with_extension("cosigned")).unwrap();
    assert_eq!(beside, signed(5).to_string());
    let again = witness.keep_conflict(Conflict::Fork, &signed(5)).unwrap();
    assert_eq!(again, None);
}
