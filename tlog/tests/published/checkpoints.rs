//! Signed checkpoints, and what is published up to the newest one.

use eventstore::{Position, Timestamp};
use tlog::{NoProof, TlogError};
use transparency::Hash;
use transparency::checkpoint::{Checkpoint, SignedCheckpoint};
use transparency::note::SigningKey;
use transparency::policy::Policy;
use transparency::tile::{Level, Tile};

use crate::backend::{Backend, ORIGIN, entry, root};

on_every_backend! {
    signed_checkpoints_are_kept,
    a_checkpoint_can_be_signed_again_with_another_key_but_not_with_another_root,
    tiles_are_published_up_to_the_newest_checkpoint,
    proofs_are_verified_with_the_key_of_the_log,
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[seed; 32]).unwrap()
}

fn signed(size: u64, root: Hash, key: &SigningKey) -> SignedCheckpoint {
    SignedCheckpoint::sign(Checkpoint::new(ORIGIN, size, root).unwrap(), key).unwrap()
}

const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

async fn signed_checkpoints_are_kept(backend: Backend) {
    let published = backend.published();
    let checkpoints = published.checkpoints();
    assert_eq!(checkpoints.newest().await.unwrap(), None);
    for size in [3, 70_000, 5] {
        let signed = signed(size, root(5), &key(1));
        checkpoints.store(&signed, true, NOW).await.unwrap();
        let stored = checkpoints.of_size(size).await.unwrap().unwrap();
        assert_eq!(
            (stored.note.as_str(), stored.signed_at),
            (signed.to_string().as_str(), NOW)
        );
        assert_eq!(stored.parse().unwrap(), signed);
    }
    assert_eq!(checkpoints.newest().await.unwrap().unwrap().size, 70_000);
    assert_eq!(checkpoints.of_size(4).await.unwrap(), None);
    assert_eq!(checkpoints.of_size(u64::MAX).await.unwrap(), None);
    let other = tlog::PublishedLog::new(&backend.database, "log.example.org/other".to_owned());
    assert_eq!(other.checkpoints().newest().await.unwrap(), None);
}

async fn a_checkpoint_can_be_signed_again_with_another_key_but_not_with_another_root(backend: Backend) {
    let published = backend.published();
    let checkpoints = published.checkpoints();
    checkpoints
        .store(&signed(5, root(5), &key(1)), true, NOW)
        .await
        .unwrap();
    checkpoints
        .store(&signed(5, root(5), &key(2)), true, NOW)
        .await
        .unwrap();
    let stored = checkpoints.newest().await.unwrap().unwrap().parse().unwrap();
    let keys = [key(1).verifier().clone(), key(2).verifier().clone()];
    assert_eq!(stored.verify(&keys).unwrap().len(), 2);
    let fork = checkpoints.store(&signed(5, root(4), &key(1)), true, NOW).await;
    assert!(matches!(fork, Err(TlogError::Fork { size: 5 })), "{fork:?}");
    backend.execute("UPDATE log_checkpoints SET size = 6").await;
    let moved = checkpoints.newest().await.unwrap().unwrap().parse();
    assert!(
        matches!(moved, Err(TlogError::CheckpointRow { size: 6 })),
        "{moved:?}"
    );
}

async fn tiles_are_published_up_to_the_newest_checkpoint(mut backend: Backend) {
    backend.grow(700).await;
    backend.extend().await.unwrap();
    let published = backend.published();
    let bundle = |width| Tile::new(Level::Entries, 1, width).unwrap();
    assert_eq!(published.tile(&bundle(1)).await.unwrap(), None);
    let checkpoint = signed(300, root(300), &key(1));
    published
        .checkpoints()
        .store(&checkpoint, true, NOW)
        .await
        .unwrap();
    assert!(published.tile(&bundle(44)).await.unwrap().is_some());
    assert_eq!(published.tile(&bundle(45)).await.unwrap(), None);
    assert_eq!(published.tile(&bundle(256)).await.unwrap(), None);
    let upper = |width| Tile::new(Level::Hashes(1), 0, width).unwrap();
    assert!(published.tile(&upper(1)).await.unwrap().is_some());
    assert_eq!(published.tile(&upper(2)).await.unwrap(), None);
    let highest = Tile::new(Level::Hashes(63), 0, 1).unwrap();
    assert_eq!(published.tile(&highest).await.unwrap(), None);
}

async fn proofs_are_verified_with_the_key_of_the_log(mut backend: Backend) {
    let size = 70_000;
    backend.grow(size).await;
    backend.extend().await.unwrap();
    let published = backend.published();
    let position = |number| Position::new(number).unwrap();
    let none = published.prove(position(1)).await;
    assert!(matches!(none, Err(NoProof::NoCheckpoint)), "{none:?}");
    let checkpoint = signed(size, root(size), &key(1));
    published
        .checkpoints()
        .store(&checkpoint, true, NOW)
        .await
        .unwrap();
    let policy = Policy::new(ORIGIN, vec![key(1).verifier().clone()], vec![], 0).unwrap();
    for number in [1, 256, 257, 40_000, 65_536, 65_537, size] {
        let proof = published.prove(position(number)).await.unwrap();
        proof.verify(&Hash::leaf(&entry(number - 1)), &policy).unwrap();
        proof.verify(&Hash::leaf(&entry(number)), &policy).unwrap_err();
    }
    for number in [0, size + 1] {
        let none = published.prove(position(number)).await;
        assert!(
            matches!(none, Err(NoProof::NotCovered { size: 70_000, .. })),
            "{none:?}"
        );
    }
}
