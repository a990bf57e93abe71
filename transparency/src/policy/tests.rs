use super::*;
use crate::Hash;
use crate::checkpoint::Checkpoint;
use crate::cosignature::CosigningKey;
use crate::note::SigningKey;

const ORIGIN: &str = "example.org/log";

fn signing(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, &[seed; 32]).unwrap()
}

fn cosigning(name: &str, seed: u8) -> CosigningKey {
    signing(name, seed).into()
}

fn witnesses() -> [CosigningKey; 3] {
    [("w1", 1), ("w2", 2), ("w3", 3)].map(|(name, seed)| cosigning(name, seed))
}

fn policy(quorum: usize) -> Result<Policy, InvalidPolicy> {
    let log = vec![signing(ORIGIN, 10).verifier().clone()];
    let witnesses = witnesses().map(|witness| witness.verifier().clone()).to_vec();
    Policy::new(ORIGIN, log, witnesses, quorum)
}

/// A checkpoint with the signature of `log`, cosigned by `witnesses`.
fn checkpoint(log: &SigningKey, witnesses: &[CosigningKey]) -> SignedCheckpoint {
    let head = Checkpoint::new(ORIGIN, 7, Hash::leaf(b"root")).unwrap();
    let mut signed = SignedCheckpoint::sign(head.clone(), log).unwrap();
    for witness in witnesses {
        signed.add(witness.sign(&head, 1_790_000_000).unwrap()).unwrap();
    }
    signed
}

#[test]
fn a_checkpoint_is_trusted_with_its_quorum_only() {
    let (log, witnesses) = (signing(ORIGIN, 10), witnesses());
    for quorum in 0..=3 {
        let policy = policy(quorum).unwrap();
        for cosigned in 0..=3 {
            let result = policy.check(&checkpoint(&log, &witnesses[..cosigned]));
            if cosigned < quorum {
                assert_eq!(result, Err(Untrusted::Quorum { cosigned, quorum }));
            } else {
                assert_eq!(result.unwrap().len(), cosigned + 1);
            }
        }
    }
}

#[test]
fn witnesses_do_not_replace_the_signature_of_the_log() {
    let (policy, witnesses) = (policy(2).unwrap(), witnesses());
    let other_log = checkpoint(&signing(ORIGIN, 11), &witnesses);
    assert_eq!(policy.check(&other_log), Err(Untrusted::Log));
    let unknown = checkpoint(&signing(ORIGIN, 11), &[]);
    assert_eq!(
        policy.check(&unknown),
        Err(Untrusted::Verify(VerifyError::Unsigned))
    );
    let other_origin = Checkpoint::new("another", 7, Hash::leaf(b"root")).unwrap();
    let other_origin = SignedCheckpoint::sign(other_origin, &signing(ORIGIN, 10)).unwrap();
    assert_eq!(policy.check(&other_origin), Err(Untrusted::Origin));
}

#[test]
fn an_invalid_cosignature_of_a_known_witness_is_an_error() {
    let (policy, [first, second, _]) = (policy(1).unwrap(), witnesses());
    let mut signed = checkpoint(&signing(ORIGIN, 10), &[first]);
    let other = Checkpoint::new(ORIGIN, 8, Hash::leaf(b"root")).unwrap();
    signed.add(second.sign(&other, 1_790_000_000).unwrap()).unwrap();
    assert!(matches!(
        policy.check(&signed),
        Err(Untrusted::Verify(VerifyError::Invalid { .. }))
    ));
}

#[test]
fn two_keys_of_one_witness_count_once() {
    let log = signing(ORIGIN, 10);
    let keys = [cosigning("w", 1), cosigning("w", 2), cosigning("other", 3)];
    let verifiers = keys.each_ref().map(|key| key.verifier().clone()).to_vec();
    let log_keys = vec![log.verifier().clone()];
    let policy = Policy::new(ORIGIN, log_keys.clone(), verifiers.clone(), 2).unwrap();
    let quorum = Untrusted::Quorum {
        cosigned: 1,
        quorum: 2,
    };
    assert_eq!(policy.check(&checkpoint(&log, &keys[..2])), Err(quorum));
    assert!(policy.check(&checkpoint(&log, &keys)).is_ok());
    let error = Policy::new(ORIGIN, log_keys, verifiers, 3).unwrap_err();
    assert_eq!(
        error,
        InvalidPolicy::Quorum {
            quorum: 3,
            witnesses: 2
        }
    );
}

#[test]
fn the_default_quorum_is_more_than_half_of_the_witnesses() {
    let keys =
        [("w1", 1), ("w1", 2), ("w1", 3), ("w2", 4), ("w3", 5)].map(|(name, seed)| cosigning(name, seed));
    let keys = keys.map(|key| key.verifier().clone());
    for (count, expected) in [(0, 0), (1, 1), (3, 1), (4, 2), (5, 2)] {
        assert_eq!(Policy::majority(&keys[..count]), expected, "{count} keys");
    }
}

#[test]
fn policies_that_do_not_protect_are_rejected() {
    let log = signing(ORIGIN, 10).verifier().clone();
    let witness = cosigning("w", 1).verifier().clone();
    let new = |log: &[&VerifierKey], witnesses: &[&VerifierKey], quorum| {
        let owned = |keys: &[&VerifierKey]| keys.iter().map(|key| (*key).clone()).collect();
        Policy::new(ORIGIN, owned(log), owned(witnesses), quorum).map(|_| ())
    };
    assert_eq!(new(&[&log], &[&witness], 1), Ok(()));
    assert_eq!(new(&[], &[&witness], 1), Err(InvalidPolicy::NoLogKey));
    let plain = signing("w", 1).verifier().clone();
    assert_eq!(
        new(&[&log], &[&plain], 1),
        Err(InvalidPolicy::NotAWitness(plain.to_string()))
    );
}

#[test]
fn a_public_key_cannot_count_twice() {
    let log = signing(ORIGIN, 10).verifier().clone();
    let first = cosigning("w1", 1).verifier().clone();
    let renamed = cosigning("w2", 1).verifier().clone();
    let duplicate = InvalidPolicy::Duplicate(renamed.to_string());
    assert_eq!(
        Policy::new(ORIGIN, vec![log.clone()], vec![first, renamed], 2).unwrap_err(),
        duplicate
    );
    let of_log = cosigning("w", 10).verifier().clone();
    let duplicate = InvalidPolicy::Duplicate(of_log.to_string());
    assert_eq!(
        Policy::new(ORIGIN, vec![log], vec![of_log], 1).unwrap_err(),
        duplicate
    );
}
