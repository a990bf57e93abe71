//! The protocol between logs and witnesses: the call `add-checkpoint`.
//!
//! Source: [c2sp.org/tlog-witness](https://c2sp.org/tlog-witness), version 1.0.0 and the later changes up to
//! commit `95978ca` of C2SP/C2SP. The optional call `sign-subtree` is not supported.
//!
//! A log sends [`AddCheckpoint`] to `POST <prefix>/add-checkpoint`, and reads the [`Response`]. A [`Witness`]
//! answers such requests. [`decide`] has the rules without any effects.

mod message;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::Hash;
use crate::checkpoint::SignedCheckpoint;
use crate::cosignature::{CosigningKey, TimestampError};
use crate::note::{Signature, VerifierKey, VerifyError};
use crate::tree::{ProofError, verify_consistency};

pub use message::{AddCheckpoint, MAX_REQUEST_LEN, RequestError, Response, ResponseError, SIZE_TYPE};

/// The largest tree of a log that a witness has cosigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latest {
    /// Number of leaves.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
    /// Time of the last cosignature in seconds since 1970-01-01 UTC, or 0 if it is unknown.
    pub time: u64,
}

/// Time in seconds within which the same tree is cosigned again with the same time. Anyone can repeat a
/// request, so repeated requests must not each write the record.
pub const REPEAT: u64 = 60;

/// Maximum number of attempts to write the record while other processes change it.
const ATTEMPTS: usize = 3;

impl Latest {
    /// Time of a cosignature of this tree after `before`, by a clock that shows `now`. The time never goes
    /// back, because a cosignature states that this tree was the largest at that time.
    fn cosigned_at(self, before: Option<Self>, now: u64) -> Self {
        let last = before.map_or(0, |before| before.time);
        let is_repeated = before.is_some_and(|before| (before.size, before.root) == (self.size, self.root));
        let time = if is_repeated && now.saturating_sub(last) < REPEAT {
            last
        } else {
            now.max(last)
        };
        Self { time, ..self }
    }
}

/// Reason why a witness does not cosign a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The request is malformed: status 400.
    #[error(transparent)]
    Malformed(RequestError),
    /// The origin is not one of the witness's logs: status 404.
    #[error("the origin is unknown")]
    Unknown,
    /// The log has not signed the checkpoint, or a signature of the log is invalid: status 403.
    #[error("the checkpoint is not signed by the log: {0}")]
    Forbidden(VerifyError),
    /// The old size exceeds the size of the checkpoint: status 400.
    #[error("the old size exceeds the size of the checkpoint")]
    OldSize,
    /// The old size is not the size of the latest cosigned checkpoint: status 409.
    #[error("the latest cosigned checkpoint has {size} leaves")]
    Conflict {
        /// Size of the latest cosigned checkpoint.
        size: u64,
    },
    /// The checkpoint does not extend the latest cosigned checkpoint. With a valid signature of the log, this
    /// can be evidence of a fork: status 422.
    #[error("the checkpoint does not extend the latest cosigned checkpoint: {0}")]
    Inconsistent(ProofError),
}

/// Decides whether a witness cosigns a checkpoint, without any effect. Returns the tree to record before the
/// checkpoint is cosigned, with the time of the last cosignature.
///
/// `keys` are the keys of the log with the origin of the checkpoint, or `None` if the origin is unknown.
/// `latest` is the recorded state for this origin.
///
/// # Errors
///
/// Returns the first rule of the specification that the request violates.
pub fn decide(
    keys: Option<&[VerifierKey]>,
    latest: Option<Latest>,
    request: &AddCheckpoint,
) -> Result<Latest, Refusal> {
    let keys = keys.ok_or(Refusal::Unknown)?;
    request.checkpoint().verify(keys).map_err(Refusal::Forbidden)?;
    decide_signed(latest, request)
}

