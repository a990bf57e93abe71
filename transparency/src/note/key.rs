//! Keys that sign notes, and keys that verify them.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::Signer as _;
use zeroize::Zeroizing;

use super::{Signature, Verified};
use crate::{Hash, cosignature, text};

/// Maximum length of the text form of a key in bytes.
pub const MAX_KEY_LEN: usize = 1024;

/// Whether a key can have this name: not empty, without Unicode spaces, plus characters and control
/// characters.
pub(super) fn is_name(name: &str) -> bool {
    let invalid = |character: char| character.is_whitespace() || character == '+' || character < ' ';
    !name.is_empty() && !name.contains(invalid)
}

/// ID of a key: the first four bytes of `SHA-256(name ‖ 0x0A ‖ algorithm ‖ public key)`. Its text form is
/// eight lower-case hexadecimal digits. The ID is too short to authenticate a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Signature types. Their numbers are assigned in c2sp.org/signed-note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032) over the text of the note.
    Ed25519 = 0x01,
    /// Ed25519 over a time and the text of a checkpoint: see [`crate::cosignature`].
    CosignatureV1 = 0x04,
}

/// Reason why a text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text does not have the form of a key.
    #[error("the key does not have the expected form")]
    Malformed,
    /// The name is empty or longer than 512 bytes, or contains a space, a plus or a control character.
    #[error("a key name has 1 to 512 bytes, and no spaces, '+' or control characters")]
    Name,
    /// The signature type is not supported. Signing keys must have the type 0x01.
    #[error("the signature type {0:#04x} is not supported")]
    Algorithm(u8),
    /// The key ID does not match the name and the key.
    #[error("the key ID does not match the name and the key")]
    Id,
    /// The bytes are not a usable Ed25519 public key.
    #[error("the bytes are not an Ed25519 public key")]
    PublicKey,
}

/// A public key with its name. Its text form is `<name>+<key ID>+base64(<algorithm> ‖ <32-byte public key>)`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: KeyId,
    algorithm: Algorithm,
    key: ed25519_dalek::VerifyingKey,
}

impl VerifierKey {
    /// Makes a key from its parts, and computes its ID.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is invalid, or if the bytes are not the encoding of an Ed25519 public key
    /// or encode a point of small order.
    pub fn new(name: &str, algorithm: Algorithm, public_key: &[u8; 32]) -> Result<Self, KeyError> {
        if !is_name(name) || name.len() > MAX_KEY_LEN / 2 {
            return Err(KeyError::Name);
        }
        let key = ed25519_dalek::VerifyingKey::from_bytes(public_key).map_err(|_| KeyError::PublicKey)?;
        // A key of small order has signatures that verify for many messages.
        if key.is_weak() {
            return Err(KeyError::PublicKey);
        }
        Ok(Self::of(name, algorithm, key))
    }

    fn of(name: &str, algorithm: Algorithm, key: ed25519_dalek::VerifyingKey) -> Self {
        let parts = [name.as_bytes(), b"\n", &[algorithm as u8], key.as_bytes()];
        let Hash([a, b, c, d, ..]) = Hash::digest(&parts);
        Self {
            name: name.to_owned(),
            id: KeyId([a, b, c, d]),
            algorithm,
            key,
        }
    }

    /// Returns the same public key with another algorithm, and therefore with another ID.
    pub(crate) fn with_algorithm(&self, algorithm: Algorithm) -> Self {
        Self::of(&self.name, algorithm, self.key)
    }

