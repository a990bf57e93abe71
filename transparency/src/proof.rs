//! Proofs that a log contains an entry, which can be checked without the log.
//!
//! Source: [c2sp.org/tlog-proof](https://c2sp.org/tlog-proof), commit `ab17a74` of C2SP/C2SP (no version has
//! been released). Files have the extension `.tlog-proof`.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::note::{MAX_NOTE_LEN, Verified};
use crate::policy::{Policy, Untrusted};
use crate::tree::{self, MAX_PROOF_LEN, verify_inclusion};
use crate::{Hash, text};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Maximum length of the extra data in bytes.
pub const MAX_EXTRA_LEN: usize = 64 * 1024;

/// Maximum length of a proof in bytes: the extra data in base64, the checkpoint, and the other lines.
pub const MAX_LEN: usize = MAX_EXTRA_LEN / 3 * 4 + MAX_NOTE_LEN + 4096;

/// Reason why a text is not a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// More than [`MAX_LEN`] bytes.
    #[error("the proof is longer than {MAX_LEN} bytes")]
    TooLong,
    /// The first line is not `c2sp.org/tlog-proof@v1`, or the empty line before the checkpoint is missing.
    #[error("the text is not a proof of the format {HEADER}")]
    Structure,
    /// The extra data is not base64, or longer than [`MAX_EXTRA_LEN`] bytes.
    #[error("the extra data is not base64 or too long")]
    Extra,
    /// The index is missing, or not a decimal number of at most 2⁶³ − 1 without leading zeros.
    #[error("the index is missing or malformed")]
    Index,
    /// A line of the path is not a hash, or the path has more than [`MAX_PROOF_LEN`] lines.
    #[error("the path is malformed or too long")]
    Path,
    /// The checkpoint is malformed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Reason why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProof {
    /// The checkpoint is not trusted.
    #[error(transparent)]
    Checkpoint(#[from] Untrusted),
    /// The tree does not contain the entry at the index.
    #[error(transparent)]
    Inclusion(#[from] tree::ProofError),
}

/// A proof of inclusion. Its contents are untrusted until [`TlogProof::verify`] succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    index: u64,
    extra: Option<Vec<u8>>,
    path: Vec<Hash>,
    checkpoint: SignedCheckpoint,
}

impl TlogProof {
    /// Makes a proof from an inclusion proof of a [`Plan`](tree::Plan) for the size of the checkpoint. The
    /// proof is not verified.
    #[must_use]
    pub const fn new(index: u64, path: Vec<Hash>, checkpoint: SignedCheckpoint) -> Self {
        Self {
            index,
            extra: None,
            path,
            checkpoint,
        }
    }

    /// Adds extra data. Nothing authenticates this data.
    ///
    /// # Errors
    ///
    /// Returns an error if the data is longer than [`MAX_EXTRA_LEN`].
    pub fn with_extra(mut self, extra: Vec<u8>) -> Result<Self, ParseError> {
        if extra.len() > MAX_EXTRA_LEN {
            return Err(ParseError::Extra);
        }
        self.extra = Some(extra);
        Ok(self)
    }

    /// Index of the entry in the log, from 0.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Extra data, which nothing authenticates.
    #[must_use]
    pub fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// Hashes from the sibling of the leaf to the child of the root.
    #[must_use]
    pub fn path(&self) -> &[Hash] {
        &self.path
    }

    /// The checkpoint that the path leads to.
    #[must_use]
    pub const fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Verifies that the log of the policy contains the entry with this [leaf hash](Hash::leaf) at the index
    /// of the proof. Returns the verified signatures of the checkpoint.
    ///
    /// # Errors
    ///
    /// Returns an error if the policy does not trust the checkpoint, or if the path is invalid.
    pub fn verify<'p>(&self, leaf: &Hash, policy: &'p Policy) -> Result<Vec<Verified<'p>>, InvalidProof> {
        let verified = policy.check(&self.checkpoint)?;
        let tree = self.checkpoint.checkpoint();
        verify_inclusion(&self.path, self.index, leaf, tree.size(), &tree.root())?;
        Ok(verified)
    }

    /// Parses a proof. The text form of the result is equal to `bytes`.
    ///
    /// # Errors
    ///
    /// Returns an error if the proof is malformed or exceeds a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() > MAX_LEN {
            return Err(ParseError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ParseError::Structure)?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ParseError::Structure)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(ParseError::Structure);
        }
        let extra = match lines.next_if(|line| line.starts_with("extra ")) {
            Some(line) => {
                let extra = line.strip_prefix("extra ").and_then(text::from_base64);
                Some(extra.ok_or(ParseError::Extra)?)
            }
            None => None,
        };
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(text::decimal).ok_or(ParseError::Index)?;
        let path = path(lines).ok_or(ParseError::Path)?;
        let proof = Self::new(index, path, SignedCheckpoint::parse(checkpoint.as_bytes())?);
        match extra {
            Some(extra) => proof.with_extra(extra),
            None => Ok(proof),
        }
    }
}

/// Parses the lines of a path.
pub(crate) fn path<'l>(lines: impl Iterator<Item = &'l str>) -> Option<Vec<Hash>> {
    let mut path = Vec::new();
    for line in lines {
        if path.len() == MAX_PROOF_LEN {
            return None;
        }
        path.push(line.parse().ok()?);
    }
    Some(path)
}

impl FromStr for TlogProof {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", text::base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}
