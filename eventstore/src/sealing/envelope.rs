//! Payloads with sealed members.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::additional_data::AdditionalData;
use super::data_key::{DataKey, DataKeyId};
use super::keyring::WrappingKeyId;
use super::secret::{LogId, NONCE};
use crate::json::strict_json;

/// The plaintext is padded to a multiple of this number of bytes.
pub const BLOCK: usize = 32;

/// Version of the encryption.
const VERSION: u64 = 1;

/// Name of the member that holds the encrypted members.
const SEALED: &str = "sealed";

/// Reason why data could not be sealed or opened. It contains no data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The operating system provided no random bytes.
    #[error("the operating system provides no random bytes")]
    NoRandomness,
    /// The data is too large to be encrypted.
    #[error("the data is too large to be encrypted")]
    TooLarge,
    /// The personal members have a value that the log does not accept: an integer beyond 2⁵³ − 1, a number
    /// with more precision than a double keeps, or arrays and objects that are nested too deeply.
    #[error("the personal data has a number that is too large or too precise, or is nested too deeply")]
    NotStorable,
    /// The payload is not an object.
    #[error("the payload is not a JSON object")]
    NotAnObject,
    /// The version of the event is not declared, so it cannot be sealed.
    #[error("events of this type and version are not declared, so they cannot be sealed")]
    UnknownVersion,
    /// The payload has a member with the name that sealing uses.
    #[error("the payload has a member named {SEALED:?}")]
    AlreadySealed,
    /// A stored event does not have the form of a sealed event.
    #[error("the sealed event is malformed: {0}")]
    Malformed(&'static str),
    /// The event was sealed with another data key than this one.
    #[error("the event was sealed with the data key {0}")]
    OtherDataKey(DataKeyId),
    /// The keyring does not have its active wrapping key.
    #[error("the keyring has no active wrapping key")]
    NoActiveKey,
    /// The keyring does not have the wrapping key.
    #[error("the keyring has no wrapping key {0}")]
    UnknownWrappingKey(WrappingKeyId),
    /// The wrapped key does not open with the wrapping key of that id.
    #[error("a data key does not open: it was altered, or the keyring belongs to another log")]
    WrongKey,
    /// The ciphertext does not open with the data key.
    #[error("the sealed data does not open: it was altered, or it belongs to another event")]
    WrongData,
}

/// The event to which sealed data is bound.
#[derive(Debug, Clone, Copy)]
pub struct EventContext<'a> {
    /// Id of the log.
    pub log: LogId,
    /// Type of the aggregate.
    pub aggregate_type: &'a str,
    /// Id of the aggregate.
    pub aggregate_id: &'a str,
    /// Number of the event within its aggregate.
    pub sequence: u64,
    /// Type of the event.
    pub event_type: &'a str,
    /// Version of the payload format, as stored.
    pub event_version: &'a str,
}

impl EventContext<'_> {
    fn additional_data(&self) -> AdditionalData {
        AdditionalData::of("event")
            .with(&VERSION.to_be_bytes())
            .with(&self.log.0)
            .with(self.aggregate_type.as_bytes())
            .with(self.aggregate_id.as_bytes())
            .with(&self.sequence.to_be_bytes())
            .with(self.event_type.as_bytes())
            .with(self.event_version.as_bytes())
    }
}

/// The member `sealed` of a payload.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    v: u64,
    key: &'a str,
    nonce: &'a str,
    ciphertext: &'a str,
}

/// A stored payload with sealed members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedPayload {
    key: DataKeyId,
    /// Nonce and ciphertext.
    encrypted: Vec<u8>,
    /// The other members.
    clear: Map<String, Value>,
}

impl SealedPayload {
    /// Parses a stored payload.
    ///
    /// # Errors
    ///
    /// [`SealError::NotAnObject`] or [`SealError::Malformed`].
    pub fn parse(payload: &Value) -> Result<Self, SealError> {
        let members = payload.as_object().ok_or(SealError::NotAnObject)?;
        let sealed = members
            .get(SEALED)
            .ok_or(SealError::Malformed("it has no sealed member"))?;
        let envelope = Envelope::deserialize(sealed)
            .map_err(|_| SealError::Malformed("its sealed member does not have the expected members"))?;
        if envelope.v != VERSION {
            return Err(SealError::Malformed("its version is unknown"));
        }
        let mut encrypted = Vec::with_capacity(NONCE + envelope.ciphertext.len());
        let mut decode = |text: &str| {
            let decoded = STANDARD.decode_vec(text, &mut encrypted);
            decoded.map_err(|_| SealError::Malformed("its nonce or ciphertext is not Base64"))?;
            Ok(encrypted.len())
        };
        if decode(envelope.nonce)? != NONCE {
            return Err(SealError::Malformed("its nonce does not have 24 bytes"));
        }
        decode(envelope.ciphertext)?;
        let clear = members.iter().filter(|(name, _)| *name != SEALED);
        Ok(Self {
            key: envelope.key.parse()?,
            encrypted,
            clear: clear.map(|(name, value)| (name.clone(), value.clone())).collect(),
        })
    }

