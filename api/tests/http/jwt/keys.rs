//! Tests of which keys of a set are used.

use serde_json::{Value, json};

use testkit::{Signer, base64url as encode};
use web::access::{Keys, KeysError};

fn left_out(key: &Value) -> Option<&'static str> {
    let keys = Keys::parse(&json!({"keys": [key]}).to_string()).unwrap();
    assert_eq!(keys.count() + keys.left_out().len(), 1, "{key}");
    keys.left_out().first().copied()
}

#[test]
fn a_key_that_is_weak_private_or_for_something_else_is_not_used() {
    for signer in Signer::of_each_kind() {
        assert_eq!(left_out(&signer.jwk()), None, "{}", signer.id);
        for (member, value) in [
            ("use", json!("enc")),
            ("key_ops", json!(["sign"])),
            ("alg", json!("HS256")),
            ("alg", json!("ES384")),
            ("alg", json!("RSA-OAEP")),
            ("d", json!("AAAA")),
            ("kty", json!("oct")),
            ("kty", json!("unheard-of")),
        ] {
            let mut key = signer.jwk();
            key[member] = value.clone();
            assert!(left_out(&key).is_some(), "{} with {member} {value}", signer.id);
        }
    }
    let secret = json!({"kty": "oct", "k": encode([7; 32]), "kid": "one"});
    assert!(left_out(&secret).is_some());
    let mut short = Signer::rsa("rsa", "RS256").jwk();
    for modulus in [vec![0xff; 128], vec![0x7f; 256], vec![0xff; 1025], vec![]] {
        short["n"] = json!(encode(&modulus));
        assert!(left_out(&short).is_some(), "{} bytes", modulus.len());
    }
    let mut point = Signer::ec("ec").jwk();
    point["x"] = json!(encode([7; 31]));
    assert!(left_out(&point).is_some());
}

#[test]
fn a_text_that_is_no_set_is_refused_and_not_repeated() {
    let many = json!({"keys": vec![Signer::ed("one").jwk(); 101]}).to_string();
    for (text, expected) in [
        ("", KeysError::Json),
        ("<html>", KeysError::Json),
        (r#"{"keys": [], "keys": []}"#, KeysError::Json),
        ("[]", KeysError::NoSet),
        (r#"{"keys": {}}"#, KeysError::NoSet),
        (&many, KeysError::TooMany),
    ] {
        assert_eq!(Keys::parse(text).unwrap_err(), expected, "{text:.40}");
    }
    assert_eq!(Keys::parse(r#"{"keys": []}"#).unwrap().count(), 0);
}
