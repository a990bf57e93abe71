use proptest::prelude::*;

use super::*;

/// The example of c2sp.org/tlog-checkpoint. The specification does not contain its key.
const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";

/// A checkpoint and the key of its log from `TestDeadlock` of transparency-dev/witness.
const SIGNED: &str = "monkeys\n5\n41smjBUiAU70EtKlT6lIOIYtRTYxYXsDB+XHfcvu/BE=\n\n\
    — monkeys 202fftzGl3LVoqjXfwCFZZXs8I+5G22+Ek2K0AOyBuSJ/8/CZawNF+6fNlTKOCd622pbzJNkkJFWuw9DbicZCkEx9AY=\n";
const SIGNED_KEY: &str = "monkeys+db4d9f7e+AULaJMvTtDLHPUcUrjdDad9vDlh/PTfC2VV60JUtCfWT";

fn key() -> SigningKey {
    SigningKey::from_seed("example.org/log", &[7; 32]).unwrap()
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint::new("example.org/log", size, Hash::leaf(&size.to_be_bytes())).unwrap()
}

#[test]
fn the_example_of_the_specification_is_parsed() {
    let parsed = SignedCheckpoint::parse(EXAMPLE.as_bytes()).unwrap();
    let checkpoint = parsed.checkpoint();
    assert_eq!(checkpoint.origin(), "example.com/behind-the-sofa");
    assert_eq!(checkpoint.size(), 20_852_163);
    assert_eq!(
        checkpoint.root().to_string(),
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
    );
    assert!(checkpoint.extensions().is_empty());
    assert_eq!(parsed.to_string(), EXAMPLE);
}

#[test]
fn a_checkpoint_of_another_implementation_verifies() {
    let parsed = SignedCheckpoint::parse(SIGNED.as_bytes()).unwrap();
    assert_eq!(parsed.verify([&SIGNED_KEY.parse().unwrap()]).unwrap().len(), 1);
}

#[test]
fn a_signed_checkpoint_survives_its_text_form() {
    let with_extensions = checkpoint(1)
        .with_extension("first")
        .unwrap()
        .with_extension("second +")
        .unwrap();
    assert_eq!(with_extensions.extensions(), ["first", "second +"]);
    let all = [
        checkpoint(0),
        checkpoint(7),
        checkpoint(MAX_SIZE),
        with_extensions,
    ];
    for checkpoint in all {
        let signed = SignedCheckpoint::sign(checkpoint.clone(), &key()).unwrap();
        let parsed = SignedCheckpoint::parse(signed.to_string().as_bytes()).unwrap();
        assert_eq!(parsed, signed);
        assert_eq!(parsed.checkpoint(), &checkpoint);
        assert!(parsed.verify([key().verifier()]).is_ok());
    }
}

#[test]
fn malformed_checkpoints_are_rejected() {
    let root = Hash::EMPTY_ROOT;
    let cases = [
        (String::new(), CheckpointError::Lines),
        ("origin\n".to_owned(), CheckpointError::Lines),
        ("origin\n1\n".to_owned(), CheckpointError::Lines),
        (format!("origin\n1\n{root}"), CheckpointError::Lines),
        (format!("\n1\n{root}\n"), CheckpointError::Line),
        (format!("or\tigin\n1\n{root}\n"), CheckpointError::Line),
        (format!("origin\n\n{root}\n"), CheckpointError::Size),
        (format!("origin\n01\n{root}\n"), CheckpointError::Size),
        (format!("origin\n00\n{root}\n"), CheckpointError::Size),
        (format!("origin\n-1\n{root}\n"), CheckpointError::Size),
        (format!("origin\n+1\n{root}\n"), CheckpointError::Size),
        (format!("origin\n 1\n{root}\n"), CheckpointError::Size),
        (format!("origin\n1 \n{root}\n"), CheckpointError::Size),
        (format!("origin\n1x\n{root}\n"), CheckpointError::Size),
        (format!("origin\n١\n{root}\n"), CheckpointError::Size),
        (
            format!("origin\n9223372036854775808\n{root}\n"),
            CheckpointError::Size,
        ),
        (
            format!("origin\n99999999999999999999999999\n{root}\n"),
            CheckpointError::Size,
        ),
        ("origin\n1\n\n".to_owned(), CheckpointError::Root),
        (
            "origin\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuF\n".to_owned(),
            CheckpointError::Root,
        ),
        (
            "origin\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=\n".to_owned(),
            CheckpointError::Root,
        ),
        (
            "origin\n1\n47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=\n".to_owned(),
            CheckpointError::Root,
        ),
        (format!("origin\n1\n{root} \n"), CheckpointError::Root),
        (format!("origin\n1\n{root}\n\n"), CheckpointError::Line),
        (
            format!("origin\n1\n{root}\nextension\n\nextension\n"),
            CheckpointError::Line,
        ),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<Checkpoint>(), Err(error), "{text:?}");
    }
    assert_eq!(Checkpoint::new("a\nb", 1, root), Err(CheckpointError::Line));
    assert_eq!(Checkpoint::new("", 1, root), Err(CheckpointError::Line));
    assert_eq!(
        Checkpoint::new("a", MAX_SIZE + 1, root),
        Err(CheckpointError::Size)
    );
    assert_eq!(checkpoint(1).with_extension("a\n"), Err(CheckpointError::Line));
    let not_a_checkpoint = b"text\n\n\xe2\x80\x94 a AAAAAAA=\n";
    assert_eq!(
        SignedCheckpoint::parse(not_a_checkpoint),
        Err(CheckpointError::Lines)
    );
    assert_eq!(
        SignedCheckpoint::parse(b""),
        Err(CheckpointError::Note(NoteError::Structure))
    );
}

#[test]
fn each_changed_bit_of_a_checkpoint_is_rejected() {
    let signed = SignedCheckpoint::sign(checkpoint(300), &key()).unwrap();
    let (key, bytes) = (key(), signed.to_string().into_bytes());
    for bit in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let parsed = SignedCheckpoint::parse(&altered);
        assert!(
            !parsed.is_ok_and(|note| note.verify([key.verifier()]).is_ok()),
            "bit {bit}"
        );
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_to_itself_or_rejected(text in "[a-z]{0,3}\n?-?0?[0-9]{0,21}\n?[A-Za-z0-9+/]{42,44}=?\n?[a\n]{0,3}") {
        if let Ok(checkpoint) = text.parse::<Checkpoint>() {
            prop_assert_eq!(checkpoint.to_string(), text);
        }
    }

    #[test]
    fn any_bytes_are_rejected(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(SignedCheckpoint::parse(&bytes).is_err());
    }
}
