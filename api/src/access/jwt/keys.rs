//! The keys of an issuer: a JWK set (RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::value::RawValue;

use super::Algorithms;
use super::json::Object;

/// The most keys of a set.
const MOST: usize = 100;
/// The most keys that one signature is checked with: an issuer that names no keys has two or three for an
/// algorithm, and a bad token is to cost little.
const MOST_TRIED: usize = 16;
/// The bits of an RSA modulus that are allowed: fewer are too weak (RFC 7518, section 3.3), more than ring
/// takes too slow.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The keys of an issuer that its tokens can be verified with.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    keys: Vec<Key>,
    left_out: Vec<&'static str>,
}

#[derive(Debug, Clone)]
struct Key {
    id: Option<String>,
    /// What it may be used with: what its type allows, or of that what the key itself says.
    algorithms: Vec<Algorithm>,
    decoded: DecodingKey,
}

/// The text is not a JWK set. Nothing of it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// It is not JSON, or has two members of one name.
    #[error("it is not JSON, or has two members of one name")]
    Json,
    /// It is JSON, but not a JWK set.
    #[error("it is not a JWK set: an object with an array named keys")]
    NoSet,
    /// It has too many keys.
    #[error("it has more than {MOST} keys")]
    TooMany,
}

impl Keys {
    /// Reads a JWK set. Keys that are of no use here are left out, as RFC 7517, section 5 wants it: those
    /// that are not for signatures, of another type, too weak, or not public.
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

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// How many can be used with one of these algorithms.
    #[must_use]
    pub fn count_for(&self, algorithms: &Algorithms) -> usize {
        let suits = |key: &&Key| {
            key.algorithms
                .iter()
                .any(|algorithm| algorithms.contain(*algorithm))
        };
        self.keys.iter().filter(suits).count()
    }

    /// Why the others of the set are left out, one reason each.
    #[must_use]
    pub fn left_out(&self) -> &[&'static str] {
        &self.left_out
    }

    /// The keys that a token may mean that names this id, or none, and this algorithm; [`MOST_TRIED`] at
    /// most.
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
        let unknown = "it is not a key of a form that is known";
        let members = Object::parse(key.get()).ok_or(unknown)?;
        if members.has("k") || members.has("d") {
            return Err("it is a secret or a private key; only public keys belong there");
        }
        let key: Jwk = serde_json::from_str(key.get()).map_err(|_| unknown)?;
        if !for_signatures(&key) {
            return Err("it is not for checking signatures");
        }
        let mut algorithms = suited(&key.algorithm)?;
        if let Some(named) = key.common.key_algorithm {
            let named = Algorithm::try_from(named).ok();
            algorithms.retain(|algorithm| Some(*algorithm) == named);
        }
        if algorithms.is_empty() {
            return Err("its algorithm is not one for its type of key");
        }
        let decoded = DecodingKey::from_jwk(&key).map_err(|_| "its parts cannot be read")?;
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

/// What a key of this type can be used with, if its parts are as they must be.
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
            _ => Err("its curve is not known, or its point is not of it"),
        },
        AlgorithmParameters::OctetKeyPair(point) => match point.curve {
            EllipticCurve::Ed25519 if lengths(&[&point.x], 32) => Ok(vec![EdDSA]),
            _ => Err("its curve is not known, or its point is not of it"),
        },
        _ => Err("its type of key is not known"),
    }
}

/// What base64url stands for; nothing if it is none.
fn bytes(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap_or_default()
}

/// The bits of a number without the zeros before it.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let leading = number.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
    (number.len() - zeros) * 8 - leading
}
