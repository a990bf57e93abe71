//! Secret keys, and the id of a log.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, Generate as _, Key, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use super::additional_data::AdditionalData;
use super::envelope::SealError;

/// Length of a nonce in bytes.
pub(super) const NONCE: usize = 24;

/// A secret key of 32 bytes. Its memory is overwritten when it is dropped, and its `Debug` output does not
/// contain it.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl SecretKey {
    /// Makes a random key.
    ///
    /// # Errors
    ///
    /// [`SealError::NoRandomness`].
    pub fn random() -> Result<Self, SealError> {
        let key = Key::<XChaCha20Poly1305>::try_generate().map_err(|_| SealError::NoRandomness)?;
        Ok(Self(Zeroizing::new(key.into())))
    }

    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        <[u8; 32]>::try_from(bytes)
            .ok()
            .map(|key| Self(Zeroizing::new(key)))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Encrypts `plaintext` with a random nonce. The result begins with the nonce.
    pub(super) fn encrypt(&self, data: &AdditionalData, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce = XNonce::try_generate().map_err(|_| SealError::NoRandomness)?;
        let payload = Payload {
            msg: plaintext,
            aad: data.bytes(),
        };
        let ciphertext = self
            .cipher()
            .encrypt(&nonce, payload)
            .map_err(|_| SealError::TooLarge)?;
        Ok([&nonce[..], &ciphertext].concat())
    }

    /// Decrypts a result of [`Self::encrypt`]. Returns `None` if it was made with another key or other
    /// additional data, or was altered.
    pub(super) fn decrypt(&self, data: &AdditionalData, encrypted: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, ciphertext) = encrypted.split_at_checked(NONCE)?;
        let payload = Payload {
            msg: ciphertext,
            aad: data.bytes(),
        };
        let nonce = XNonce::try_from(nonce).ok()?;
        self.cipher().decrypt(&nonce, payload).ok().map(Zeroizing::new)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.bytes().into())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

/// Writes the key in Base64.
impl Serialize for SecretKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(self.bytes())))
    }
}

impl<'de> Deserialize<'de> for SecretKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = STANDARD.decode(text.as_bytes()).map(Zeroizing::new).ok();
        bytes
            .and_then(|bytes| Self::of(&bytes))
            .ok_or_else(|| de::Error::custom("expected 32 bytes in Base64"))
    }
}

/// Id of a log: 16 random bytes. It binds ciphertexts to their log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId(pub [u8; 16]);

impl LogId {
    /// Makes a random id.
    ///
    /// # Errors
    ///
    /// [`SealError::NoRandomness`].
    pub fn random() -> Result<Self, SealError> {
        let id = <[u8; 16]>::try_generate().map_err(|_| SealError::NoRandomness)?;
        Ok(Self(id))
    }
}

/// Displays the id as 32 hexadecimal digits.
impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
