//! Requests and responses of `add-checkpoint`.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::note::{MAX_NOTE_LEN, Signature};
use crate::tree::MAX_PROOF_LEN;
use crate::{Hash, proof, text};

/// Maximum length of a request body in bytes: 63 proof lines, the checkpoint, and the other lines.
pub const MAX_REQUEST_LEN: usize = MAX_NOTE_LEN + 4096;

/// Content type of a response with status 409.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// Reason why bytes are not a request. The witness responds with status 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// More than [`MAX_REQUEST_LEN`] bytes.
    #[error("the request is longer than {MAX_REQUEST_LEN} bytes")]
    TooLong,
    /// Not UTF-8, or without the empty line before the checkpoint.
    #[error("the request is not an old size, a proof, an empty line and a checkpoint")]
    Structure,
    /// The first line is not `old` and a size of at most 2⁶³ − 1.
    #[error("the old size is malformed")]
    OldSize,
    /// A proof line is not a hash, or the proof has more than 63 lines.
    #[error("the proof is malformed or has more than {MAX_PROOF_LEN} hashes")]
    Proof,
    /// The checkpoint is malformed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Request to cosign a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    old_size: u64,
    proof: Vec<Hash>,
    checkpoint: SignedCheckpoint,
}

impl AddCheckpoint {
    /// Makes a request. `old_size` is the size of the checkpoint that the witness has cosigned last, or 0,
    /// and `proof` is the consistency proof from that size:
    /// [`Plan::consistency`](crate::tree::Plan::consistency).
    #[must_use]
    pub const fn new(old_size: u64, proof: Vec<Hash>, checkpoint: SignedCheckpoint) -> Self {
        Self {
            old_size,
            proof,
            checkpoint,
        }
    }

    /// Size of the tree from which the proof leads to the checkpoint.
    #[must_use]
    pub const fn old_size(&self) -> u64 {
        self.old_size
    }

    /// Hashes of the consistency proof.
    #[must_use]
    pub fn proof(&self) -> &[Hash] {
        &self.proof
    }

    /// The checkpoint to cosign.
    #[must_use]
    pub const fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Parses the body of a request. The text form of the result is equal to `body`.
    ///
    /// # Errors
    ///
    /// Returns an error if the body is malformed or exceeds a limit.
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        if body.len() > MAX_REQUEST_LEN {
            return Err(RequestError::TooLong);
        }
        let body = std::str::from_utf8(body).map_err(|_| RequestError::Structure)?;
        let (head, checkpoint) = body.split_once("\n\n").ok_or(RequestError::Structure)?;
        let mut lines = head.split('\n');
        let old_size = lines.next().and_then(|line| line.strip_prefix("old "));
        let old_size = old_size.and_then(text::decimal).ok_or(RequestError::OldSize)?;
        let proof = proof::path(lines).ok_or(RequestError::Proof)?;
        Ok(Self::new(
            old_size,
            proof,
            SignedCheckpoint::parse(checkpoint.as_bytes())?,
        ))
    }
}

impl FromStr for AddCheckpoint {
    type Err = RequestError;

    fn from_str(body: &str) -> Result<Self, RequestError> {
        Self::parse(body.as_bytes())
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Reason why a response cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The protocol does not define the status.
    #[error("the witness responded with the status {0}")]
    Status(u16),
    /// The body is malformed, too long, or has the wrong content type.
    #[error("the body of the response with the status {0} is malformed")]
    Body(u16),
}

/// Response of a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// 200: the witness has cosigned. The cosignatures are not verified. To verify and add them, use
    /// [`cosignature::merge`](crate::cosignature::merge).
    Cosigned(Vec<Signature>),
    /// 400: the request is malformed, or its old size exceeds the size of the checkpoint.
    BadRequest,
    /// 403: the checkpoint has no valid signature of the log, or an invalid one.
    Forbidden,
    /// 404: the witness does not know the origin.
    NotFound,
    /// 409: the witness has cosigned another size last. Send a proof from that size.
    Conflict {
        /// Size of the latest cosigned checkpoint.
        size: u64,
    },
    /// 422: the checkpoint is inconsistent with the latest cosigned checkpoint.
    Unprocessable,
}

impl Response {
    /// HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Cosigned(_) => 200,
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict { .. } => 409,
            Self::Unprocessable => 422,
        }
    }

    /// Value of the header `Content-Type`.
    #[must_use]
    pub const fn content_type(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => SIZE_TYPE,
            _ => "text/plain; charset=utf-8",
        }
    }

    /// Body: signature lines, a size, or nothing.
    #[must_use]
    pub fn body(&self) -> String {
        match self {
            Self::Cosigned(signatures) => {
                let lines = signatures.iter().map(Signature::to_string);
                lines.flat_map(|line| [line, "\n".to_owned()]).collect()
            }
            Self::Conflict { size } => format!("{size}\n"),
            _ => String::new(),
        }
    }

    /// Parses a response. Bodies of 400, 403, 404 and 422 are ignored. The caller must limit the length of
    /// the body that it reads: [`MAX_NOTE_LEN`] is enough.
    ///
    /// # Errors
    ///
    /// Returns an error for any other status, and for a malformed body.
    pub fn parse(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<Self, ResponseError> {
        let text = std::str::from_utf8(body).map_err(|_| ResponseError::Body(status));
        match status {
            200 => Signature::parse_lines(text?)
                .map(Self::Cosigned)
                .map_err(|_| ResponseError::Body(status)),
            400 => Ok(Self::BadRequest),
            403 => Ok(Self::Forbidden),
            404 => Ok(Self::NotFound),
            409 => {
                let media_type = content_type
                    .and_then(|value| value.split(';').next())
                    .map(str::trim);
                let size = text?.strip_suffix('\n').and_then(text::decimal);
                match (media_type, size) {
                    (Some(found), Some(size)) if found.eq_ignore_ascii_case(SIZE_TYPE) => {
                        Ok(Self::Conflict { size })
                    }
                    _ => Err(ResponseError::Body(status)),
                }
            }
            422 => Ok(Self::Unprocessable),
            other => Err(ResponseError::Status(other)),
        }
    }
}
