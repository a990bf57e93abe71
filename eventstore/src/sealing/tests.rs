//! Tests of what opens with which key, and of the keyring.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;

const LOG: LogId = LogId([7; 16]);
const PERSONAL: &[&str] = &["name", "email"];

pub(super) fn keyring() -> Keyring {
    Keyring::generate(Timestamp::default()).unwrap()
}

fn context() -> EventContext<'static> {
    EventContext {
        log: LOG,
        aggregate_type: "order",
        aggregate_id: "a",
        sequence: 1,
        event_type: "OrderPlaced",
        event_version: "2.0",
    }
}

fn owner() -> KeyOwner<'static> {
    KeyOwner {
        log: LOG,
        aggregate_type: "order",
        aggregate_id: "a",
    }
}

fn payload() -> Value {
    json!({"type": "OrderPlaced", "name": "Ana López", "email": "ana@example.com", "count": 3})
}

fn sealed(key: &DataKey, payload: Value) -> SealedPayload {
    SealedPayload::parse(&key.seal(payload, PERSONAL, &context()).unwrap()).unwrap()
}

#[test]
fn a_sealed_payload_shows_no_personal_member_and_opens_to_what_it_was() {
    let key = DataKey::random().unwrap();
    let stored = key.seal(payload(), PERSONAL, &context()).unwrap();
    let text = stored.to_string();
    assert!(
        !text.contains("Ana") && !text.contains("ana@") && !text.contains("email"),
        "{text}"
    );
    assert_eq!(stored["count"], 3);
    assert!(SealedPayload::is_sealed(&stored));
    let parsed = SealedPayload::parse(&stored).unwrap();
    assert_eq!(parsed.key(), key.id);
    assert_eq!(parsed.open(&key, &context()).unwrap(), payload());
}

#[test]
fn a_payload_without_personal_members_is_stored_as_it_is() {
    let key = DataKey::random().unwrap();
    let payload = json!({"type": "OrderCancelled"});
    assert_eq!(key.seal(payload.clone(), PERSONAL, &context()).unwrap(), payload);
    assert!(!SealedPayload::is_sealed(&payload));
}

#[test]
fn sealed_data_opens_only_in_its_own_event() {
    let key = DataKey::random().unwrap();
    let sealed = sealed(&key, payload());
    let right = context();
    for (what, wrong) in [
        (
            "log",
            EventContext {
                log: LogId([8; 16]),
                ..right
            },
        ),
        (
            "aggregate type",
            EventContext {
                aggregate_type: "orde",
                ..right
            },
        ),
        (
            "aggregate",
            EventContext {
                aggregate_id: "b",
                ..right
            },
        ),
        ("sequence", EventContext { sequence: 2, ..right }),
        (
            "event type",
            EventContext {
                event_type: "OrderChanged",
                ..right
            },
        ),
        (
            "event version",
            EventContext {
                event_version: "2.1",
                ..right
            },
        ),
    ] {
        assert_eq!(
            sealed.clone().open(&key, &wrong),
            Err(SealError::WrongData),
            "another {what}"
        );
    }
}

#[test]
fn sealed_data_opens_only_with_its_own_key() {
    let (key, other) = (DataKey::random().unwrap(), DataKey::random().unwrap());
    let sealed = sealed(&key, payload());
    assert_eq!(
        sealed.clone().open(&other, &context()),
        Err(SealError::OtherDataKey(key.id))
    );
    let forged = DataKey {
        id: key.id,
        secret: other.secret,
    };
    assert_eq!(sealed.open(&forged, &context()), Err(SealError::WrongData));
}

#[test]
fn the_same_data_is_sealed_differently_each_time_and_its_length_is_in_blocks() {
    let key = DataKey::random().unwrap();
    let first = key.seal(payload(), PERSONAL, &context()).unwrap();
    assert_ne!(first, key.seal(payload(), PERSONAL, &context()).unwrap());
    let length = |name: &str| {
        let stored = key.seal(json!({"name": name}), PERSONAL, &context()).unwrap();
        stored["sealed"]["ciphertext"].as_str().unwrap().len()
    };
    assert_eq!(length("Al"), length("Alexander"));
}

