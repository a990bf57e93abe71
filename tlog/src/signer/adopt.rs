//! Replacing a lost state file.

use transparency::checkpoint::SignedCheckpoint;
use transparency::note::{VerifierKey, VerifyError};

use crate::error::TlogError;
use crate::published::PublishedLog;
use crate::signer::SignedLog;
use crate::state::{StateError, StateFile};

/// Reason why a checkpoint cannot become the state of a signer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The state file is not older than the checkpoint.
    #[error("the state file {} is not older than the checkpoint, so nothing has to be adopted", .0.display())]
    Current(std::path::PathBuf),
    /// A signer is running with the same state file.
    #[error("another process has locked the state file")]
    Locked,
    /// The checkpoint has another origin.
    #[error("the checkpoint has the origin {0}")]
    Origin(String),
    /// The key has not signed the checkpoint.
    #[error("the checkpoint is not signed with the key: {0}")]
    Signature(#[from] VerifyError),
    /// A larger checkpoint is in the database.
    #[error("the newest checkpoint in the database has the size {newest}, and the given one only {given}")]
    Older {
        /// Size of the newest checkpoint in the database.
        newest: u64,
        /// Size of the given checkpoint.
        given: u64,
    },
    /// The log has fewer events than the checkpoint.
    #[error("the checkpoint has the size {given}, but the log ends at {size}")]
    Shrunk {
        /// Size of the checkpoint.
        given: u64,
        /// Number of events in the log.
        size: u64,
    },
    /// The log has another root.
    #[error("the first {0} entries of the log have another root")]
    Rewritten(u64),
    /// The log or its checkpoints cannot be read.
    #[error(transparent)]
    Tlog(#[from] TlogError),
    /// The state file cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Writes the state file from a checkpoint that is signed with the key `verifier`, if the log extends the
/// checkpoint and the state file does not exist or is older. Reads every hash in the log up to the size of
/// the checkpoint. Returns this size.
///
/// # Errors
///
/// [`AdoptError`].
pub async fn adopt(
    log: &impl SignedLog,
    verifier: &VerifierKey,
    state: &StateFile,
    signed: &SignedCheckpoint,
) -> Result<u64, AdoptError> {
    let checkpoint = signed.checkpoint();
    let (origin, given) = (verifier.name(), checkpoint.size());
    if checkpoint.origin() != origin {
        return Err(AdoptError::Origin(checkpoint.origin().to_owned()));
    }
    signed.verify([verifier])?;
    let locked = state.lock()?.ok_or(AdoptError::Locked)?;
    if locked.read(origin)?.is_some_and(|state| state.size() >= given) {
        return Err(AdoptError::Current(locked.path().to_owned()));
    }
    let published = PublishedLog::of(log.database(), origin.to_owned(), log.tables());
    let newest = published.checkpoints().newest().await?;
    if let Some(newest) = newest.filter(|newest| newest.size > given) {
        let newest = newest.size;
        return Err(AdoptError::Older { newest, given });
    }
    let size = log.size().await.map_err(TlogError::from)?;
    if given > size {
        return Err(AdoptError::Shrunk { given, size });
    }
    if published.tiles().root_of_entries(given).await? != checkpoint.root() {
        return Err(AdoptError::Rewritten(given));
    }
    locked.write(checkpoint)?;
    Ok(given)
}