    /// Name of the key. The name of a log's key is usually the log's origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// ID of the key.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Signature type of the key.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Public key, as encoded in RFC 8032.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Verifies a signature of this key over the text of a note.
    pub(super) fn verify(&self, text: &str, signature: &[u8]) -> Option<Verified<'_>> {
        match self.algorithm {
            Algorithm::Ed25519 => {
                self.verify_bytes(text.as_bytes(), signature.try_into().ok()?)?;
                Some(Verified {
                    key: self,
                    timestamp: None,
                })
            }
            Algorithm::CosignatureV1 => {
                let (timestamp, signature) = cosignature::split(signature)?;
                self.verify_bytes(cosignature::message(timestamp, text).as_bytes(), signature)?;
                Some(Verified {
                    key: self,
                    timestamp: Some(timestamp),
                })
            }
        }
    }

    /// Strict verification, so that no signature has a second valid form.
    fn verify_bytes(&self, message: &[u8], signature: &[u8; 64]) -> Option<()> {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.key.verify_strict(message, &signature).ok()
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(key: &str) -> Result<Self, KeyError> {
        let parts = Parts::parse(key)?;
        let algorithm = match parts.algorithm {
            0x01 => Algorithm::Ed25519,
            0x04 => Algorithm::CosignatureV1,
            other => return Err(KeyError::Algorithm(other)),
        };
        let key = Self::new(parts.name, algorithm, &parts.bytes)?;
        parts.check_id(key.id)?;
        Ok(key)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.algorithm as u8], self.public_key().as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, self.id, text::base64(&key))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Parts of `<name>+<key ID>+base64(<algorithm> ‖ <32 bytes>)`.
struct Parts<'t> {
    name: &'t str,
    id: &'t str,
    algorithm: u8,
    bytes: Zeroizing<[u8; 32]>,
}

impl<'t> Parts<'t> {
    fn parse(key: &'t str) -> Result<Self, KeyError> {
        let split = || {
            let (name, rest) = key.split_once('+')?;
            let (id, base64) = rest.split_once('+')?;
            let bytes = Zeroizing::new(text::from_base64(base64)?);
            let (algorithm, bytes) = bytes.split_first()?;
            Some(Self {
                name,
                id,
                algorithm: *algorithm,
                bytes: Zeroizing::new(bytes.try_into().ok()?),
            })
        };
        if key.len() > MAX_KEY_LEN {
            return Err(KeyError::Malformed);
        }
        split().ok_or(KeyError::Malformed)
    }

    /// Checks that the ID in the text is the computed ID.
    fn check_id(&self, id: KeyId) -> Result<(), KeyError> {
        if self.id == id.to_string() {
            Ok(())
        } else {
            Err(KeyError::Id)
        }
    }
}

/// An Ed25519 key that signs notes. Its memory is overwritten when it is dropped.
///
/// The text form `PRIVATE+KEY+<name>+<key ID>+base64(0x01 ‖ <32-byte seed>)` is the form of Go's
/// `golang.org/x/mod/sumdb/note`, so other tools can read the key. C2SP does not specify a form.
#[derive(Clone)]
pub struct SigningKey {
    verifier: VerifierKey,
    secret: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// Makes the key from its seed: 32 bytes from a cryptographic random number generator.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is invalid.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let secret = ed25519_dalek::SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name, Algorithm::Ed25519, secret.verifying_key().as_bytes())?;
        Ok(Self { verifier, secret })
    }

    /// Parses the text form. One newline at the end is accepted, because files usually end with a newline.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is malformed, the type is not 0x01, or the ID does not match the key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_prefix("PRIVATE+KEY+").ok_or(KeyError::Malformed)?;
        let parts = Parts::parse(text)?;
        if parts.algorithm != Algorithm::Ed25519 as u8 {
            return Err(KeyError::Algorithm(parts.algorithm));
        }
        let key = Self::from_seed(parts.name, &parts.bytes)?;
        parts.check_id(key.verifier.id)?;
        Ok(key)
    }

    /// Returns the text form, without a newline. It contains the secret.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; 33]);
        bytes[0] = Algorithm::Ed25519 as u8;
        bytes[1..].copy_from_slice(self.secret.as_bytes());
        let base64 = Zeroizing::new(text::base64(bytes.as_slice()));
        // Enough capacity for the whole text, so that growing leaves no copy in memory.
        let mut text = Zeroizing::new(String::with_capacity(MAX_KEY_LEN));
        for part in [
            "PRIVATE+KEY+",
            &self.verifier.name,
            "+",
            &self.verifier.id.to_string(),
            "+",
            &base64,
        ] {
            text.push_str(part);
        }
        text
    }

    /// Public key that verifies the signatures.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs the text of a note.
    #[must_use]
    pub fn sign(&self, text: &str) -> Signature {
        Signature::new(&self.verifier, self.sign_bytes(text.as_bytes()).to_vec())
    }

    pub(crate) fn sign_bytes(&self, message: &[u8]) -> [u8; 64] {
        self.secret.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    /// Shows only the public key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.verifier).finish()
    }
}
