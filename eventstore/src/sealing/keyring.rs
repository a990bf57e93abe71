//! The keyring: wrapping keys, and secrets for hashes.

use std::fmt;

use chacha20poly1305::aead::Generate as _;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Deserializer, Serialize, de};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::additional_data::AdditionalData;
use super::envelope::SealError;
use super::secret::{LogId, SecretKey};
use crate::clock::Timestamp;

/// Version of the keyring's format.
const VERSION: u32 = 1;

/// Id of a wrapping key: 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct WrappingKeyId(String);

impl WrappingKeyId {
    /// Length of an id in characters.
    pub const LENGTH: usize = 16;

    fn random() -> Result<Self, SealError> {
        let id = <[u8; 8]>::try_generate().map_err(|_| SealError::NoRandomness)?;
        Ok(Self(format!("{:016x}", u64::from_be_bytes(id))))
    }

    /// Parses an id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == Self::LENGTH && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WrappingKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for WrappingKeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("expected 16 hexadecimal digits"))
    }
}

/// A wrapping key as in the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrappingKey {
    id: WrappingKeyId,
    created_at: Timestamp,
    key: SecretKey,
}

/// State of a wrapping key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WrappingKeyState {
    /// The key wraps new data keys.
    Active,
    /// The key only unwraps data keys: it was replaced, or is not activated yet.
    Inactive,
}

/// A wrapping key without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WrappingKeyInfo {
    /// Id of the key.
    pub id: WrappingKeyId,
    /// Time at which the key was made.
    pub created_at: Timestamp,
    /// State of the key.
    pub state: WrappingKeyState,
}

/// Reason why a keyring cannot be used or changed. It contains no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The text is not a keyring.
    #[error("it is not a keyring (line {line}, column {column})")]
    Malformed {
        /// Line of the error, from 1.
        line: usize,
        /// Column of the error, from 1.
        column: usize,
    },
    /// The keyring has a version that this program does not know.
    #[error("its version is {0}, but this program knows only version {VERSION}")]
    Version(u32),
    /// Two wrapping keys have the same id.
    #[error("it has two wrapping keys with the id {0}")]
    Twice(WrappingKeyId),
    /// The keyring has no wrapping key with this id.
    #[error("it has no wrapping key {0}")]
    NoSuchKey(WrappingKeyId),
    /// The active wrapping key cannot be removed.
    #[error("the wrapping key {0} is active: activate another key first")]
    Active(WrappingKeyId),
    /// The operating system provided no random bytes.
    #[error("the operating system provides no random bytes")]
    NoRandomness,
}

impl From<SealError> for KeyringError {
    /// The only possible error is a lack of random bytes.
    fn from(_: SealError) -> Self {
        Self::NoRandomness
    }
}

/// Wrapping keys, one of which is active, and secrets for hashes.
///
/// Data keys are wrapped with the active wrapping key. A new key is added first and activated later, so that
/// all processes have it before the first data key is wrapped with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyring {
    version: u32,
    active: WrappingKeyId,
    wrapping_keys: Vec<WrappingKey>,
    /// Secret for claims.
    claims_secret: SecretKey,
    /// Secret for ids that are computed from values. It is never replaced, because the ids would change.
    ids_secret: SecretKey,
}

impl Keyring {
    /// Makes a keyring with one wrapping key.
    ///
    /// # Errors
    ///
    /// [`SealError::NoRandomness`].
    pub fn generate(now: Timestamp) -> Result<Self, SealError> {
        let first = WrappingKey::random(now)?;
        Ok(Self {
            version: VERSION,
            active: first.id.clone(),
            wrapping_keys: vec![first],
            claims_secret: SecretKey::random()?,
            ids_secret: SecretKey::random()?,
        })
    }

