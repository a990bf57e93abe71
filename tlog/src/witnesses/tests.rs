use transparency::cosignature::CosigningKey;
use transparency::note::SigningKey;

use super::*;

#[test]
fn a_witness_is_named_by_its_key_and_its_url() {
    let key = SigningKey::from_seed("witness.example.org/w1", &[3; 32]).unwrap();
    let plain = key.verifier().to_string();
    let key = CosigningKey::from(key).verifier().to_string();
    for url in [
        "https://w.example.org/",
        "http://127.0.0.1:8001/a/b",
        "https://[::1]/",
    ] {
        let address: WitnessAddress = format!("{key}={url}").parse().unwrap();
        assert_eq!(address.key.to_string(), key);
        assert_eq!(address.to_string(), format!("{key}={url}"));
    }
    for (wrong, expected) in [
        (key.clone(), AddressError::Form),
        (format!("{key}=ftp://w.example.org"), AddressError::Form),
        (
            format!("x{key}=https://w.example.org"),
            AddressError::Key(KeyError::Id),
        ),
        (
            format!("{plain}=https://w.example.org"),
            AddressError::Algorithm(plain.clone()),
        ),
    ] {
        assert_eq!(wrong.parse::<WitnessAddress>(), Err(expected), "{wrong}");
    }
    for url in [
        "https://u:p@host",
        "https://host/?a",
        "https://host/#a",
        "https://",
        "httpx://host",
    ] {
        let parsed = format!("{key}={url}").parse::<WitnessAddress>();
        assert_eq!(
            parsed,
            Err(AddressError::Url("witness.example.org/w1".into())),
            "{url}"
        );
    }
}

#[test]
fn paths_are_added_below_the_base() {
    for (base, expected) in [
        ("https://host", "https://host/add-checkpoint"),
        ("https://host/", "https://host/add-checkpoint"),
        ("https://host/a/", "https://host/a/add-checkpoint"),
        ("https://host/a", "https://host/a/add-checkpoint"),
    ] {
        let url = http::below(&http::base_url(base).unwrap(), "add-checkpoint");
        assert_eq!(url.as_str(), expected);
    }
}
