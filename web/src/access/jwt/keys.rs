//! Keys of an issuer: a JWK set (RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::value::RawValue;

use super::Algorithms;
use super::json::Object;

/// Maximum number of keys in a set.
const MOST: usize = 100;
/// Maximum number of keys tried for one signature. An issuer without key ids has two or three keys per
/// algorithm, and rejecting an invalid token should be cheap.
const MOST_TRIED: usize = 16;
/// Allowed size of an RSA modulus, in bits. Smaller keys are too weak (RFC 7518, section 3.3), and larger
/// keys, which ring does not support, are too slow.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Keys that verify the tokens of an issuer.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    keys: Vec<Key>,
    left_out: Vec<&'static str>,
}

#[derive(Debug, Clone)]
struct Key {
    id: Option<String>,
    /// Algorithms that the key may be used with: the algorithms for its type, restricted to the key's `alg`
    /// parameter if the key has that parameter.
    algorithms: Vec<Algorithm>,
    decoded: DecodingKey,
}

/// Error for a text that is not a JWK set. Does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The text is not JSON, or an object has two members with the same name.
    #[error("it is not JSON, or an object has two members with the same name")]
    Json,
    /// The text is JSON, but not a JWK set.
    #[error("it is not a JWK set: expected an object with an array named keys")]
    NoSet,
    /// The set has too many keys.
    #[error("it has more than {MOST} keys")]
    TooMany,
}

impl Keys {
    /// Parses a JWK set. Skips unusable keys, as recommended by RFC 7517, section 5: keys that are not for
    /// signatures, of an unsupported type, too weak, or not public.
    ///
    /// # Errors
    ///
    /// [`KeysError`].
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let set = Object::parse(text).ok_or_else(|| match serde_json::from_str::<Vec<&RawValue>>(text) {
            Ok(_) => KeysError::NoSet,
            Err(_) => KeysError::Json,
        })?;
        let keys: Vec<&RawValue> = set.get("keys").ok_or(KeysError::NoSet)?;
        if keys.len() > MOST {
            return Err(KeysError::TooMany);
        }
        let mut read = Self::default();
        for key in keys {
            match Key::read(key) {
                Ok(key) => read.keys.push(key),
                Err(why) => read.left_out.push(why),
            }
        }
        Ok(read)
    }

    /// Number of usable keys.
    #[must_use]
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Number of keys that can be used with at least one of these algorithms.
    #[must_use]
    pub fn count_for(&self, algorithms: &Algorithms) -> usize {
        let suits = |key: &&Key| {
            key.algorithms
                .iter()
                .any(|algorithm| algorithms.contain(*algorithm))
        };
        self.keys.iter().filter(suits).count()
    }

    /// Reasons why keys of the set were skipped, one per skipped key.
    #[must_use]
    pub fn left_out(&self) -> &[&'static str] {
        &self.left_out
    }

    /// Candidate keys for a token with this algorithm and this key id. Without a key id, all keys for the
    /// algorithm are candidates. Yields at most [`MOST_TRIED`] keys.
    pub(super) fn fitting(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &DecodingKey> {
        self.keys
            .iter()
            .filter(move |key| key.algorithms.contains(&algorithm))
            .filter(move |key| id.is_none() || key.id.as_deref() == id)
            .take(MOST_TRIED)
            .map(|key| &key.decoded)
    }
}

impl Key {
    fn read(key: &RawValue) -> Result<Self, &'static str> {
        let unknown = "its format is unknown";
        let members = Object::parse(key.get()).ok_or(unknown)?;
        if members.has("k") || members.has("d") {
            return Err("it is a secret or private key; only public keys belong in a set");
        }
        let key: Jwk = serde_json::from_str(key.get()).map_err(|_| unknown)?;
        if !for_signatures(&key) {
            return Err("it is not meant for verifying signatures");
        }
        let mut algorithms = suited(&key.algorithm)?;
        if let Some(named) = key.common.key_algorithm {
            let named = Algorithm::try_from(named).ok();
            algorithms.retain(|algorithm| Some(*algorithm) == named);
        }
        if algorithms.is_empty() {
            return Err("its algorithm does not fit its key type");
        }
        let decoded = DecodingKey::from_jwk(&key).map_err(|_| "its parameters cannot be read")?;
        Ok(Self {
            id: key.common.key_id,
            algorithms,
            decoded,
        })
    }
}

fn for_signatures(key: &Jwk) -> bool {
    let used = matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let operations = key.common.key_operations.as_ref();
    used && operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify))
}

/// Algorithms that a key of this type can be used with, or why its parameters are not acceptable.
fn suited(key: &AlgorithmParameters) -> Result<Vec<Algorithm>, &'static str> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let lengths = |parts: &[&String], length| parts.iter().all(|part| bytes(part).len() == length);
    match key {
        AlgorithmParameters::RSA(rsa) => {
            if RSA_BITS.contains(&bits(&bytes(&rsa.n))) {
                Ok(vec![RS256, RS384, RS512, PS256, PS384, PS512])
            } else {
                Err("an RSA key must have 2048 to 8192 bits")
            }
        }
        AlgorithmParameters::EllipticCurve(point) => match point.curve {
            EllipticCurve::P256 if lengths(&[&point.x, &point.y], 32) => Ok(vec![ES256]),
            EllipticCurve::P384 if lengths(&[&point.x, &point.y], 48) => Ok(vec![ES384]),
            _ => Err("its curve is not supported, or its point has the wrong length"),
        },
        AlgorithmParameters::OctetKeyPair(point) => match point.curve {
            EllipticCurve::Ed25519 if lengths(&[&point.x], 32) => Ok(vec![EdDSA]),
            _ => Err("its curve is not supported, or its point has the wrong length"),
        },
        _ => Err("its key type is not supported"),
    }
}

/// Decodes base64url. Empty if the text is malformed.
fn bytes(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap_or_default()
}

/// Number of bits of a big-endian number, without leading zeros.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let leading = number.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
    (number.len() - zeros) * 8 - leading
}
