//! Finding out what a witness knows of a log, without a new checkpoint.
//!
//! The protocol has only the request `add-checkpoint`. A probe sends a published checkpoint, with the size of
//! this checkpoint as the old size, and with an empty proof. If this is the checkpoint that the witness has
//! cosigned last, the witness cosigns it again. Otherwise, the witness rejects the request, and nothing
//! changes.

use reqwest::Client;
use transparency::cosignature::{self, MergeError};
use transparency::witness::{AddCheckpoint, Response};

use super::{SendError, WitnessAddress};
use crate::checkpoints::{SignedCheckpoints, StoredCheckpoint};
use crate::error::TlogError;

/// Maximum number of requests of a probe. While a probe runs, the witness can cosign newer checkpoints.
const REQUESTS: usize = 4;

/// State of a witness that knows the log, or that cannot know it yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// The witness has cosigned a checkpoint again, and its cosignature is valid.
    Cosigned {
        /// Size of the checkpoint, which is the largest that the witness has cosigned.
        size: u64,
        /// Time of the cosignature, in seconds since 1970-01-01 UTC.
        time: u64,
        /// The newest checkpoint of the log.
        newest: StoredCheckpoint,
    },
    /// The witness knows the log, and states that it has cosigned nothing.
    Nothing,
    /// The witness states that it has cosigned this size. The checkpoint of this size is not stored, so the
    /// cosignature was not verified.
    NotStored {
        /// Size that the witness states.
        size: u64,
    },
    /// The witness answers. The log has no checkpoint, so nothing else is known.
    NoCheckpoint,
}

/// Reason why a witness cannot cosign the checkpoints of a log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The witness has not answered.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The witness does not know the origin.
    #[error("the witness does not know the log {0}")]
    Unknown(String),
    /// The witness does not know the key that has signed the checkpoint.
    #[error("the witness does not know the key that has signed the checkpoint of {0} events")]
    Key(u64),
    /// The witness rejects a valid request, or accepts an invalid request.
    #[error("the witness has answered with the unexpected status {0}")]
    Status(u16),
    /// The cosignature is not valid for the key of the witness.
    #[error("the response has no valid cosignature of the key: {0}")]
    Cosignature(#[from] MergeError),
    /// The witness has cosigned another root of the same size.
    #[error(
        "the witness has cosigned another checkpoint of {0} events: the log was rewritten, or its key has signed \
         another log"
    )]
    Inconsistent(u64),
    /// The witness states that it has cosigned a larger checkpoint.
    #[error("the witness states that it has cosigned {known} events, but the newest checkpoint has {newest}")]
    Ahead {
        /// Size that the witness states.
        known: u64,
        /// Size of the newest checkpoint.
        newest: u64,
    },
    /// The witness has stated another size after each request.
    #[error("the witness has stated another size after each request")]
    Unsettled,
    /// The checkpoints cannot be read.
    #[error(transparent)]
    Tlog(#[from] TlogError),
}

impl WitnessAddress {
    /// Finds out what the witness knows of the log with these checkpoints. Sends published checkpoints only,
    /// and stores nothing. The witness cosigns no checkpoint that it has not cosigned before.
    ///
    /// # Errors
    ///
    /// [`ProbeError`].
    pub async fn probe(&self, client: &Client, checkpoints: &SignedCheckpoints) -> Result<Probe, ProbeError> {
        let Some(mut newest) = checkpoints.newest().await? else {
            // An empty request is malformed.
            return match self.send(client, String::new()).await? {
                Response::BadRequest => Ok(Probe::NoCheckpoint),
                other => Err(ProbeError::Status(other.status())),
            };
        };
        let mut asked = newest.clone();
        for _ in 0..REQUESTS {
            let (size, mut signed) = (asked.size, asked.parse()?);
            let request = AddCheckpoint::new(size, Vec::new(), signed.clone());
            let known = match self.send(client, request.to_string()).await? {
                Response::Cosigned(signatures) => {
                    let own = self.own(signatures);
                    let merged = cosignature::merge(&mut signed, &own, [&self.key])?;
                    let time = merged.iter().find_map(|cosignature| cosignature.timestamp);
                    let time = time.ok_or(MergeError::NoTime)?;
                    return Ok(Probe::Cosigned { size, time, newest });
                }
                Response::Conflict { size: 0 } => return Ok(Probe::Nothing),
                // Older witnesses answer in this way to another root of the same size.
                Response::Conflict { size: known } if known == size => {
                    return Err(ProbeError::Inconsistent(size));
                }
                Response::Conflict { size: known } => known,
                Response::Unprocessable => return Err(ProbeError::Inconsistent(size)),
                Response::NotFound => return Err(ProbeError::Unknown(checkpoints.origin().to_owned())),
                Response::Forbidden => return Err(ProbeError::Key(size)),
                rejected @ Response::BadRequest => return Err(ProbeError::Status(rejected.status())),
            };
            if known > newest.size {
                newest = checkpoints.newest().await?.unwrap_or(newest);
            }
            if known > newest.size {
                let newest = newest.size;
                return Err(ProbeError::Ahead { known, newest });
            }
            asked = match checkpoints.of_size(known).await? {
                Some(stored) => stored,
                None => return Ok(Probe::NotStored { size: known }),
            };
        }
        Err(ProbeError::Unsettled)
    }
}
