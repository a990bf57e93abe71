use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::cosignature::CosigningKey;
use crate::note::SigningKey;
use crate::tile::{Level, Tile, encode_hashes};
use crate::tree::{Frontier, Plan, ProofError};

const ORIGIN: &str = "example.org/log";

fn log() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[7; 32]).unwrap()
}

fn witness() -> CosigningKey {
    SigningKey::from_seed("witness.example", &[8; 32]).unwrap().into()
}

fn policy(quorum: usize) -> Policy {
    let (log, witness) = (log(), witness());
    Policy::new(
        ORIGIN,
        vec![log.verifier().clone()],
        vec![witness.verifier().clone()],
        quorum,
    )
    .unwrap()
}

fn leaf(index: u64) -> Hash {
    Hash::leaf(&index.to_be_bytes())
}

/// A proof of an entry in a log of 200 entries, cosigned by the witness.
fn proof(index: u64) -> TlogProof {
    let leaves: Vec<_> = (0..200).map(leaf).collect();
    let mut frontier = Frontier::default();
    frontier.extend(leaves.iter().copied());
    let tile = Tile::at(Level::Hashes(0), 0, 200).unwrap();
    let mut tiles = BTreeMap::from([(tile, encode_hashes(&leaves))]);
    let path = Plan::inclusion(index, 200).unwrap().hashes(&mut tiles).unwrap();
    let head = Checkpoint::new(ORIGIN, 200, frontier.root()).unwrap();
    let mut checkpoint = SignedCheckpoint::sign(head.clone(), &log()).unwrap();
    checkpoint
        .add(witness().sign(&head, 1_790_000_000).unwrap())
        .unwrap();
    TlogProof::new(index, path, checkpoint)
}

#[test]
fn the_example_of_the_specification_is_parsed() {
    // The specification abbreviates the signatures, and its extra data is not valid base64. Here, the
    // signature line is from the example of tlog-checkpoint, and the extra data ends where it becomes
    // invalid.
    let text = "c2sp.org/tlog-proof@v1\n\
        extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6\n\
        index 73894\n\
        gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n\
        B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=\n\
        EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=\n\
        RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=\n\
        AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=\n\
        \n\
        example.com/fancylog\n\
        109482\n\
        sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=\n\
        \n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
    let proof: TlogProof = text.parse().unwrap();
    assert_eq!((proof.index(), proof.path().len()), (73_894, 5));
    assert_eq!(proof.extra(), Some(b"age-v1.2.1-darwin-arm64.tar.gz".as_slice()));
    assert_eq!(proof.checkpoint().checkpoint().size(), 109_482);
    assert_eq!(proof.to_string(), text);
}

#[test]
fn a_proof_survives_its_text_form_and_verifies() {
    for index in [0, 1, 77, 198, 199] {
        let proof = proof(index);
        let parsed: TlogProof = proof.to_string().parse().unwrap();
        assert_eq!(parsed, proof);
        let (policy, leaf) = (policy(1), leaf(index));
        let verified = parsed.verify(&leaf, &policy).unwrap();
        assert_eq!(verified[1].timestamp, Some(1_790_000_000));
        let with_extra = parsed.with_extra(b"extra data".to_vec()).unwrap();
        let parsed: TlogProof = with_extra.to_string().parse().unwrap();
        assert_eq!(parsed.extra(), Some(b"extra data".as_slice()));
        assert!(parsed.verify(&leaf, &policy).is_ok());
    }
    let too_long = proof(0).with_extra(vec![0; MAX_EXTRA_LEN + 1]);
    assert_eq!(too_long, Err(ParseError::Extra));
    let longest = proof(0).with_extra(vec![0; MAX_EXTRA_LEN]).unwrap();
    assert_eq!(longest.to_string().parse(), Ok(longest));
}

#[test]
fn a_log_with_one_entry_needs_no_path() {
    let head = Checkpoint::new(ORIGIN, 1, leaf(0)).unwrap();
    let proof = TlogProof::new(0, Vec::new(), SignedCheckpoint::sign(head, &log()).unwrap());
    let text = proof.to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 0\n\nexample.org/log\n1\n"));
    assert!(
        text.parse::<TlogProof>()
            .unwrap()
            .verify(&leaf(0), &policy(0))
            .is_ok()
    );
}

