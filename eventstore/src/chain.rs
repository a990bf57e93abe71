//! The hash chain.
//!
//! `hash(n) = SHA-256(hash(n − 1) ‖ canonical(n))`, where `hash(0)` is 32 zero bytes. `canonical(n)` is the
//! RFC 8785 form of a JSON object with one member for each column of the event except `hash`: `aggregate_id`,
//! `aggregate_type`, `event_type`, `event_version`, `metadata`, `payload`, `position`, `recorded_at`
//! (microseconds since 1970, a number) and `sequence`. RFC 8785 makes the bytes independent of how a database
//! stores JSON: MySQL sorts members by its own rule, MariaDB keeps the text.
//!
//! RFC 8785 treats every number as an IEEE 754 double, so two integers beyond 2⁵³ − 1 could have the same
//! form. Appends reject such integers, so events must contain them as strings.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::event::{Hash, Position, RecordedEvent};
use crate::json::canonicalize;

/// Approximate size of an event's type, id and member names, in bytes.
const NAMES: usize = 256;

/// The parts of an event's canonical form that do not depend on its place in the log: the members before
/// `position`, and `sequence`.
///
/// RFC 8785 sorts members by name. The members set by the append (`position`, `recorded_at`) and `sequence`
/// come last, so the caller computes the costly part before the lock is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canonical {
    prefix: Vec<u8>,
    sequence: u64,
}

/// The columns that the caller of an append provides, as text.
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
    /// Writes the opening brace and the members before `position`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<(), NotCanonical> {
        let names = [
            (r#"{"aggregate_id":"#, self.aggregate_id),
            (r#","aggregate_type":"#, self.aggregate_type),
            (r#","event_type":"#, self.event_type),
            (r#","event_version":"#, self.event_version),
        ];
        for (member, name) in names {
            out.extend_from_slice(member.as_bytes());
            // RFC 8785 escapes strings in the same way as `serde_json`.
            serde_json::to_writer(&mut *out, name).map_err(|_| NotCanonical::Name)?;
        }
        out.extend_from_slice(br#","metadata":"#);
        canonicalize(self.metadata, out).map_err(|_| NotCanonical::Metadata)?;
        out.extend_from_slice(br#","payload":"#);
        canonicalize(self.payload, out).map_err(|_| NotCanonical::Payload)
    }
}

/// The columns of [`Texts`] for a recorded event, with metadata and payload as JSON values.
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
    /// Returns the canonical form of an event to be appended, from the texts that the log will store.
    pub(crate) fn of(texts: &Texts<'_>, sequence: u64) -> Result<Self, NotCanonical> {
        let mut prefix = Vec::with_capacity(texts.metadata.len() + texts.payload.len() + NAMES);
        texts.write(&mut prefix)?;
        Ok(Self { prefix, sequence })
    }

    /// Recomputes the canonical form of a recorded event from its columns.
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
        // Removes the closing brace. `bytes` writes the last members.
        prefix.pop();
        Ok(Self {
            prefix,
            sequence: event.sequence,
        })
    }

    /// Returns the length of the members before `position`, in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a canonical form is never empty")]
    pub fn len(&self) -> usize {
        self.prefix.len()
    }

    /// Returns the whole canonical form of the event with the given position and time.
    #[must_use]
    pub fn bytes(&self, position: Position, recorded_at: Timestamp) -> Vec<u8> {
        let mut bytes = self.prefix.clone();
        write_tail(&mut bytes, position, recorded_at, self.sequence);
        bytes
    }

    /// Returns the link after `previous` for the event with the given position and time.
    #[must_use]
    pub fn link(&self, previous: &Hash, position: Position, recorded_at: Timestamp) -> Hash {
        hash(previous, &self.bytes(position, recorded_at))
    }
}

/// Appends the last members and the closing brace.
pub(crate) fn write_tail(bytes: &mut Vec<u8>, position: Position, recorded_at: Timestamp, sequence: u64) {
    let recorded_at = recorded_at.as_micros();
    let tail = format!(r#","position":{position},"recorded_at":{recorded_at},"sequence":{sequence}}}"#);
    bytes.extend_from_slice(tail.as_bytes());
}

/// Returns the link after `previous` for an event, given its whole canonical form.
pub(crate) fn hash(previous: &Hash, canonical: &[u8]) -> Hash {
    let mut sha = Sha256::new();
    sha.update(previous.0);
    sha.update(canonical);
    Hash(sha.finalize().into())
}

/// Whether the hash of a recorded event continues the link before it.
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
