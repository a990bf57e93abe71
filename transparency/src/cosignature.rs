//! Cosignatures: timestamped statements of witnesses about checkpoints.
//!
//! Source: [c2sp.org/tlog-cosignature](https://c2sp.org/tlog-cosignature), version 1.0.1. Only the Ed25519
//! type `cosignature/v1` is supported.
//!
//! A cosignature states that the checkpoint is the largest consistent tree of this log that the witness had
//! seen at that time. The signature is 72 bytes: the time in seconds since 1970-01-01 UTC as a big-endian
//! `u64`, and the Ed25519 signature over `cosignature/v1\ntime <seconds>\n` and the text of the checkpoint.

#[cfg(test)]
mod tests;

use crate::MAX_SIZE;
use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::note::{Algorithm, NoteError, Signature, SigningKey, Verified, VerifierKey, VerifyError};

/// Returns the signed message.
pub(crate) fn message(timestamp: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {timestamp}\n{text}")
}

/// Splits a signature into its time and the Ed25519 signature. Times above 2⁶³ − 1 are not allowed.
pub(crate) fn split(signature: &[u8]) -> Option<(u64, &[u8; 64])> {
    let (timestamp, signature) = signature.split_first_chunk()?;
    let timestamp = u64::from_be_bytes(*timestamp);
    (timestamp <= MAX_SIZE).then_some((timestamp, signature.try_into().ok()?))
}

/// A time that a cosignature cannot have: 0 or more than 2⁶³ − 1 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cosignature cannot have the time {0}")]
pub struct TimestampError(pub u64);

/// Key of a witness.
///
/// Its file has the form of a [`SigningKey`], as with the witnesses of transparency-dev: the type 0x04 and
/// the key ID of a cosigner are derived. Do not also sign notes with the same key.
#[derive(Debug, Clone)]
pub struct CosigningKey {
    key: SigningKey,
    verifier: VerifierKey,
}

impl From<SigningKey> for CosigningKey {
    fn from(key: SigningKey) -> Self {
        let verifier = key.verifier().with_algorithm(Algorithm::CosignatureV1);
        Self { key, verifier }
    }
}

impl CosigningKey {
    /// Public key that verifies the cosignatures.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Cosigns a checkpoint. `timestamp` is the current time in seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    ///
    /// Returns an error if the time is 0 or exceeds 2⁶³ − 1.
    pub fn sign(&self, checkpoint: &Checkpoint, timestamp: u64) -> Result<Signature, TimestampError> {
        if timestamp == 0 || timestamp > MAX_SIZE {
            return Err(TimestampError(timestamp));
        }
        let signature = self
            .key
            .sign_bytes(message(timestamp, &checkpoint.to_string()).as_bytes());
        let bytes = [timestamp.to_be_bytes().as_slice(), &signature].concat();
        Ok(Signature::new(&self.verifier, bytes))
    }
}

/// Reason why cosignatures were not added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// No cosignature is from a known witness, or a cosignature is invalid.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A cosignature has the time 0, so it does not state that the tree is the largest.
    #[error("a cosignature has no time")]
    NoTime,
    /// The note would exceed a limit.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// Adds the cosignatures of known witnesses to a checkpoint, and returns them. Signatures of unknown keys and
/// plain signatures are ignored. Of the cosignatures of one witness, the checkpoint keeps the one with the
/// latest time.
///
/// # Errors
///
/// Returns an error if no cosignature is from a known witness, if a cosignature of a known witness is invalid
/// or has the time 0, or if the note would exceed a limit. In this case, the checkpoint is unchanged.
pub fn merge<'k>(
    checkpoint: &mut SignedCheckpoint,
    signatures: &[Signature],
    witnesses: impl IntoIterator<Item = &'k VerifierKey>,
) -> Result<Vec<Verified<'k>>, MergeError> {
    let witnesses: Vec<_> = witnesses
        .into_iter()
        .filter(|key| key.algorithm() == Algorithm::CosignatureV1)
        .collect();
    let (mut merged, mut all) = (checkpoint.clone(), Vec::new());
    for signature in signatures {
        let Some(verified) = signature.verify(merged.note().text(), &witnesses)? else {
            continue;
        };
        if verified.timestamp == Some(0) {
            return Err(MergeError::NoTime);
        }
        // An invalid cosignature in the checkpoint is replaced.
        let kept = merged.verify([verified.key]).ok();
        let kept = kept.and_then(|kept| kept.first()?.timestamp);
        if kept <= verified.timestamp {
            merged.add(signature.clone())?;
        }
        all.retain(|other: &Verified<'k>| other.key != verified.key);
        all.push(verified);
    }
    if all.is_empty() {
        return Err(VerifyError::Unsigned.into());
    }
    *checkpoint = merged;
    Ok(all)
}
