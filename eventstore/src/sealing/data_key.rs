//! The data key of an aggregate.

use std::fmt;

use chacha20poly1305::aead::Generate as _;

use super::additional_data::AdditionalData;
use super::envelope::SealError;
use super::keyring::{Keyring, WrappingKeyId};
use super::secret::{LogId, SecretKey};

/// Id of a data key: 16 random bytes. Displayed as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DataKeyId(pub [u8; 16]);

impl fmt::Display for DataKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for DataKeyId {
    type Err = SealError;

    fn from_str(text: &str) -> Result<Self, SealError> {
        let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return Err(SealError::Malformed("its key id is not 32 hexadecimal digits"));
        }
        u128::from_str_radix(text, 16)
            .map(|id| Self(id.to_be_bytes()))
            .map_err(|_| SealError::Malformed("its key id is not 32 hexadecimal digits"))
    }
}

/// The key with which the personal data of one aggregate is sealed.
#[derive(Debug, Clone)]
pub struct DataKey {
    /// Id of the key.
    pub id: DataKeyId,
    pub(super) secret: SecretKey,
}

/// A data key as stored: encrypted with a wrapping key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Id of the data key.
    pub id: DataKeyId,
    /// Id of the wrapping key.
    pub wrapping_key: WrappingKeyId,
    /// Nonce and ciphertext.
    pub wrapped: Vec<u8>,
}

/// The log and the aggregate to which a wrapped key is bound.
#[derive(Debug, Clone, Copy)]
pub struct KeyOwner<'a> {
    /// Id of the log.
    pub log: LogId,
    /// Type of the aggregate.
    pub aggregate_type: &'a str,
    /// Id of the aggregate.
    pub aggregate_id: &'a str,
}

impl KeyOwner<'_> {
    fn additional_data(&self, id: DataKeyId, wrapping_key: &WrappingKeyId) -> AdditionalData {
        AdditionalData::of("data key 1")
            .with(&self.log.0)
            .with(self.aggregate_type.as_bytes())
            .with(self.aggregate_id.as_bytes())
            .with(&id.0)
            .with(wrapping_key.as_str().as_bytes())
    }
}

impl DataKey {
    /// Makes a random key with a random id.
    ///
    /// # Errors
    ///
    /// [`SealError::NoRandomness`].
    pub fn random() -> Result<Self, SealError> {
        let id = <[u8; 16]>::try_generate().map_err(|_| SealError::NoRandomness)?;
        Ok(Self {
            id: DataKeyId(id),
            secret: SecretKey::random()?,
        })
    }

    /// Encrypts the key with the active wrapping key.
    ///
    /// # Errors
    ///
    /// [`SealError::NoActiveKey`] or [`SealError::NoRandomness`].
    pub fn wrap(&self, keyring: &Keyring, owner: &KeyOwner<'_>) -> Result<WrappedKey, SealError> {
        let (wrapping_key, secret) = keyring.active().ok_or(SealError::NoActiveKey)?;
        let data = owner.additional_data(self.id, wrapping_key);
        Ok(WrappedKey {
            id: self.id,
            wrapping_key: wrapping_key.clone(),
            wrapped: secret.encrypt(&data, self.secret.bytes())?,
        })
    }
}

impl WrappedKey {
    /// Decrypts the key.
    ///
    /// # Errors
    ///
    /// [`SealError::UnknownWrappingKey`] if the keyring does not have the wrapping key, and
    /// [`SealError::WrongKey`] if the stored key does not belong to this owner, was altered, or was encrypted
    /// by another keyring.
    pub fn unwrap(&self, keyring: &Keyring, owner: &KeyOwner<'_>) -> Result<DataKey, SealError> {
        let secret = keyring
            .wrapping_key(&self.wrapping_key)
            .ok_or_else(|| SealError::UnknownWrappingKey(self.wrapping_key.clone()))?;
        let data = owner.additional_data(self.id, &self.wrapping_key);
        let key = secret.decrypt(&data, &self.wrapped);
        let secret = key
            .and_then(|key| SecretKey::of(&key))
            .ok_or(SealError::WrongKey)?;
        Ok(DataKey { id: self.id, secret })
    }
}
