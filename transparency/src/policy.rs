//! Which checkpoints a verifier trusts.

#[cfg(test)]
mod tests;

use crate::checkpoint::SignedCheckpoint;
use crate::note::{Algorithm, Verified, VerifierKey, VerifyError};

/// Reason why a policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPolicy {
    /// No key of the log.
    #[error("a policy needs at least one key of the log")]
    NoLogKey,
    /// A witness with a key that does not make cosignatures.
    #[error("{0} is not the key of a witness: its signature type is not 0x04")]
    NotAWitness(String),
    /// Two keys with the same public key. One party could count twice.
    #[error("{0} has the public key of another key of the policy")]
    Duplicate(String),
    /// A quorum that the witnesses cannot reach.
    #[error("a quorum of {quorum} cannot be reached with {witnesses} witnesses")]
    Quorum {
        /// Required number of witnesses.
        quorum: usize,
        /// Number of witnesses with different names.
        witnesses: usize,
    },
}

/// Reason why a checkpoint is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Untrusted {
    /// The checkpoint is from another log.
    #[error("the checkpoint is from another log")]
    Origin,
    /// A known signature is invalid, or no signature is from a known key.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// No signature is from a key of the log.
    #[error("the log has not signed the checkpoint")]
    Log,
    /// Too few witnesses have cosigned.
    #[error("{cosigned} of {quorum} required witnesses have cosigned")]
    Quorum {
        /// Number of witnesses that have cosigned.
        cosigned: usize,
        /// Required number of witnesses.
        quorum: usize,
    },
}

/// A log, its keys, its witnesses, and the number of witnesses that must have cosigned.
///
/// Witnesses are counted by name, so a witness with an old and a new key counts once.
#[derive(Debug, Clone)]
pub struct Policy {
    origin: String,
    log: Vec<VerifierKey>,
    witnesses: Vec<VerifierKey>,
    quorum: usize,
}

impl Policy {
    /// Makes a policy. With a quorum of 0, the signature of the log is sufficient.
    ///
    /// # Errors
    ///
    /// Returns an error if no log key is given, if two keys have the same public key, if a witness has a key
    /// of another type than [`Algorithm::CosignatureV1`], or if the quorum cannot be reached.
    pub fn new(
        origin: impl Into<String>,
        log: Vec<VerifierKey>,
        witnesses: Vec<VerifierKey>,
        quorum: usize,
    ) -> Result<Self, InvalidPolicy> {
        if log.is_empty() {
            return Err(InvalidPolicy::NoLogKey);
        }
        if let Some(key) = witnesses
            .iter()
            .find(|key| key.algorithm() != Algorithm::CosignatureV1)
        {
            return Err(InvalidPolicy::NotAWitness(key.to_string()));
        }
        let mut seen = Vec::new();
        for key in log.iter().chain(&witnesses) {
            if seen.contains(&key.public_key()) {
                return Err(InvalidPolicy::Duplicate(key.to_string()));
            }
            seen.push(key.public_key());
        }
        let count = names(witnesses.iter()).len();
        if quorum > count {
            return Err(InvalidPolicy::Quorum {
                quorum,
                witnesses: count,
            });
        }
        Ok(Self {
            origin: origin.into(),
            log,
            witnesses,
            quorum,
        })
    }

    /// Returns the default quorum: more than half of the witnesses, or 0 without witnesses. Witnesses are
    /// counted by name.
    #[must_use]
    pub fn majority<'k>(witnesses: impl IntoIterator<Item = &'k VerifierKey>) -> usize {
        match names(witnesses.into_iter()).len() {
            0 => 0,
            count => count / 2 + 1,
        }
    }

    /// Origin of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Keys of the log.
    #[must_use]
    pub fn log(&self) -> &[VerifierKey] {
        &self.log
    }

    /// Keys of the witnesses.
    #[must_use]
    pub fn witnesses(&self) -> &[VerifierKey] {
        &self.witnesses
    }

    /// Number of witnesses that must have cosigned.
    #[must_use]
    pub const fn quorum(&self) -> usize {
        self.quorum
    }

    /// Checks that the log has signed the checkpoint and that enough witnesses have cosigned it. Returns the
    /// verified signatures, each with its time if it is a cosignature.
    ///
    /// # Errors
    ///
    /// Returns an error if the checkpoint is from another log, if a signature of a known key is invalid, if
    /// the log has not signed, or if the quorum is not reached.
    pub fn check(&self, checkpoint: &SignedCheckpoint) -> Result<Vec<Verified<'_>>, Untrusted> {
        if checkpoint.checkpoint().origin() != self.origin {
            return Err(Untrusted::Origin);
        }
        let verified = checkpoint.verify(self.log.iter().chain(&self.witnesses))?;
        if !verified.iter().any(|signature| self.log.contains(signature.key)) {
            return Err(Untrusted::Log);
        }
        let cosigners = verified.iter().map(|signature| signature.key);
        let cosigned = names(cosigners.filter(|key| self.witnesses.contains(key))).len();
        if cosigned < self.quorum {
            return Err(Untrusted::Quorum {
                cosigned,
                quorum: self.quorum,
            });
        }
        Ok(verified)
    }
}

/// Returns the different names of keys.
fn names<'k>(keys: impl Iterator<Item = &'k VerifierKey>) -> std::collections::BTreeSet<&'k str> {
    keys.map(VerifierKey::name).collect()
}
