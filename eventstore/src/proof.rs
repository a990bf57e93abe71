//! Proofs that can be checked without the log: one small file each.
//!
//! - *Inclusion*: the log whose tree has that size and root holds this event at this position.
//! - *Consistency*: the log whose tree has that size and root goes on from the one that had the earlier size
//!   and root; nothing up to there was changed, removed or put in.
//!
//! A proof is worth as much as the root that it leads to. Whoever checks it compares that root with one that
//! they have kept themselves, or that came to them another way: see [`Proof::meets`]. docs/audit.md says how
//! to write a verifier.

mod make;

use serde::{Deserialize, Deserializer, Serialize};

use crate::chain;
use crate::event::{Hash, Position, RecordedEvent};
use crate::merkle::{includes, is_consistent, leaf};
use crate::verify::Trusted;

pub use make::{ProveError, Request, prove};

/// A proof, as its file holds it. Nothing in it is true before [`Proof::check`] says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Which kind of file it is.
    pub format: Format,
    /// The log that is spoken of.
    pub tree: Tree,
    /// That it holds an event.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub inclusion: Option<Inclusion>,
    /// That it goes on from an earlier one.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub consistency: Option<Consistency>,
}

/// Reads a member that is there: `null` is not the same as none.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The kinds of proof files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// The first one.
    #[serde(rename = "event-log-proof-1")]
    V1,
}

/// A log, by its Merkle tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// How many events it has: the position of its last one.
    pub size: u64,
    /// The root over all of them.
    pub root: Hash,
}

/// An event, and what leads from it to the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inclusion {
    /// The event with all its columns.
    pub event: RecordedEvent,
    /// The link before it.
    pub previous_hash: Hash,
    /// The hashes beside the way from its leaf up to the root: PATH of RFC 9162, section 2.1.3.1.
    pub path: Vec<Hash>,
}

/// An earlier log, and what leads from it to the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consistency {
    /// How many events it had.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// PROOF of RFC 9162, section 2.1.4.1.
    pub path: Vec<Hash>,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// It holds neither an inclusion nor a consistency.
    #[error("it proves neither an event nor that a log goes on from another")]
    Empty,
    /// The event was altered, or the link before it.
    #[error("the event's columns do not give its hash")]
    Event,
    /// The event is not in the tree at its position.
    #[error("the path does not lead from the event to the root")]
    Inclusion,
    /// The tree does not go on from the earlier one.
    #[error("the path does not lead from the earlier root to the later one")]
    Consistency,
}

/// How a proof meets a head that somebody trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meets {
    /// It speaks of the log with that head.
    Tree,
    /// It speaks of a log that goes on from the one with that head.
    Earlier,
    /// The head is the event's own position and hash.
    Event,
    /// It speaks of that position, and says otherwise.
    Contradicts,
    /// It does not speak of that position.
    Nothing,
}

impl Proof {
    /// Computes everything anew from the event and the paths. Then the proof is sound *if* its root is:
    /// compare that.
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

    /// How a proof that was checked meets a trusted head. Only the roots, and the event's own hash, can be
    /// met: the link of a head says nothing of other events without the log.
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