#[test]
fn personal_data_that_would_not_open_is_not_sealed() {
    let key = DataKey::random().unwrap();
    let nested = |depth| (1..depth).fold(json!([]), |inner, _| json!([inner]));
    for (name, storable) in [
        (json!(9_007_199_254_740_991_u64), true),
        (json!(9_007_199_254_740_992_u64), false),
        (json!(-9_007_199_254_740_992_i64), false),
        (json!({"inner": u64::MAX}), false),
        (nested(30), true),
        (nested(31), false),
    ] {
        let payload = json!({ "name": name });
        let sealed = key.seal(payload.clone(), PERSONAL, &context());
        if storable {
            let parsed = SealedPayload::parse(&sealed.unwrap()).unwrap();
            assert_eq!(parsed.open(&key, &context()).unwrap(), payload);
        } else {
            assert_eq!(sealed, Err(SealError::NotStorable), "{payload}");
        }
    }
}

#[test]
fn a_malformed_payload_is_an_error() {
    let key = DataKey::random().unwrap();
    let stored = key.seal(payload(), PERSONAL, &context()).unwrap();
    let with = |member: &str, value: Value| {
        let mut stored = stored.clone();
        stored["sealed"][member] = value;
        SealedPayload::parse(&stored)
    };
    for malformed in [
        SealedPayload::parse(&json!([])),
        SealedPayload::parse(&json!({"type": "OrderPlaced"})),
        SealedPayload::parse(&json!({"sealed": 1})),
        with("v", json!(2)),
        with("key", json!("00")),
        with("key", json!("+0000000000000000000000000000000")),
        with("nonce", json!("AAAA")),
        with("nonce", json!("?")),
        with("ciphertext", json!(null)),
        with("more", json!(1)),
    ] {
        assert!(
            matches!(malformed, Err(SealError::Malformed(_) | SealError::NotAnObject)),
            "{malformed:?}"
        );
    }
    let short = with("ciphertext", json!("AAAA")).unwrap();
    assert_eq!(short.open(&key, &context()), Err(SealError::WrongData));
    let twice = key.seal(stored, PERSONAL, &context());
    assert_eq!(twice, Err(SealError::AlreadySealed));
}

#[test]
fn no_personal_data_and_no_key_is_in_an_error_or_debug_text() {
    let (key, keyring) = (DataKey::random().unwrap(), keyring());
    let texts = [format!("{key:?}"), format!("{keyring:?}")];
    let secrets = [
        serde_json::to_value(&key.secret).unwrap(),
        keyring_json(&keyring)["claims_secret"].clone(),
    ];
    for secret in secrets {
        let secret = secret.as_str().unwrap().to_owned();
        assert!(texts.iter().all(|text| !text.contains(&secret)), "{texts:?}");
    }
}

#[test]
fn a_wrapped_key_opens_only_for_its_own_aggregate_with_its_own_keyring() {
    let (key, keyring) = (DataKey::random().unwrap(), keyring());
    let wrapped = key.wrap(&keyring, &owner()).unwrap();
    let opened = wrapped.unwrap(&keyring, &owner()).unwrap();
    assert_eq!(opened.secret.bytes(), key.secret.bytes());
    for wrong in [
        KeyOwner {
            log: LogId([8; 16]),
            ..owner()
        },
        KeyOwner {
            aggregate_type: "orders",
            ..owner()
        },
        KeyOwner {
            aggregate_id: "b",
            ..owner()
        },
    ] {
        assert_eq!(wrapped.unwrap(&keyring, &wrong).unwrap_err(), SealError::WrongKey);
    }
    let renamed = WrappedKey {
        id: DataKeyId([1; 16]),
        ..wrapped.clone()
    };
    assert_eq!(
        renamed.unwrap(&keyring, &owner()).unwrap_err(),
        SealError::WrongKey
    );
    let unknown = SealError::UnknownWrappingKey(wrapped.wrapping_key.clone());
    assert_eq!(wrapped.unwrap(&self::keyring(), &owner()).unwrap_err(), unknown);
}

