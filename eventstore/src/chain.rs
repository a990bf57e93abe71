//! The hash chain.
//!
//! `hash(n) = SHA-256(hash(n − 1) ‖ canonical(n))`, where `hash(0)` is 32 zero bytes and `canonical(n)` is
//! the RFC 8785 form of the JSON object with one member for every column of the event but `hash`:
//! `aggregate_id`, `aggregate_type`, `event_type`, `event_version`, `metadata`, `payload`, `position`,
//! `recorded_at` (microseconds since 1970, a number) and `sequence`. RFC 8785 makes the bytes independent of
//! how a database keeps JSON: MySQL sorts the members by its own rule, MariaDB keeps the text.
//!
//! RFC 8785 reads every number as an IEEE 754 double, so that two integers beyond 2⁵³ − 1 could have one
//! form; an append refuses them, and events say such values as strings.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::event::{Hash, Position, RecordedEvent};
use crate::json::canonicalize;

/// About how many bytes the names of an event take, and of its members.
const NAMES: usize = 256;

/// The part of an event's canonical form that is known before its place in the log is: everything up to
/// `position`.
///
/// RFC 8785 orders members by name, and the members that the append gives (`position`, `recorded_at`) and
/// `sequence` sort last; so the costly part is made by the caller, outside the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canonical {
    prefix: Vec<u8>,
    sequence: u64,
}

/// The columns that the caller of an append gives, as text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Texts<'a> {
    pub(crate) aggregate_id: &'a str,
    pub(crate) aggregate_type: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) event_version: &'a str,
    /// JSON.
    pub(crate) metadata: &'a str,
    /// JSON.
    pub(crate) payload: &'a str,
}

/// A column that has no canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotCanonical {
    Name,
    Metadata,
    Payload,
}

impl Texts<'_> {
    /// Writes the members that come first, and the brace before them.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<(), NotCanonical> {
        let names = [
            (r#"{"aggregate_id":"#, self.aggregate_id),
            (r#","aggregate_type":"#, self.aggregate_type),
            (r#","event_type":"#, self.event_type),
            (r#","event_version":"#, self.event_version),
        ];
        for (member, name) in names {
            out.extend_from_slice(member.as_bytes());
            // RFC 8785 escapes in a string what `serde_json` does, in the same way.
            serde_json::to_writer(&mut *out, name).map_err(|_| NotCanonical::Name)?;
        }
        out.extend_from_slice(br#","metadata":"#);
        canonicalize(self.metadata, out).map_err(|_| NotCanonical::Metadata)?;
        out.extend_from_slice(br#","payload":"#);
        canonicalize(self.payload, out).map_err(|_| NotCanonical::Payload)
    }
}

/// The same as values, of an event that was read.
#[derive(Serialize)]
struct Content<'a> {
    aggregate_id: &'a str,
    aggregate_type: &'a str,
    event_type: &'a str,
    event_version: &'a str,
    metadata: &'a Value,
    payload: &'a Value,
}

impl Canonical {
    /// The canonical form of an event that is about to be appended, from the texts that the log will hold.
    pub(crate) fn of(texts: &Texts<'_>, sequence: u64) -> Result<Self, NotCanonical> {
        let mut prefix = Vec::with_capacity(texts.metadata.len() + texts.payload.len() + NAMES);
        texts.write(&mut prefix)?;
        Ok(Self { prefix, sequence })
    }

    /// The canonical form of a recorded event, made anew from its columns.
    ///
    /// # Errors
    ///
    /// If a value cannot be written as JSON.
    pub fn of_recorded(event: &RecordedEvent) -> crate::Result<Self> {
        let mut prefix = serde_json_canonicalizer::to_vec(&Content {
            aggregate_id: &event.aggregate_id,
            aggregate_type: &event.aggregate_type,
            event_type: &event.event_type,
            event_version: &event.event_version,
            metadata: &event.metadata,
            payload: &event.payload,
        })?;
        // The closing brace; the members that come last are written by `bytes`.
        prefix.pop();
        Ok(Self {
            prefix,
            sequence: event.sequence,
        })
    }

    /// How many bytes it has so far.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.prefix.len()
    }

    /// The whole canonical form, once the event's place is known.
    #[must_use]
    pub fn bytes(&self, position: Position, recorded_at: Timestamp) -> Vec<u8> {
        let mut bytes = self.prefix.clone();
        write_tail(&mut bytes, position, recorded_at, self.sequence);
        bytes
    }

    /// The link that follows `previous` when the event is recorded there and then.
    #[must_use]
    pub fn link(&self, previous: &Hash, position: Position, recorded_at: Timestamp) -> Hash {
        hash(previous, &self.bytes(position, recorded_at))
    }
}

/// Writes the members that come last behind those that come first.
pub(crate) fn write_tail(bytes: &mut Vec<u8>, position: Position, recorded_at: Timestamp, sequence: u64) {
    let recorded_at = recorded_at.as_micros();
    let tail = format!(r#","position":{position},"recorded_at":{recorded_at},"sequence":{sequence}}}"#);
    bytes.extend_from_slice(tail.as_bytes());
}

/// The link after `previous` of an event in its whole canonical form.
pub(crate) fn hash(previous: &Hash, canonical: &[u8]) -> Hash {
    let mut sha = Sha256::new();
    sha.update(previous.0);
    sha.update(canonical);
    Hash(sha.finalize().into())
}

/// Checks one recorded event against the link before it.
///
/// # Errors
///
/// If a value cannot be written as JSON.
pub fn follows(previous: &Hash, event: &RecordedEvent) -> crate::Result<bool> {
    let link = Canonical::of_recorded(event)?.link(previous, event.position, event.recorded_at);
    Ok(link == event.hash)
}

#[cfg(test)]
mod tests;