/// Decides about a checkpoint whose signature has been verified.
fn decide_signed(latest: Option<Latest>, request: &AddCheckpoint) -> Result<Latest, Refusal> {
    let checkpoint = request.checkpoint().checkpoint();
    let old = latest.unwrap_or(Latest {
        size: 0,
        root: Hash::EMPTY_ROOT,
        time: 0,
    });
    let new = Latest {
        size: checkpoint.size(),
        root: checkpoint.root(),
        time: old.time,
    };
    if request.old_size() > new.size {
        return Err(Refusal::OldSize);
    }
    if request.old_size() != old.size {
        return Err(Refusal::Conflict { size: old.size });
    }
    if new.size == 0 && new.root != Hash::EMPTY_ROOT {
        return Err(Refusal::Inconsistent(ProofError::Root));
    }
    if old.size > 0 {
        verify_consistency(request.proof(), old.size, &old.root, new.size, &new.root)
            .map_err(Refusal::Inconsistent)?;
    } else if !request.proof().is_empty() {
        return Err(Refusal::Inconsistent(ProofError::Length));
    }
    Ok(new)
}

/// Record of the largest tree that a witness has cosigned for each log.
pub trait Store {
    /// Error of reading or writing the record.
    type Error;

    /// Returns the largest cosigned tree of a log, or `None` before the first cosignature.
    ///
    /// # Errors
    ///
    /// Returns an error if the record cannot be read.
    fn latest(&mut self, origin: &str) -> Result<Option<Latest>, Self::Error>;

    /// Compares the record of a log with `old`. If they are equal, writes `new` and returns `true`.
    /// Otherwise, changes nothing and returns `false`. The comparison and the change are one atomic step.
    ///
    /// An implementation must flush `new` before it returns `true`, so that the record survives a crash of
    /// the process or of the machine. The witness returns its cosignature only after that.
    ///
    /// # Errors
    ///
    /// Returns an error if `new` may not be durable. The witness then returns no cosignature.
    fn replace(&mut self, origin: &str, old: Option<Latest>, new: Latest) -> Result<bool, Self::Error>;
}

/// Result of a request to a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The witness has cosigned the checkpoint.
    Cosigned {
        /// The cosignature.
        signature: Signature,
        /// The checkpoint with the verified signatures of the log and the cosignature. The witness publishes
        /// it at [`monitoring_path`].
        checkpoint: SignedCheckpoint,
        /// Time of the cosignature in seconds since 1970-01-01 UTC.
        timestamp: u64,
    },
    /// The witness has not cosigned the checkpoint.
    Refused(Refusal),
}

impl Answer {
    /// Returns the response to send.
    #[must_use]
    pub fn response(&self) -> Response {
        match self {
            Self::Cosigned { signature, .. } => Response::Cosigned(vec![signature.clone()]),
            Self::Refused(Refusal::Malformed(_) | Refusal::OldSize) => Response::BadRequest,
            Self::Refused(Refusal::Unknown) => Response::NotFound,
            Self::Refused(Refusal::Forbidden(_)) => Response::Forbidden,
            Self::Refused(Refusal::Conflict { size }) => Response::Conflict { size: *size },
            Self::Refused(Refusal::Inconsistent(_)) => Response::Unprocessable,
        }
    }
}

/// Reason why a witness could not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError<E> {
    /// The record could not be read or written.
    #[error("the record of cosigned checkpoints: {0}")]
    Store(E),
    /// The clock shows a time that cannot be signed.
    #[error(transparent)]
    Timestamp(#[from] TimestampError),
    /// The cosigned checkpoint would exceed the limits of a note.
    #[error("the checkpoint has no room for another signature")]
    NoRoom,
}

/// A request with a checkpoint that a known log has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    request: AddCheckpoint,
    signed: SignedCheckpoint,
}

impl Submission {
    /// The checkpoint with the signatures of the log, without other signatures.
    #[must_use]
    pub const fn checkpoint(&self) -> &SignedCheckpoint {
        &self.signed
    }
}

