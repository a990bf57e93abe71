use proptest::prelude::*;

use super::*;

/// The example of c2sp.org/signed-note, section "Verifier keys".
const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\
    — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

/// The example of the documentation of Go's `golang.org/x/mod/sumdb/note`.
const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_SECRET: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const GO_TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const GO_SIGNATURE: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";

fn key() -> SigningKey {
    SigningKey::from_seed("example.org/log", &[7; 32]).unwrap()
}

fn signed(text: &str) -> Note {
    let mut note = Note::new(text).unwrap();
    note.sign(&key()).unwrap();
    note
}

#[test]
fn the_example_of_the_specification_verifies() {
    let key: VerifierKey = KEY.parse().unwrap();
    assert_eq!(key.to_string(), KEY);
    assert_eq!(
        (key.name(), key.id().to_string().as_str()),
        ("example.com/foo", "530d903a")
    );
    let note = Note::parse(NOTE.as_bytes()).unwrap();
    assert_eq!(note.text(), "This is an example message.\n");
    assert_eq!(note.to_string(), NOTE);
    let verified = note.verify([&key]).unwrap();
    assert_eq!(
        verified,
        [Verified {
            key: &key,
            timestamp: None
        }]
    );
}

#[test]
fn the_example_of_the_specification_with_an_empty_line_in_the_text_is_parsed() {
    let note = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\
        — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
    let parsed = Note::parse(note.as_bytes()).unwrap();
    assert!(parsed.text().ends_with(":\n\ned è subito sera.\n"));
    assert_eq!(parsed.signatures()[0].name(), "quasimodo.example/salvatore");
    assert_eq!(parsed.signatures()[0].id().to_string(), "367ba04b");
    assert_eq!(parsed.to_string(), note);
}

#[test]
fn the_key_of_go_signs_the_same_bytes() {
    let key = SigningKey::parse(GO_SECRET).unwrap();
    assert_eq!(key.to_text().as_str(), GO_SECRET);
    assert_eq!(key.verifier().to_string(), GO_KEY);
    assert_eq!(key.sign(GO_TEXT).to_string(), GO_SIGNATURE);
    assert_eq!(
        SigningKey::parse(&format!("{GO_SECRET}\n")).unwrap().verifier(),
        key.verifier()
    );
}

#[test]
fn the_debug_form_of_a_signing_key_has_no_secret() {
    let key = key();
    let text = key.to_text();
    let secret = text.rsplit('+').next().unwrap();
    assert!(!format!("{key:?}").contains(secret));
}

#[test]
fn malformed_verifier_keys_are_rejected() {
    let cases = [
        ("", KeyError::Malformed),
        ("example.com/foo", KeyError::Malformed),
        ("example.com/foo+530d903a", KeyError::Malformed),
        ("example.com/foo+530d903a+", KeyError::Malformed),
        (
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U0=",
            KeyError::Malformed,
        ),
        (
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k+",
            KeyError::Malformed,
        ),
        (
            "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::Id,
        ),
        (
            "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::Id,
        ),
        (
            "example.com/fo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::Id,
        ),
        (
            "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::Name,
        ),
        (
            "example com+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::Name,
        ),
        (
            "example\u{2003}com+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::Name,
        ),
        (
            "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::Algorithm(2),
        ),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<VerifierKey>(), Err(error), "{text}");
    }
    let long = format!(
        "{}+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "n".repeat(2000)
    );
    assert_eq!(long.parse::<VerifierKey>(), Err(KeyError::Malformed));
}

