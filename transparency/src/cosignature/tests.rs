use super::*;
use crate::Hash;
use crate::note::Note;

/// The example of c2sp.org/tlog-cosignature. The specification does not contain the keys.
const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
    — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

const TIME: u64 = 1_790_000_000;

fn log() -> SigningKey {
    SigningKey::from_seed("example.org/log", &[7; 32]).unwrap()
}

fn witness(seed: u8) -> CosigningKey {
    SigningKey::from_seed(&format!("witness.example/{seed}"), &[seed; 32])
        .unwrap()
        .into()
}

fn checkpoint() -> SignedCheckpoint {
    let checkpoint = Checkpoint::new("example.org/log", 300, Hash::leaf(b"root")).unwrap();
    SignedCheckpoint::sign(checkpoint, &log()).unwrap()
}

#[test]
fn the_example_of_the_specification_has_the_time_and_the_message_of_the_specification() {
    let example = SignedCheckpoint::parse(EXAMPLE.as_bytes()).unwrap();
    assert_eq!(example.to_string(), EXAMPLE);
    let (timestamp, _) = split(example.note().signatures()[1].bytes()).unwrap();
    assert_eq!(timestamp, 1_679_315_147);
    assert_eq!(
        message(timestamp, example.note().text()),
        "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
         CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    );
}

#[test]
fn the_id_of_a_witness_differs_from_the_id_of_the_same_signing_key() {
    let key = SigningKey::from_seed("w", &[1; 32]).unwrap();
    let witness = CosigningKey::from(key.clone());
    assert_eq!(witness.verifier().public_key(), key.verifier().public_key());
    assert_ne!(witness.verifier().id(), key.verifier().id());
    assert_eq!(
        witness.verifier().to_string().parse::<VerifierKey>().as_ref(),
        Ok(witness.verifier())
    );
}

#[test]
fn cosignatures_of_known_witnesses_are_added_and_verified() {
    let (first, second, unknown) = (witness(1), witness(2), witness(3));
    let mut signed = checkpoint();
    let head = signed.checkpoint().clone();
    let lines = [&first, &unknown, &second].map(|witness| witness.sign(&head, TIME).unwrap());
    let keys = [first.verifier(), second.verifier(), log().verifier()].map(Clone::clone);
    let merged = merge(&mut signed, &lines, &keys).unwrap();
    assert_eq!(merged.len(), 2);
    let parsed = SignedCheckpoint::parse(signed.to_string().as_bytes()).unwrap();
    let verified = parsed.verify(&keys).unwrap();
    assert_eq!(
        verified
            .iter()
            .map(|signature| signature.timestamp)
            .collect::<Vec<_>>(),
        [None, Some(TIME), Some(TIME)]
    );
    // A later cosignature replaces the earlier one.
    merge(&mut signed, &[first.sign(&head, TIME + 60).unwrap()], &keys).unwrap();
    assert_eq!(signed.note().signatures().len(), 3);
    assert_eq!(
        signed.verify([first.verifier()]).unwrap()[0].timestamp,
        Some(TIME + 60)
    );
}

#[test]
fn the_later_cosignature_of_a_witness_is_kept_in_any_order() {
    let (witness, mut signed) = (witness(1), checkpoint());
    let head = signed.checkpoint().clone();
    let at = |time| witness.sign(&head, time).unwrap();
    let time = |signed: &SignedCheckpoint| signed.verify([witness.verifier()]).unwrap()[0].timestamp;
    for (lines, expected) in [
        (vec![at(TIME + 60), at(TIME)], TIME + 60),
        (vec![at(TIME - 3600)], TIME + 60),
        (vec![at(TIME + 61)], TIME + 61),
    ] {
        merge(&mut signed, &lines, [witness.verifier()]).unwrap();
        assert_eq!(time(&signed), Some(expected));
        assert_eq!(signed.note().signatures().len(), 2);
    }
}

#[test]
fn lines_that_do_not_help_leave_the_checkpoint_unchanged() {
    let known = witness(1);
    let mut signed = checkpoint();
    let before = signed.clone();
    let head = signed.checkpoint().clone();
    let other = Checkpoint::new("example.org/log", 300, Hash::leaf(b"another root")).unwrap();
    let valid = known.sign(&head, TIME).unwrap();
    let invalid = known.sign(&other, TIME).unwrap();
    let error = merge(&mut signed, &[valid, invalid], [known.verifier()]).unwrap_err();
    assert!(
        matches!(error, MergeError::Verify(VerifyError::Invalid { .. })),
        "{error}"
    );
    let unknown = witness(2).sign(&head, TIME).unwrap();
    let error = merge(&mut signed, &[unknown], [known.verifier()]).unwrap_err();
    assert_eq!(error, VerifyError::Unsigned.into());
    // A plain signature is no cosignature, even of a known key.
    let plain = log().sign(before.note().text());
    let error = merge(&mut signed, &[plain], [log().verifier()]).unwrap_err();
    assert_eq!(error, VerifyError::Unsigned.into());
    assert_eq!(signed, before);
}

#[test]
fn times_outside_the_range_are_rejected() {
    let (witness, mut signed) = (witness(1), checkpoint());
    let head = signed.checkpoint().clone();
    for time in [0, MAX_SIZE + 1, u64::MAX] {
        assert_eq!(witness.sign(&head, time), Err(TimestampError(time)));
    }
    assert!(witness.sign(&head, MAX_SIZE).is_ok());
    let at = |time: u64| {
        let bytes = witness
            .key
            .sign_bytes(message(time, &head.to_string()).as_bytes());
        Signature::new(
            witness.verifier(),
            [time.to_be_bytes().as_slice(), &bytes].concat(),
        )
    };
    let error = merge(&mut signed, &[at(0)], [witness.verifier()]).unwrap_err();
    assert_eq!(error, MergeError::NoTime);
    let error = merge(&mut signed, &[at(MAX_SIZE + 1)], [witness.verifier()]).unwrap_err();
    assert!(matches!(error, MergeError::Verify(VerifyError::Invalid { .. })));
}

#[test]
fn the_signature_of_a_log_is_not_a_cosignature_and_the_reverse() {
    let key = SigningKey::from_seed("w", &[1; 32]).unwrap();
    let witness = CosigningKey::from(key.clone());
    let head = checkpoint().checkpoint().clone();
    let mut note = Note::new(head.to_string()).unwrap();
    note.add(Signature::new(
        witness.verifier(),
        key.sign(note.text()).bytes().to_vec(),
    ))
    .unwrap();
    assert!(note.verify([witness.verifier()]).is_err());
    let cosignature = witness.sign(&head, TIME).unwrap();
    note.add(Signature::new(key.verifier(), cosignature.bytes().to_vec()))
        .unwrap();
    assert!(note.verify([key.verifier()]).is_err());
}

#[test]
fn each_changed_bit_of_a_cosigned_checkpoint_is_rejected() {
    let witness = witness(1);
    let mut signed = checkpoint();
    let cosignature = witness.sign(signed.checkpoint(), TIME).unwrap();
    signed.retain(&[]);
    signed.add(cosignature).unwrap();
    let bytes = signed.to_string().into_bytes();
    for bit in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let parsed = SignedCheckpoint::parse(&altered);
        assert!(
            !parsed.is_ok_and(|note| note.verify([witness.verifier()]).is_ok()),
            "bit {bit}"
        );
    }
}
