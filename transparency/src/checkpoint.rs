//! Checkpoints: signed sizes and roots of a log.
//!
//! Source: [c2sp.org/tlog-checkpoint](https://c2sp.org/tlog-checkpoint), version 1.0.0.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use crate::note::{Note, NoteError, Signature, SigningKey, Verified, VerifierKey, VerifyError};
use crate::{Hash, MAX_SIZE, text};

/// Reason why a text is not a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The note around the checkpoint is malformed.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Fewer than three lines, or no newline at the end.
    #[error("a checkpoint has at least three lines, and none is empty")]
    Lines,
    /// The origin or an extension line is empty or contains control characters.
    #[error("a line of the checkpoint is empty or contains control characters")]
    Line,
    /// The size is not a decimal number of at most 2⁶³ − 1 without leading zeros.
    #[error("the size is not a number from 0 to 9223372036854775807 without leading zeros")]
    Size,
    /// The root is not 32 bytes in base64.
    #[error("the root is not 32 bytes in base64")]
    Root,
}

/// Text of a checkpoint: three or more lines, each with a newline.
///
/// ```text
/// <origin>
/// <size>
/// <base64 root>
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// Makes a checkpoint without extension lines.
    ///
    /// # Errors
    ///
    /// Returns an error if the origin is empty or contains control characters, or if the size exceeds
    /// [`MAX_SIZE`].
    pub fn new(origin: impl Into<String>, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        let checkpoint = Self {
            origin: origin.into(),
            size,
            root,
            extensions: Vec::new(),
        };
        check_line(&checkpoint.origin)?;
        if size > MAX_SIZE {
            return Err(CheckpointError::Size);
        }
        Ok(checkpoint)
    }

    /// Adds an extension line. C2SP does not recommend extension lines, because monitors cannot check them.
    ///
    /// # Errors
    ///
    /// Returns an error if the line is empty or contains control characters.
    pub fn with_extension(mut self, line: impl Into<String>) -> Result<Self, CheckpointError> {
        let line = line.into();
        check_line(&line)?;
        self.extensions.push(line);
        Ok(self)
    }

    /// Identity of the log. Unlike a key name, an origin can contain spaces and plus characters.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Number of leaves, from 0 to [`MAX_SIZE`].
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Root of the Merkle tree over the leaves.
    #[must_use]
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// Lines after the root, without newlines.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

fn check_line(line: &str) -> Result<(), CheckpointError> {
    if line.is_empty() || line.bytes().any(|byte| byte < 0x20) {
        return Err(CheckpointError::Line);
    }
    Ok(())
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    /// Parses the text of a checkpoint, without signatures.
    fn from_str(body: &str) -> Result<Self, CheckpointError> {
        let body = body.strip_suffix('\n').ok_or(CheckpointError::Lines)?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Lines);
        };
        let size = text::decimal(size).ok_or(CheckpointError::Size)?;
        let root = root.parse().map_err(|_| CheckpointError::Root)?;
        lines.try_fold(Self::new(origin, size, root)?, Self::with_extension)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A checkpoint in a signed note. Its contents are untrusted until [`SignedCheckpoint::verify`] or
/// [`Policy::check`](crate::policy::Policy::check) succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

impl SignedCheckpoint {
    /// Signs a checkpoint with the key of the log.
    ///
    /// A log must never sign two different roots of one size, and must never sign a smaller size after a
    /// larger one unless the smaller tree is a prefix of the larger. The caller has to record what it signs,
    /// durably and before this call.
    ///
    /// # Errors
    ///
    /// Returns an error if the note would exceed a limit.
    pub fn sign(checkpoint: Checkpoint, key: &SigningKey) -> Result<Self, CheckpointError> {
        let mut note = Note::new(checkpoint.to_string())?;
        note.sign(key)?;
        Ok(Self { checkpoint, note })
    }

    /// Parses a signed checkpoint. The text form of the result is equal to `bytes`.
    ///
    /// # Errors
    ///
    /// Returns an error if the note or the checkpoint is malformed, or if the note exceeds a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let note = Note::parse(bytes)?;
        Ok(Self {
            checkpoint: note.text().parse()?,
            note,
        })
    }

    /// Verifies the signatures and cosignatures of known keys: [`Note::verify`]. The keys must be keys that
    /// the caller trusts for this [origin](Checkpoint::origin).
    ///
    /// # Errors
    ///
    /// Returns an error if no signature is from a known key, or if any signature of a known key is invalid.
    pub fn verify<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<Vec<Verified<'k>>, VerifyError> {
        self.note.verify(keys)
    }

    /// Adds a signature or cosignature without verifying it: [`Note::add`]. To add cosignatures from others,
    /// use [`cosignature::merge`](crate::cosignature::merge).
    ///
    /// # Errors
    ///
    /// Returns an error if the note would exceed a limit.
    pub fn add(&mut self, signature: Signature) -> Result<(), NoteError> {
        self.note.add(signature)
    }

    /// Removes the signatures of all other keys, and repeated lines: [`Note::retain`].
    pub fn retain(&mut self, keys: &[VerifierKey]) {
        self.note.retain(keys);
    }

    /// The size and the root, untrusted until the signatures are verified.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The signed note.
    #[must_use]
    pub const fn note(&self) -> &Note {
        &self.note
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.note, f)
    }
}