#[test]
fn public_keys_of_small_order_are_rejected() {
    // The neutral element, and a point of order 8.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let order_8 = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a";
    let order_8: Vec<u8> = (0..32)
        .map(|at| u8::from_str_radix(&order_8[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    for bytes in [neutral, order_8.try_into().unwrap()] {
        assert_eq!(
            VerifierKey::new("a", Algorithm::Ed25519, &bytes),
            Err(KeyError::PublicKey)
        );
    }
}

#[test]
fn malformed_signing_keys_are_rejected() {
    let cases = [
        (GO_KEY.to_owned(), KeyError::Malformed),
        (GO_SECRET.replace("PRIVATE", "PUBLIC"), KeyError::Malformed),
        (GO_SECRET.replace("c74f20a3", "c74f20a4"), KeyError::Id),
        (GO_SECRET.replace("AYEKF", "BIEKF"), KeyError::Algorithm(4)),
        (format!("{GO_SECRET}\n\n"), KeyError::Malformed),
    ];
    for (text, error) in cases {
        assert_eq!(SigningKey::parse(&text).unwrap_err(), error);
    }
    assert_eq!(
        SigningKey::from_seed("a+b", &[7; 32]).unwrap_err(),
        KeyError::Name
    );
}

#[test]
fn malformed_notes_are_rejected() {
    let note = signed("text\n").to_string();
    let (_, line) = note.split_once("\n\n").unwrap();
    let cases = [
        (String::new(), NoteError::Structure),
        ("text\n".to_owned(), NoteError::Structure),
        ("text\n\n".to_owned(), NoteError::Structure),
        (note.trim_end().to_owned(), NoteError::Structure),
        (note.replace("\n\n", "\n"), NoteError::Structure),
        (note.replace('—', "-"), NoteError::SignatureLine),
        (note.replace("— ", "—"), NoteError::SignatureLine),
        (note.replace("example.org", "exam+ple"), NoteError::SignatureLine),
        (note.replace("example.org/log", ""), NoteError::SignatureLine),
        (note.replace("=\n", "\n"), NoteError::SignatureLine),
        (note.replace("=\n", "= \n"), NoteError::SignatureLine),
        (format!("{note}more\n"), NoteError::SignatureLine),
        ("text\n\n— a AAAAAA==\n".to_owned(), NoteError::SignatureLine),
        (note.replace("text", "te\txt"), NoteError::Characters),
        (note.replace("text\n", "text\r\n"), NoteError::Characters),
        (
            format!("text\n\n{}", line.repeat(101)),
            NoteError::TooManySignatures,
        ),
        (
            format!("{}\n\n{line}", "t".repeat(MAX_NOTE_LEN)),
            NoteError::TooLong,
        ),
    ];
    for (text, error) in cases {
        assert_eq!(Note::parse(text.as_bytes()), Err(error), "{text:.200}");
    }
    assert_eq!(Note::parse(b"t\xff\n\n"), Err(NoteError::Characters));
    assert_eq!(Note::new("no newline"), Err(NoteError::Structure));
    assert_eq!(Note::new("a\0\n"), Err(NoteError::Characters));
    assert!(Note::parse(format!("text\n\n{}", line.repeat(100)).as_bytes()).is_ok());
}

#[test]
fn unknown_signatures_are_kept_and_ignored() {
    let mut note = signed("text\n");
    let other = SigningKey::from_seed("example.org/log", &[8; 32]).unwrap();
    let same_id_other_name = format!(
        "— other {}",
        note.signatures()[0].to_string().split(' ').nth(2).unwrap()
    );
    note.sign(&other).unwrap();
    note.add(same_id_other_name.parse().unwrap()).unwrap();
    let parsed = Note::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!(parsed.signatures().len(), 3);
    let (key, other) = (key(), other.verifier().clone());
    assert_eq!(parsed.verify([key.verifier()]).unwrap().len(), 1);
    assert_eq!(parsed.verify([key.verifier(), &other]).unwrap().len(), 2);
    assert_eq!(parsed.verify([&KEY.parse().unwrap()]), Err(VerifyError::Unsigned));
    assert_eq!(parsed.verify([]), Err(VerifyError::Unsigned));
    // A note with many copies of a line has room for another signature afterwards.
    let (text, line) = (parsed.to_string(), parsed.signatures()[1].to_string());
    let repeated = text + &format!("{line}\n").repeat(MAX_SIGNATURES - 3);
    let mut only = Note::parse(repeated.as_bytes()).unwrap();
    only.retain(&[other]);
    assert_eq!(only.signatures(), &parsed.signatures()[1..2]);
}

#[test]
fn one_invalid_signature_of_a_known_key_is_an_error() {
    let key = key();
    let other = SigningKey::from_seed("other", &[8; 32]).unwrap();
    let mut note = signed("text\n");
    note.add(other.sign("another text\n")).unwrap();
    let invalid = VerifyError::Invalid {
        name: "other".to_owned(),
        id: other.verifier().id(),
    };
    assert_eq!(note.verify([key.verifier(), other.verifier()]), Err(invalid));
    assert_eq!(note.verify([key.verifier()]).unwrap().len(), 1);
    // A second line of the same key is verified too.
    let twice = format!("{}{}\n", signed("text\n"), key.sign("another text\n"));
    let twice = Note::parse(twice.as_bytes()).unwrap();
    assert!(matches!(
        twice.verify([key.verifier()]),
        Err(VerifyError::Invalid { .. })
    ));
}

#[test]
fn two_known_keys_with_the_same_name_and_id_are_an_error() {
    // Seeds found by trying: any two keys have the same ID with a probability of 2⁻³².
    let keys = [25_851_u64, 70_083].map(|number| {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        SigningKey::from_seed("example.org/log", &seed).unwrap()
    });
    let [first, second] = keys.each_ref().map(SigningKey::verifier);
    assert_eq!((first.id(), first == second), (second.id(), false));
    let mut note = Note::new("text\n").unwrap();
    note.sign(&keys[0]).unwrap();
    assert_eq!(note.verify([first, first]).unwrap().len(), 1);
    let (name, id) = (first.name().to_owned(), first.id());
    assert_eq!(
        note.verify([first, second]),
        Err(VerifyError::Ambiguous { name, id })
    );
}

#[test]
fn a_new_signature_replaces_the_signature_of_the_same_key() {
    let mut note = signed("text\n");
    note.sign(&key()).unwrap();
    assert_eq!(note, signed("text\n"));
}

#[test]
fn a_note_never_exceeds_its_limits() {
    let mut note = signed("text\n");
    for n in 1..MAX_SIGNATURES {
        let key = SigningKey::from_seed(&format!("key-{n}"), &[7; 32]).unwrap();
        note.sign(&key).unwrap();
    }
    let one_more = SigningKey::from_seed("one-more", &[7; 32]).unwrap();
    let before = note.clone();
    assert_eq!(note.sign(&one_more), Err(NoteError::TooManySignatures));
    assert_eq!(note, before);
    let mut long = Note::new(format!("{}\n", "t".repeat(MAX_NOTE_LEN - 10))).unwrap();
    assert_eq!(long.sign(&key()), Err(NoteError::TooLong));
}

#[test]
fn each_changed_bit_of_a_note_is_rejected() {
    let key = key();
    let bytes = signed("some text\n").to_string().into_bytes();
    for bit in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let accepted = Note::parse(&altered).is_ok_and(|note| note.verify([key.verifier()]).is_ok());
        assert!(!accepted, "bit {bit}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_rejected(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".*\n?\n?.*") {
        if let Ok(note) = Note::parse(&bytes) {
            prop_assert_eq!(note.to_string().into_bytes(), bytes);
        }
        let _ = text.parse::<VerifierKey>();
        let _ = SigningKey::parse(&format!("PRIVATE+KEY+{text}"));
        let _ = Signature::parse_lines(&text);
    }

    #[test]
    fn a_text_that_is_almost_a_note_is_parsed_to_itself_or_rejected(
        text in "[a-z\n]{0,12}\n\n?(— ?[a+ ]{0,3} ?[A-Za-z0-9+/=]{0,16}\n){0,3}",
    ) {
        if let Ok(note) = Note::parse(text.as_bytes()) {
            prop_assert_eq!(note.to_string(), text);
        }
    }

    #[test]
    fn any_valid_text_survives_signing_and_parsing(text in "[^\\x00-\\x1f]{0,40}(\n[^\\x00-\\x1f]{0,40}){0,4}") {
        let key = key();
        let note = signed(&format!("{text}\n"));
        let parsed = Note::parse(note.to_string().as_bytes()).unwrap();
        prop_assert_eq!(&parsed, &note);
        prop_assert!(parsed.verify([key.verifier()]).is_ok());
    }
}