#[test]
fn a_key_is_added_then_activated_and_the_old_key_can_then_be_removed() {
    let mut keyring = keyring();
    let key = DataKey::random().unwrap();
    let before = key.wrap(&keyring, &owner()).unwrap();
    let added = keyring.add(Timestamp::default()).unwrap();
    assert_eq!(
        key.wrap(&keyring, &owner()).unwrap().wrapping_key,
        before.wrapping_key
    );
    keyring.activate(&added).unwrap();
    let after = key.wrap(&keyring, &owner()).unwrap();
    assert_eq!(after.wrapping_key, added);
    before.unwrap(&keyring, &owner()).unwrap();
    assert_eq!(keyring.remove(&added), Err(KeyringError::Active(added)));
    keyring.remove(&before.wrapping_key).unwrap();
    let gone = SealError::UnknownWrappingKey(before.wrapping_key.clone());
    assert_eq!(before.unwrap(&keyring, &owner()).unwrap_err(), gone);
    after.unwrap(&keyring, &owner()).unwrap();
}

#[test]
fn hashes_depend_on_the_secret_its_purpose_the_kind_and_the_value() {
    let keyring = keyring();
    let hash = keyring.claim_hash("email", "ana@example.com");
    assert_eq!(hash, keyring.claim_hash("email", "ana@example.com"));
    for other in [
        keyring.id_hash("email", "ana@example.com"),
        keyring.claim_hash("emai", "lana@example.com"),
        keyring.claim_hash("email", "eva@example.com"),
        self::keyring().claim_hash("email", "ana@example.com"),
    ] {
        assert_ne!(hash, other);
    }
}

pub(super) fn keyring_json(keyring: &Keyring) -> Value {
    serde_json::from_str(&keyring.to_text().unwrap()).unwrap()
}

#[test]
fn a_text_that_is_no_keyring_is_an_error_that_shows_nothing_of_it() {
    let right = keyring_json(&keyring());
    let with = |member: &str, value: Value| {
        let mut text = right.clone();
        text[member] = value;
        Keyring::parse(&text.to_string()).map(|_| ()).unwrap_err()
    };
    assert!(matches!(
        Keyring::parse("SECRET").unwrap_err(),
        KeyringError::Malformed { line: 1, .. }
    ));
    assert_eq!(with("version", json!(2)), KeyringError::Version(2));
    assert!(matches!(
        with("active", json!("0123456789abcdef")),
        KeyringError::NoSuchKey(_)
    ));
    assert!(matches!(
        with("wrapping_keys", json!([])),
        KeyringError::NoSuchKey(_)
    ));
    let key = right["wrapping_keys"][0].clone();
    assert!(matches!(
        with("wrapping_keys", json!([key, key])),
        KeyringError::Twice(_)
    ));
    let malformed = with("ids_secret", json!("U0VDUkVU"));
    assert!(matches!(malformed, KeyringError::Malformed { .. }), "{malformed}");
    assert!(!malformed.to_string().contains("U0VDUkVU"));
}

proptest! {
    #[test]
    fn any_members_open_to_what_they_were(name in ".*", email in ".*", other in ".*") {
        let key = DataKey::random().unwrap();
        let payload = json!({"name": name, "email": email, "other": other});
        prop_assert_eq!(sealed(&key, payload.clone()).open(&key, &context()).unwrap(), payload);
    }

    #[test]
    fn one_altered_byte_does_not_open(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let key = DataKey::random().unwrap();
        let mut sealed = sealed(&key, payload());
        sealed.flip(at.index(sealed.encrypted_len()), flip);
        prop_assert_eq!(sealed.open(&key, &context()), Err(SealError::WrongData));
    }
}
