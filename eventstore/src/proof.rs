//! Proofs that can be checked without the log, each in one small file.
//!
//! - *Inclusion*: the log with this tree size and root contains this event at this position.
//! - *Consistency*: the log with this tree size and root extends the log with the earlier size and root. No
//!   event of the earlier log was changed, removed or inserted.
//!
//! A proof is only as trustworthy as its root. The verifier must compare it with a root that they have kept,
//! or received from another source: see [`Proof::meets`]. docs/audit.md explains how to write a verifier.

mod make;

use serde::{Deserialize, Deserializer, Serialize};

use crate::chain;
use crate::event::{Hash, Position, RecordedEvent};
use crate::merkle::{includes, is_consistent, leaf};
use crate::verify::Trusted;

pub use make::{ProveError, Request, prove};

/// A proof, as stored in its file. Its contents are unverified until [`Proof::check`] succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Format of the file.
    pub format: Format,
    /// The log to which the proof applies.
    pub tree: Tree,
    /// Proof that the log contains an event.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub inclusion: Option<Inclusion>,
    /// Proof that the log extends an earlier log.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub consistency: Option<Consistency>,
}

/// Deserializes a member that is present. An explicit `null` is an error, unlike a missing member.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Formats of proof files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// Version 1.
    #[serde(rename = "event-log-proof-1")]
    V1,
}

/// A log, identified by its Merkle tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// Number of events, which is the position of the last event.
    pub size: u64,
    /// Root of the Merkle tree over all events.
    pub root: Hash,
}

/// An event, and the path from the event to the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inclusion {
    /// The event, with all its columns.
    pub event: RecordedEvent,
    /// Link before the event.
    pub previous_hash: Hash,
    /// Sibling hashes on the way from the event's leaf to the root: PATH of RFC 9162, section 2.1.3.1.
    pub path: Vec<Hash>,
}

/// An earlier log, and the path from its root to the later root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consistency {
    /// Number of events in the earlier log.
    pub size: u64,
    /// Root of the Merkle tree over the events of the earlier log.
    pub root: Hash,
    /// Hashes that lead to both roots: PROOF of RFC 9162, section 2.1.4.1.
    pub path: Vec<Hash>,
}

/// Reason why a proof is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The proof contains neither an inclusion nor a consistency proof.
    #[error("it contains neither an inclusion proof nor a consistency proof")]
    Empty,
    /// The event or the link before it was altered.
    #[error("the event's columns do not match its hash")]
    Event,
    /// The event is not in the tree at its position.
    #[error("the path does not lead from the event to the root")]
    Inclusion,
    /// The tree does not extend the earlier tree.
    #[error("the path does not lead from the earlier root to the later one")]
    Consistency,
}

/// Relation between a proof and a trusted head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meets {
    /// The head is the head of the proof's log.
    Tree,
    /// The head is the head of the earlier log, which the proof's log extends.
    Earlier,
    /// The head is the position and the hash of the proof's event.
    Event,
    /// The proof covers the position of the head, but the hash at that position differs.
    Contradicts,
    /// The proof does not cover the position of the head.
    Nothing,
}

impl Proof {
    /// Verifies the proof by recomputing all hashes from the event and the paths. A valid proof is only as
    /// trustworthy as its root, so compare the root with a trusted root.
    ///
    /// # Errors
    ///
    /// [`ProofError`].
    pub fn check(&self) -> Result<(), ProofError> {
        if self.inclusion.is_none() && self.consistency.is_none() {
            return Err(ProofError::Empty);
        }
        let Tree { size, root } = &self.tree;
        if let Some(Inclusion {
            event,
            previous_hash,
            path,
        }) = &self.inclusion
        {
            if !chain::follows(previous_hash, event).unwrap_or(false) {
                return Err(ProofError::Event);
            }
            let index = (event.position > Position::BEGINNING).then(|| event.position.get() - 1);
            if !index.is_some_and(|index| includes(root, *size, index, &leaf(&event.hash), path)) {
                return Err(ProofError::Inclusion);
            }
        }
        if let Some(earlier) = &self.consistency
            && !is_consistent(&earlier.root, earlier.size, root, *size, &earlier.path)
        {
            return Err(ProofError::Consistency);
        }
        Ok(())
    }

    /// Compares a checked proof with a trusted head. Only the roots and the event's own hash can match:
    /// without the log, the link of a head proves nothing about other events.
    #[must_use]
    pub fn meets(&self, trusted: &Trusted) -> Meets {
        let Trusted { position, hash } = trusted;
        let mut said = Meets::Nothing;
        let mut says = |size: u64, root: &Hash, meets| {
            if size == position.get() && said != Meets::Tree {
                said = match (root == hash, said) {
                    (true, _) => meets,
                    (false, Meets::Nothing) => Meets::Contradicts,
                    (false, before) => before,
                };
            }
        };
        says(self.tree.size, &self.tree.root, Meets::Tree);
        if let Some(earlier) = &self.consistency {
            says(earlier.size, &earlier.root, Meets::Earlier);
        }
        if let Some(Inclusion { event, .. }) = &self.inclusion {
            says(event.position.get(), &event.hash, Meets::Event);
        }
        said
    }
}

#[cfg(test)]
mod tests;