    /// Whether a payload has the member of sealed payloads, `sealed`.
    #[must_use]
    pub fn is_sealed(payload: &Value) -> bool {
        payload.get(SEALED).is_some()
    }

    /// Id of the data key.
    #[must_use]
    pub const fn key(&self) -> DataKeyId {
        self.key
    }

    /// The members that are not sealed.
    #[must_use]
    pub const fn clear(&self) -> &Map<String, Value> {
        &self.clear
    }

    /// Returns the payload as it was before sealing.
    ///
    /// # Errors
    ///
    /// [`SealError::OtherDataKey`] or [`SealError::WrongData`].
    pub fn open(self, key: &DataKey, context: &EventContext<'_>) -> Result<Value, SealError> {
        if key.id != self.key {
            return Err(SealError::OtherDataKey(self.key));
        }
        let plaintext = key.secret.decrypt(&context.additional_data(), &self.encrypted);
        let plaintext = plaintext.ok_or(SealError::WrongData)?;
        let text = std::str::from_utf8(&plaintext).map_err(|_| SealError::WrongData)?;
        // The padding is white space after the JSON text.
        let Ok(Value::Object(personal)) = strict_json(text) else {
            return Err(SealError::WrongData);
        };
        let mut members = self.clear;
        members.extend(personal);
        Ok(Value::Object(members))
    }
}

impl DataKey {
    /// Returns `payload` with its `personal` members sealed. A payload without these members is returned
    /// unchanged.
    ///
    /// # Errors
    ///
    /// [`SealError::NotAnObject`], [`SealError::AlreadySealed`], [`SealError::NotStorable`],
    /// [`SealError::NoRandomness`] or [`SealError::TooLarge`].
    pub fn seal(
        &self,
        payload: Value,
        personal: &[&str],
        context: &EventContext<'_>,
    ) -> Result<Value, SealError> {
        let Value::Object(mut clear) = payload else {
            return Err(SealError::NotAnObject);
        };
        if clear.contains_key(SEALED) {
            return Err(SealError::AlreadySealed);
        }
        let members: Map<String, Value> = personal
            .iter()
            .filter_map(|name| clear.remove_entry(*name))
            .collect();
        if members.is_empty() {
            return Ok(Value::Object(clear));
        }
        let text = Zeroizing::new(Value::Object(members).to_string());
        // The append does not see the members, so it cannot reject what `open` would reject.
        strict_json(&text).map_err(|_| SealError::NotStorable)?;
        let encrypted = self.secret.encrypt(&context.additional_data(), &padded(&text))?;
        let (nonce, ciphertext) = encrypted.split_at(NONCE);
        let envelope = Envelope {
            v: VERSION,
            key: &self.id.to_string(),
            nonce: &STANDARD.encode(nonce),
            ciphertext: &STANDARD.encode(ciphertext),
        };
        let envelope = serde_json::to_value(envelope).map_err(|_| SealError::TooLarge)?;
        clear.insert(SEALED.to_owned(), envelope);
        Ok(Value::Object(clear))
    }
}

/// Returns a JSON text, padded with spaces.
fn padded(text: &str) -> Zeroizing<Vec<u8>> {
    let length = text.len().next_multiple_of(BLOCK);
    // With this capacity, the text is not copied to another place in memory.
    let mut padded = Zeroizing::new(Vec::with_capacity(length));
    padded.extend_from_slice(text.as_bytes());
    padded.resize(length, b' ');
    padded
}

#[cfg(test)]
impl SealedPayload {
    pub(super) fn encrypted_len(&self) -> usize {
        self.encrypted.len()
    }

    pub(super) fn flip(&mut self, at: usize, bits: u8) {
        self.encrypted[at] ^= bits;
    }
}