    /// Parses the text of a keyring.
    ///
    /// # Errors
    ///
    /// [`KeyringError`].
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let malformed = |error: serde_json::Error| KeyringError::Malformed {
            line: error.line(),
            column: error.column(),
        };
        let Version { version } = serde_json::from_str(text).map_err(malformed)?;
        if version != VERSION {
            return Err(KeyringError::Version(version));
        }
        let keyring: Self = serde_json::from_str(text).map_err(malformed)?;
        for (index, key) in keyring.wrapping_keys.iter().enumerate() {
            if keyring.wrapping_keys[..index]
                .iter()
                .any(|other| other.id == key.id)
            {
                return Err(KeyringError::Twice(key.id.clone()));
            }
        }
        if keyring.wrapping_key(&keyring.active).is_none() {
            return Err(KeyringError::NoSuchKey(keyring.active));
        }
        Ok(keyring)
    }

    /// Returns the text of the keyring. It contains the keys.
    ///
    /// # Errors
    ///
    /// If the keyring cannot be written as JSON.
    pub fn to_text(&self) -> serde_json::Result<Zeroizing<String>> {
        serde_json::to_string_pretty(self).map(Zeroizing::new)
    }

    /// Whether the other keyring has the same secrets for claims and ids. Keyrings of one log differ only in
    /// their wrapping keys.
    #[must_use]
    pub fn has_same_secrets(&self, other: &Self) -> bool {
        self.claims_secret.bytes() == other.claims_secret.bytes()
            && self.ids_secret.bytes() == other.ids_secret.bytes()
    }

    /// Returns the hash with which a log recognizes its keyring. It depends on both secrets.
    #[must_use]
    pub(crate) fn check_hash(&self, log: LogId) -> [u8; 32] {
        let of_claims = self.claim_hash("log", &log.to_string());
        let digits = of_claims
            .iter()
            .fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"));
        self.id_hash("log", &digits)
    }

    /// Id of the active wrapping key.
    #[must_use]
    pub const fn active_id(&self) -> &WrappingKeyId {
        &self.active
    }

    /// The wrapping keys, in the order in which they were added.
    pub fn wrapping_keys(&self) -> impl Iterator<Item = WrappingKeyInfo> {
        self.wrapping_keys.iter().map(|key| WrappingKeyInfo {
            id: key.id.clone(),
            created_at: key.created_at,
            state: if key.id == self.active {
                WrappingKeyState::Active
            } else {
                WrappingKeyState::Inactive
            },
        })
    }

    /// Adds a wrapping key, which is not active yet.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoRandomness`].
    pub fn add(&mut self, now: Timestamp) -> Result<WrappingKeyId, KeyringError> {
        let key = WrappingKey::random(now)?;
        let id = key.id.clone();
        self.wrapping_keys.push(key);
        Ok(id)
    }

    /// Makes a wrapping key the active key.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoSuchKey`].
    pub fn activate(&mut self, id: &WrappingKeyId) -> Result<(), KeyringError> {
        if self.wrapping_key(id).is_none() {
            return Err(KeyringError::NoSuchKey(id.clone()));
        }
        self.active = id.clone();
        Ok(())
    }

    /// Removes a wrapping key. Data keys that are still wrapped with it can no longer be opened.
    ///
    /// Before this call, in this order: activate another wrapping key, and wait until every process has
    /// loaded this keyring; wrap all data keys again
    /// ([`KeyStore::rewrap_some`](super::KeyStore::rewrap_some)); check that
    /// [`KeyStore::usage`](super::KeyStore::usage) no longer returns the key to remove.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Active`] or [`KeyringError::NoSuchKey`].
    pub fn remove(&mut self, id: &WrappingKeyId) -> Result<(), KeyringError> {
        if *id == self.active {
            return Err(KeyringError::Active(id.clone()));
        }
        let before = self.wrapping_keys.len();
        self.wrapping_keys.retain(|key| key.id != *id);
        if self.wrapping_keys.len() == before {
            return Err(KeyringError::NoSuchKey(id.clone()));
        }
        Ok(())
    }

    /// Returns the hash of a value of some kind, with the secret for claims. Equal values have equal hashes,
    /// and without the secret, a hash reveals nothing about the value.
    #[must_use]
    pub fn claim_hash(&self, kind: &str, value: &str) -> [u8; 32] {
        hash(&self.claims_secret, "claim", kind, value)
    }

    /// Returns the hash of a value of some kind, with the secret for ids. See [`Self::claim_hash`].
    #[must_use]
    pub fn id_hash(&self, kind: &str, value: &str) -> [u8; 32] {
        hash(&self.ids_secret, "id", kind, value)
    }

    pub(super) fn active(&self) -> Option<(&WrappingKeyId, &SecretKey)> {
        self.wrapping_key(&self.active).map(|key| (&self.active, key))
    }

    pub(super) fn wrapping_key(&self, id: &WrappingKeyId) -> Option<&SecretKey> {
        let mut keys = self.wrapping_keys.iter();
        keys.find(|key| key.id == *id).map(|key| &key.key)
    }
}

impl WrappingKey {
    fn random(now: Timestamp) -> Result<Self, SealError> {
        Ok(Self {
            id: WrappingKeyId::random()?,
            created_at: now,
            key: SecretKey::random()?,
        })
    }
}

/// HMAC-SHA-256 over length-prefixed values.
fn hash(secret: &SecretKey, purpose: &str, kind: &str, value: &str) -> [u8; 32] {
    let data = AdditionalData::of(purpose)
        .with(kind.as_bytes())
        .with(value.as_bytes());
    // A key that is shorter than a block of SHA-256 is padded with zeros (RFC 2104).
    let mut key = Zeroizing::new([0; 64]);
    key[..32].copy_from_slice(secret.bytes());
    let mut mac = Hmac::<Sha256>::new(key[..].into());
    mac.update(data.bytes());
    mac.finalize().into_bytes().into()
}