#[test]
fn proofs_that_prove_nothing_are_rejected() {
    let (proof, policy) = (proof(77), policy(1));
    let inclusion = |error: ProofError| Err(InvalidProof::Inclusion(error));
    assert_eq!(proof.verify(&leaf(78), &policy), inclusion(ProofError::Root));
    let checkpoint = proof.checkpoint().clone();
    let moved = TlogProof::new(78, proof.path().to_vec(), checkpoint.clone());
    assert_eq!(moved.verify(&leaf(77), &policy), inclusion(ProofError::Root));
    let beyond = TlogProof::new(200, proof.path().to_vec(), checkpoint.clone());
    assert_eq!(beyond.verify(&leaf(77), &policy), inclusion(ProofError::Sizes));
    let mut without = checkpoint;
    without.retain(&[log().verifier().clone()]);
    let without = TlogProof::new(77, proof.path().to_vec(), without);
    let quorum = Untrusted::Quorum {
        cosigned: 0,
        quorum: 1,
    };
    assert_eq!(without.verify(&leaf(77), &policy), Err(quorum.into()));
}

#[test]
fn malformed_proofs_are_rejected() {
    let text = proof(77).with_extra(b"xyz".to_vec()).unwrap().to_string();
    let first = proof(77).path()[0].to_string();
    let cases = [
        (String::new(), ParseError::Structure),
        (text.replace("@v1", "@v2"), ParseError::Structure),
        (text.replace("c2sp", " c2sp"), ParseError::Structure),
        (text.replace("extra eHl6", "extra eHl"), ParseError::Extra),
        (text.replace("extra eHl6", "extra  eHl6"), ParseError::Extra),
        (text.replace("extra eHl6", "extra"), ParseError::Index),
        (
            text.replace("extra eHl6\n", "extra eHl6\nextra eHl6\n"),
            ParseError::Index,
        ),
        (text.replace("index 77\n", ""), ParseError::Index),
        (text.replace("index 77", "index 077"), ParseError::Index),
        (text.replace("index 77", "index -1"), ParseError::Index),
        (text.replace("index 77", "index"), ParseError::Index),
        (
            text.replace("index 77", "index 9223372036854775808"),
            ParseError::Index,
        ),
        (text.replace(&first, "AAAA"), ParseError::Path),
        (text.replace(&first, &format!("{first} ")), ParseError::Path),
        (
            text.replace(&first, &[first.as_str(); 64].join("\n")),
            ParseError::Path,
        ),
        (
            text.replace("\n200\n", "\n0200\n"),
            ParseError::Checkpoint(CheckpointError::Size),
        ),
        (
            text.replace("\n\n", "\n\n\n"),
            ParseError::Checkpoint(CheckpointError::Size),
        ),
        (format!("{text}{}", "a".repeat(MAX_LEN)), ParseError::TooLong),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<TlogProof>(), Err(error), "{text:.200}");
    }
    assert_eq!(TlogProof::parse(b"\xff"), Err(ParseError::Structure));
}

#[test]
fn each_changed_bit_of_a_proof_is_rejected() {
    let bytes = proof(77).to_string().into_bytes();
    let (policy, leaf) = (policy(1), leaf(77));
    for bit in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let parsed = TlogProof::parse(&altered);
        assert!(
            !parsed.is_ok_and(|proof| proof.verify(&leaf, &policy).is_ok()),
            "bit {bit}"
        );
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_to_itself_or_rejected(
        head in "(c2sp.org/tlog-proof@v1\n)?(extra [A-Za-z0-9+/=]{0,8}\n)?(index 0?[0-9]{0,20}\n)?([A-Za-z0-9+/]{43}=\n){0,3}\n?",
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let _ = TlogProof::parse(&bytes);
        let text = format!("{head}{}", proof(0).checkpoint());
        if let Ok(proof) = text.parse::<TlogProof>() {
            prop_assert_eq!(proof.to_string(), text);
        }
    }
}
