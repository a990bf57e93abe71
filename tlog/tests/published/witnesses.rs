//! Cosignatures of stored checkpoints, and the folder of a witness.

use eventstore::Timestamp;
use tempfile::tempdir;
use tlog::{CosignError, NoProof, WitnessFolder};
use transparency::Hash;
use transparency::checkpoint::{Checkpoint, SignedCheckpoint};
use transparency::cosignature::CosigningKey;
use transparency::note::SigningKey;
use transparency::policy::Policy;
use transparency::witness::{Latest, Store};

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
        checkpoints.cosign(size, &[cosignature], &policy).await
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
    let of_another = checkpoints.cosign(300, &[other], &policy).await;
    assert!(matches!(of_another, Err(CosignError::Merge(_))), "{of_another:?}");
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
        async move { checkpoints.cosign(200, &[cosignature], policy).await.unwrap() }
    };
    let reached = futures::join!(cosign(2), cosign(3), cosign(4));
    assert_eq!(u8::from(reached.0) + u8::from(reached.1) + u8::from(reached.2), 1);
    let newest = checkpoints.newest_with_quorum().await.unwrap().unwrap();
    policy.check(&newest.parse().unwrap()).unwrap();
}

#[test]
fn the_folder_of_a_witness_remembers_each_log_and_belongs_to_one_process() {
    let folder = tempdir().unwrap();
    let mut witness = WitnessFolder::lock(folder.path()).unwrap().unwrap();
    assert!(WitnessFolder::lock(folder.path()).unwrap().is_none());
    let latest = |size: u64| {
        let root = Hash::leaf(&size.to_be_bytes());
        Some(Latest { size, root })
    };
    for (origin, old, new, expected) in [
        (ORIGIN, None, latest(3), true),
        (ORIGIN, None, latest(4), false),
        (ORIGIN, latest(3), latest(5), true),
        ("other.example.org", None, latest(1), true),
    ] {
        assert_eq!(witness.replace(origin, old, new.unwrap()).unwrap(), expected);
    }
    witness.publish(&signed(5)).unwrap();
    witness.keep_conflict(&signed(6)).unwrap();
    let kept = witness.keep_conflict(&signed(7)).unwrap();
    assert_eq!(std::fs::read_to_string(kept).unwrap(), signed(6).to_string());
    drop(witness);
    let mut witness = WitnessFolder::lock(folder.path()).unwrap().unwrap();
    assert_eq!(witness.latest(ORIGIN).unwrap(), latest(5));
    assert_eq!(witness.latest("other.example.org").unwrap(), latest(1));
    assert_eq!(witness.latest("third.example.org").unwrap(), None);
    assert_eq!(witness.published(ORIGIN).unwrap(), Some(signed(5).to_string()));
    assert_eq!(witness.published("other.example.org").unwrap(), None);
    // A damaged record is an error, not the beginning of the log.
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "state") {
            std::fs::write(path, "").unwrap();
        }
    }
    witness.latest(ORIGIN).unwrap_err();
}
