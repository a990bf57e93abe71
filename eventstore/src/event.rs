//! New and recorded events.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::json::strict_value;

/// Number of an event in the whole log. Positions start at 1 and have no gaps; 0 is before the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub struct Position(i64);

impl Position {
    /// The position before the first event.
    pub const BEGINNING: Self = Self(0);

    /// The largest position. No log has an event at this position.
    pub const LAST: Self = Self(i64::MAX);

    /// Returns the position with the given number, or `None` if the number exceeds 2⁶³ − 1.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        i64::try_from(number).ok().map(Self)
    }

    /// Returns the number of the position.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.unsigned_abs()
    }

    /// Returns the position with a number as stored in the database, which is negative if it was altered.
    pub(crate) const fn from_stored(number: i64) -> Self {
        Self(number)
    }

    /// Returns the number of the position as stored in the database.
    pub(crate) const fn to_stored(self) -> i64 {
        self.0
    }

    /// Returns the next position.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Returns the number of events after `earlier` up to and including this position; 0 if `earlier` is not
    /// earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u64> for Position {
    type Error = PositionError;

    fn try_from(number: u64) -> Result<Self, PositionError> {
        Self::new(number).ok_or(PositionError)
    }
}

/// Error for a text or number that is not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a whole number from 0 to 9223372036854775807")]
pub struct PositionError;

/// Accepts only digits: no sign, no spaces.
impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        // Rust's integer parser accepts a leading plus sign.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|_| digits)
            .map(Self)
            .ok_or(PositionError)
    }
}

/// A link of the hash chain: a SHA-256 digest of 32 bytes, displayed as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// Error for a text that is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub struct HashError;

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(HashError);
        }
        let mut hash = Self::default();
        for (byte, at) in hash.0.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| HashError)?;
        }
        Ok(hash)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Accepts only the form in which a hash is displayed.
impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.bytes().any(|digit| digit.is_ascii_uppercase()) {
            return Err(de::Error::custom(HashError));
        }
        text.parse().map_err(de::Error::custom)
    }
}

/// An event to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Type of the aggregate, such as `order`; ASCII, at most 64 characters.
    pub aggregate_type: String,
    /// Id of the aggregate; ASCII, at most 64 characters.
    pub aggregate_id: String,
    /// Number of the event within its aggregate, from 1.
    pub sequence: u64,
    /// Type of the event, such as `OrderPlaced`; ASCII, at most 128 characters.
    pub event_type: String,
    /// Version of the payload format; ASCII, at most 16 characters.
    pub event_version: String,
    /// Content of the event.
    pub payload: Value,
    /// Who caused the event and how, as an object of strings.
    pub metadata: Value,
}

impl From<RecordedEvent> for NewEvent {
    fn from(event: RecordedEvent) -> Self {
        Self {
            aggregate_type: event.aggregate_type,
            aggregate_id: event.aggregate_id,
            sequence: event.sequence,
            event_type: event.event_type,
            event_version: event.event_version,
            payload: event.payload,
            metadata: event.metadata,
        }
    }
}

/// Name of the member that an event has in place of its erased members.
const ERASED: &str = "erased";

/// An event of the log, as stored or with its personal data opened. Deserialization from JSON is as strict as
/// reading from the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedEvent {
    /// Number of the event in the whole log.
    pub position: Position,
    /// Type of the aggregate.
    pub aggregate_type: String,
    /// Id of the aggregate.
    pub aggregate_id: String,
    /// Number of the event within its aggregate, from 1 to 2⁶³ − 1.
    #[serde(deserialize_with = "sequence")]
    pub sequence: u64,
    /// Type of the event.
    pub event_type: String,
    /// Version of the payload format.
    pub event_version: String,
    /// Content of the event.
    #[serde(deserialize_with = "strict_value")]
    pub payload: Value,
    /// Who caused the event and how.
    #[serde(deserialize_with = "strict_value")]
    pub metadata: Value,
    /// Time of the append. This time is not earlier than the time of the previous event, unless the time of
    /// the previous event was too far ahead of the clock.
    pub recorded_at: Timestamp,
    /// Link of the hash chain up to and including this event.
    pub hash: Hash,
    /// When the personal data of the event was erased. The payload then has the member `erased` with this
    /// time in place of the personal members. Always `None` for a stored event.
    #[serde(skip)]
    pub erased_at: Option<Timestamp>,
}

impl RecordedEvent {
    /// Removes members of the payload, and notes when they were erased.
    pub fn erase_members(&mut self, members: &[&str], at: Timestamp) {
        if let Value::Object(payload) = &mut self.payload {
            payload.retain(|name, _| !members.contains(&name.as_str()));
            payload.insert(ERASED.to_owned(), Value::String(at.to_string()));
        }
        self.erased_at = Some(at);
    }

    /// Reads the event with `read`, which gets its type, version and payload. Returns `None` if the personal
    /// data of the event was erased.
    ///
    /// # Errors
    ///
    /// The errors of `read`.
    pub fn content<T, E>(
        &self,
        read: impl FnOnce(&str, &str, &Value) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        match self.erased_at {
            Some(_) => Ok(None),
            None => read(&self.event_type, &self.event_version, &self.payload).map(Some),
        }
    }
}

/// Reads the sequence number of an event. Rejects 0, and numbers that do not fit into a database column.
fn sequence<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let sequence = u64::deserialize(deserializer)?;
    if sequence == 0 || i64::try_from(sequence).is_err() {
        return Err(de::Error::custom(
            "expected a sequence from 1 to 9223372036854775807",
        ));
    }
    Ok(sequence)
}