/// A witness: its key, and the keys of the logs that it knows.
#[derive(Debug, Clone)]
pub struct Witness {
    key: CosigningKey,
    logs: BTreeMap<String, Vec<VerifierKey>>,
}

impl Witness {
    /// Makes a witness of the logs with these origins and keys.
    #[must_use]
    pub const fn new(key: CosigningKey, logs: BTreeMap<String, Vec<VerifierKey>>) -> Self {
        Self { key, logs }
    }

    /// Public key of the witness.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// Parses the body of a request to `add-checkpoint`, and verifies the signature of the log. This step
    /// needs no record, so it can run without a lock.
    ///
    /// # Errors
    ///
    /// Returns the reason why the witness does not cosign the checkpoint.
    pub fn verify(&self, body: &[u8]) -> Result<Submission, Refusal> {
        let request = AddCheckpoint::parse(body).map_err(Refusal::Malformed)?;
        let submitted = request.checkpoint();
        let keys = self.logs.get(submitted.checkpoint().origin());
        let keys = keys.ok_or(Refusal::Unknown)?;
        submitted.verify(keys).map_err(Refusal::Forbidden)?;
        let mut signed = submitted.clone();
        signed.retain(keys);
        Ok(Submission { request, signed })
    }

    /// Answers the body of a request to `add-checkpoint`: [`Witness::verify`] and [`Witness::cosign`].
    ///
    /// # Errors
    ///
    /// [`WitnessError`]. In this case, no cosignature is returned.
    pub fn add_checkpoint<S: Store + ?Sized>(
        &self,
        store: &mut S,
        body: &[u8],
        timestamp: u64,
    ) -> Result<Answer, WitnessError<S::Error>> {
        match self.verify(body) {
            Ok(submission) => self.cosign(store, &submission, timestamp),
            Err(refusal) => Ok(Answer::Refused(refusal)),
        }
    }

    /// Answers a verified request. `now` is the current time in seconds since 1970-01-01 UTC. If it is before
    /// the time of the last cosignature, the new cosignature has the time of the last one. The new state is
    /// recorded before the cosignature is returned.
    ///
    /// # Errors
    ///
    /// Returns an error if the record cannot be read or written, or if the time cannot be signed. In this
    /// case, no cosignature is returned.
    pub fn cosign<S: Store + ?Sized>(
        &self,
        store: &mut S,
        submission: &Submission,
        now: u64,
    ) -> Result<Answer, WitnessError<S::Error>> {
        let Submission { request, signed } = submission;
        let origin = signed.checkpoint().origin();
        let mut size = 0;
        for _ in 0..ATTEMPTS {
            let latest = store.latest(origin).map_err(WitnessError::Store)?;
            let new = match decide_signed(latest, request) {
                Ok(new) => new.cosigned_at(latest, now),
                Err(refusal) => return Ok(Answer::Refused(refusal)),
            };
            let signature = self.key.sign(signed.checkpoint(), new.time)?;
            let mut checkpoint = signed.clone();
            checkpoint
                .add(signature.clone())
                .map_err(|_| WitnessError::NoRoom)?;
            // The cosignature is not returned before the record is durable.
            if store.replace(origin, latest, new).map_err(WitnessError::Store)? {
                return Ok(Answer::Cosigned {
                    signature,
                    checkpoint,
                    timestamp: new.time,
                });
            }
            // Another process has changed the record meanwhile.
            size = latest.map_or(0, |latest| latest.size);
        }
        Ok(Answer::Refused(Refusal::Conflict { size }))
    }
}

/// Returns the path below the monitoring prefix at which a witness publishes its latest cosigned checkpoint:
/// `<SHA-256 of the origin in lower-case hexadecimal digits>/checkpoint`.
#[must_use]
pub fn monitoring_path(origin: &str) -> String {
    let mut path = String::new();
    for byte in Hash::digest(&[origin.as_bytes()]).0 {
        // Writing to a string does not fail.
        let _ = write!(path, "{byte:02x}");
    }
    path + "/checkpoint"
}
