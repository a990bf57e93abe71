//! The sealed form of the log, read without code of the product: the keyring file, the wrapped data keys, and
//! the sealed members of events.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;

use super::Event;

/// Length of a nonce in bytes.
const NONCE: usize = 24;
/// The version of events whose personal data is sealed.
const SEALED_VERSION: &str = "2.0";

type Secret = [u8; 32];

/// The content of a keyring file, as far as the oracle needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Keyring {
    /// The wrapping keys by id.
    pub(crate) wrapping_keys: BTreeMap<String, Secret>,
    claims_secret: Secret,
}

/// A row of the table of the data keys. Binary values are in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct SubjectKey {
    pub(crate) aggregate_type: String,
    pub(crate) aggregate_id: String,
    pub(crate) key_id: Option<String>,
    pub(crate) wrapping_key: Option<String>,
    pub(crate) wrapped: Option<String>,
    pub(crate) erased_at: Option<i64>,
}

impl Keyring {
    pub(crate) fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap();
        let content: Value = serde_json::from_str(&text).unwrap();
        let secret = |value: &Value| -> Secret {
            let bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
            bytes.try_into().unwrap()
        };
        let keys = content["wrapping_keys"].as_array().unwrap();
        let keys = keys
            .iter()
            .map(|key| (key["id"].as_str().unwrap().to_owned(), secret(&key["key"])));
        Self {
            wrapping_keys: keys.collect(),
            claims_secret: secret(&content["claims_secret"]),
        }
    }

    /// Returns the claim of an email address.
    pub(crate) fn claim(&self, email: &str) -> [u8; 32] {
        let values = [b"claim", b"patient.email".as_slice(), email.as_bytes()];
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.claims_secret).unwrap();
        mac.update(&bound(&values));
        mac.finalize().into_bytes().into()
    }

    /// Returns the data key in a row, if the row has one and this keyring opens it.
    fn unwrap(&self, log: &[u8], row: &SubjectKey) -> Option<Secret> {
        let (key_id, wrapping_key) = (unhex(row.key_id.as_ref()?)?, row.wrapping_key.as_ref()?);
        let data = bound(&[
            b"data key 1",
            log,
            row.aggregate_type.as_bytes(),
            row.aggregate_id.as_bytes(),
            &key_id,
            wrapping_key.as_bytes(),
        ]);
        let secret = self.wrapping_keys.get(wrapping_key)?;
        decrypt(secret, &data, &unhex(row.wrapped.as_ref()?)?)?
            .try_into()
            .ok()
    }
}

/// Opens the events whose personal data is sealed. Other events are their own content. An event that does not
/// open has no content.
pub(super) fn open(events: &mut [Event], keyring: &Keyring, log: &str, keys: &[SubjectKey]) {
    let log = unhex(log).unwrap_or_default();
    let keys: HashMap<_, _> = keys
        .iter()
        .filter_map(|row| {
            let owner = (row.aggregate_type.as_str(), row.aggregate_id.as_str());
            Some((owner, (row.key_id.as_ref()?, keyring.unwrap(&log, row)?)))
        })
        .collect();
    for event in events {
        let payload: Value = serde_json::from_str(&event.payload).unwrap_or_default();
        event.opened = if event.event_version == SEALED_VERSION {
            let owner = (event.aggregate_type.as_str(), event.aggregate_id.as_str());
            let key = keys.get(&owner);
            key.and_then(|(id, key)| opened(event, payload, id, key, &log))
        } else {
            Some(payload)
        };
    }
}

/// Returns the payload with the sealed members.
fn opened(event: &Event, mut payload: Value, key_id: &str, key: &Secret, log: &[u8]) -> Option<Value> {
    let members = payload.as_object_mut()?;
    let sealed = members.remove("sealed")?;
    if sealed["v"] != 1 || !sealed["key"].as_str()?.eq_ignore_ascii_case(key_id) {
        return None;
    }
    let bytes = |name: &str| STANDARD.decode(sealed[name].as_str()?).ok();
    let data = bound(&[
        b"event",
        &1_u64.to_be_bytes(),
        log,
        event.aggregate_type.as_bytes(),
        event.aggregate_id.as_bytes(),
        &event.sequence.to_be_bytes(),
        event.event_type.as_bytes(),
        event.event_version.as_bytes(),
    ]);
    let plaintext = decrypt(key, &data, &[bytes("nonce")?, bytes("ciphertext")?].concat())?;
    let Value::Object(personal) = serde_json::from_slice(&plaintext).ok()? else {
        return None;
    };
    members.extend(personal);
    Some(payload)
}

/// Returns the additional data that binds a ciphertext to these values: each value after its length.
fn bound(values: &[&[u8]]) -> Vec<u8> {
    let with_length = |value: &&[u8]| [&(value.len() as u64).to_be_bytes(), *value].concat();
    values.iter().flat_map(with_length).collect()
}

/// Decrypts a ciphertext that begins with its nonce.
fn decrypt(key: &Secret, data: &[u8], encrypted: &[u8]) -> Option<Vec<u8>> {
    let (nonce, ciphertext) = encrypted.split_at_checked(NONCE)?;
    let payload = Payload {
        msg: ciphertext,
        aad: data,
    };
    let nonce = XNonce::try_from(nonce).ok()?;
    XChaCha20Poly1305::new(key.into()).decrypt(&nonce, payload).ok()
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<_> = text
        .chars()
        .map(|digit| digit.to_digit(16))
        .collect::<Option<_>>()?;
    let bytes = digits.chunks_exact(2).map(|pair| pair[0] * 16 + pair[1]);
    bytes.map(|byte| u8::try_from(byte).ok()).collect()
}
