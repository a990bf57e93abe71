//! The witnesses of a log: their addresses, and the requests for cosignatures.

mod probe;
mod round;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use eventstore::Clock;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use tokio::sync::watch;
use transparency::note::{Algorithm, KeyError, MAX_NOTE_LEN, Signature, VerifierKey};
use transparency::policy::{InvalidPolicy, Policy};
use transparency::tree::Plan;
use transparency::witness::{AddCheckpoint, Response, ResponseError};

use crate::checkpoints::CosignError;
use crate::error::TlogError;
use crate::http::{self, HttpError};
use crate::metrics::MeteredLog;
use crate::published::PublishedLog;

pub use probe::{Probe, ProbeError};
use round::Rounds;

/// First and longest pause after a request. The first pause also follows a successful request.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// Maximum number of requests of one attempt. A witness rejects the first request if this process does not
/// know what the witness has cosigned, and the second request if another process asks the witness at the same
/// time.
const REQUESTS: usize = 3;
/// Interval at which a witness cosigns the newest checkpoint again while the log does not grow. The times of
/// the cosignatures show monitors that the checkpoint is still the newest.
const REFRESH: Duration = Duration::from_mins(5);

/// Reason why a text does not name a witness.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The text does not have the form `KEY=URL`.
    #[error("expected the verifier key of a witness, = and its URL, such as name+hash+key=https://host/path")]
    Form,
    /// The key is malformed.
    #[error("the verifier key of the witness: {0}")]
    Key(#[from] KeyError),
    /// The key is not the key of a witness.
    #[error("{0} is not the key of a witness: its signature type is not 0x04")]
    Algorithm(String),
    /// The URL cannot be used.
    #[error(
        "the URL of the witness {0}: expected http:// or https://, without credentials, query and fragment"
    )]
    Url(String),
}

/// A witness: its verifier key, and the URL below which it answers. Its text form is `KEY=URL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessAddress {
    key: VerifierKey,
    url: Url,
}

impl WitnessAddress {
    /// Verifier key of the witness.
    #[must_use]
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Sends the body of a request to `add-checkpoint`.
    async fn send(&self, client: &Client, body: String) -> Result<Response, SendError> {
        let url = http::below(&self.url, "add-checkpoint");
        let response = client.post(url).body(body).send().await;
        let response = response.map_err(HttpError::from)?;
        let status = response.status().as_u16();
        let media = response.headers().get(CONTENT_TYPE).cloned();
        let body = http::body(response, MAX_NOTE_LEN).await?;
        let media = media.as_ref().and_then(|value| value.to_str().ok());
        Ok(Response::parse(status, media, &body)?)
    }

    /// Returns the signatures that name the key of this witness.
    fn own(&self, signatures: Vec<Signature>) -> Vec<Signature> {
        let mut signatures = signatures;
        signatures.retain(|signature| signature.is_of(&self.key));
        signatures
    }
}

/// Reason why a witness has not answered a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The witness cannot be reached, or its response cannot be read.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The response is not one of the protocol.
    #[error(transparent)]
    Response(#[from] ResponseError),
}

impl FromStr for WitnessAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        // The encoding of a key of 33 bytes contains no `=`.
        let (key, url) = text.rsplit_once("=http").ok_or(AddressError::Form)?;
        let key: VerifierKey = key.parse()?;
        if key.algorithm() != Algorithm::CosignatureV1 {
            return Err(AddressError::Algorithm(key.to_string()));
        }
        let url = http::base_url(&format!("http{url}"));
        let url = url.ok_or_else(|| AddressError::Url(key.name().to_owned()))?;
        Ok(Self { key, url })
    }
}

impl fmt::Display for WitnessAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.url)
    }
}

/// The witnesses of a log.
#[derive(Debug, Clone)]
pub struct Witnesses {
    addresses: Vec<WitnessAddress>,
    policy: Arc<Policy>,
    client: Client,
}

impl Witnesses {
    /// Makes the list of the witnesses of the log with this key. A checkpoint has its quorum if `quorum`
    /// witnesses have cosigned it.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn new(
        log: &VerifierKey,
        addresses: Vec<WitnessAddress>,
        quorum: usize,
        client: Client,
    ) -> Result<Self, InvalidPolicy> {
        let keys = addresses.iter().map(|address| address.key.clone()).collect();
        let policy = Policy::new(log.name(), vec![log.clone()], keys, quorum)?;
        Ok(Self {
            addresses,
            policy: Arc::new(policy),
            client,
        })
    }

    /// Number of witnesses that must cosign a checkpoint.
    pub(crate) fn quorum(&self) -> usize {
        self.policy.quorum()
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns a task for each witness.
    pub(crate) fn cosigners(
        &self,
        published: &PublishedLog,
        clock: &Arc<dyn Clock>,
        metrics: MeteredLog,
    ) -> impl Iterator<Item = Cosigner> {
        let rounds = Rounds::default();
        self.addresses.iter().map(move |address| {
            metrics.witness(address.key.name());
            Cosigner {
                witness: address.clone(),
                policy: Arc::clone(&self.policy),
                client: self.client.clone(),
                published: published.clone(),
                clock: Arc::clone(clock),
                metrics,
                rounds: rounds.clone(),
                known: 0,
            }
        })
    }
}

/// Reason why a witness did not cosign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
enum AskError {
    /// The witness has not answered.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The witness rejects the request.
    #[error("the witness rejects the checkpoint with the status {0}")]
    Rejected(u16),
    /// The witness has cosigned a checkpoint that this checkpoint does not extend.
    #[error(
        "the witness has cosigned a checkpoint of {known} events that the checkpoint of {size} events does not \
         extend: the log was rewritten, or its key has signed another log"
    )]
    Inconsistent {
        /// Size that the witness has cosigned.
        known: u64,
        /// Size of the newest checkpoint.
        size: u64,
    },
    /// The witness states that it has cosigned a larger checkpoint.
    #[error(
        "the witness states that it has cosigned {known} events, but the newest checkpoint has {size}: another \
         process has signed a larger checkpoint, or the witness is wrong"
    )]
    Ahead {
        /// Size that the witness states.
        known: u64,
        /// Size of the newest checkpoint.
        size: u64,
    },
    /// The checkpoint was not cosigned, or the cosignature is invalid.
    #[error(transparent)]
    Cosign(#[from] CosignError),
}

impl From<TlogError> for AskError {
    fn from(error: TlogError) -> Self {
        Self::Cosign(error.into())
    }
}

impl AskError {
    /// Value of the label `outcome`.
    const fn outcome(&self) -> &'static str {
        match self {
            Self::Send(SendError::Http(_)) => "unreachable",
            Self::Send(SendError::Response(_)) | Self::Rejected(_) => "rejected",
            Self::Inconsistent { .. } => "inconsistent",
            Self::Ahead { .. } => "ahead",
            Self::Cosign(_) => "failed",
        }
    }
}

/// Asks one witness to cosign checkpoints. All witnesses of a log are asked for the same checkpoint until it
/// has its quorum.
pub(crate) struct Cosigner {
    witness: WitnessAddress,
    policy: Arc<Policy>,
    client: Client,
    published: PublishedLog,
    clock: Arc<dyn Clock>,
    metrics: MeteredLog,
    /// The checkpoint that all witnesses are asked to cosign.
    rounds: Rounds,
    /// Size of the last checkpoint that the witness has cosigned for this process.
    known: u64,
}

impl Cosigner {
    /// Asks the witness in each round. `newest` has the size of the newest checkpoint. While it is `None`,
    /// another process signs. Failed requests are repeated.
    pub(crate) async fn follow(mut self, mut newest: watch::Receiver<Option<u64>>) {
        let name = self.witness.key.name().to_owned();
        let (mut pause, longest) = PAUSES;
        let mut cosigned: Option<(u64, Duration)> = None;
        let mut not_before = Duration::ZERO;
        let mut reported = None;
        let mut round = self.rounds.changes();
        loop {
            let now = self.clock.monotonic();
            round.mark_unchanged();
            let size = *newest.borrow_and_update();
            let due = size.map(|size| {
                let (wanted, ends) = self.rounds.wanted(size, now);
                let due = match cosigned {
                    Some((last, at)) if last >= wanted => {
                        let refresh = at + REFRESH;
                        ends.map_or(refresh, |ends| ends.min(refresh))
                    }
                    _ => now,
                };
                due.max(not_before)
            });
            let wait = due.map(|due| due.saturating_sub(now));
            if wait != Some(Duration::ZERO) {
                let elapsed = async {
                    match wait {
                        Some(wait) => tokio::time::sleep(wait).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    changed = newest.changed() => {
                        if changed.is_err() {
                            return;
                        }
                    }
                    () = round.changed() => {}
                    () = elapsed => {}
                }
                continue;
            }
            let wanted = self.rounds.join(size.unwrap_or_default(), now);
            match self.ask(wanted).await {
                Ok((size, has_quorum)) => {
                    if has_quorum {
                        self.rounds.end(size);
                    }
                    let time = self.clock.now().as_micros() / 1_000_000;
                    self.metrics.cosigned(&name, size, time);
                    if reported.take().is_some() {
                        tracing::info!(witness = name, "the witness cosigns checkpoints again");
                    }
                    cosigned = Some((size, self.clock.monotonic()));
                    pause = PAUSES.0;
                    not_before = self.clock.monotonic() + pause;
                }
                Err(error) => {
                    self.metrics.not_cosigned(&name, error.outcome());
                    let is_fork = matches!(error, AskError::Inconsistent { .. });
                    let error = error.to_string();
                    // The same error is logged only once.
                    if reported.as_ref() != Some(&error) {
                        if is_fork {
                            tracing::error!(witness = name, error, "the witness refuses the checkpoint");
                        } else {
                            tracing::warn!(
                                witness = name,
                                error,
                                "the witness has not cosigned the checkpoint"
                            );
                        }
                        reported = Some(error);
                    }
                    not_before = self.clock.monotonic() + pause;
                    pause = (pause * 2).min(longest);
                }
            }
        }
    }

    /// Asks the witness to cosign the checkpoint of the size `wanted`, and stores its cosignature. If the
    /// witness has cosigned a larger checkpoint, asks for the newest checkpoint. Returns the cosigned size,
    /// and whether this checkpoint has its quorum.
    async fn ask(&mut self, wanted: u64) -> Result<(u64, bool), AskError> {
        let checkpoints = self.published.checkpoints();
        // What a witness states without a cosignature is believed only for this attempt.
        let mut known = self.known;
        for _ in 0..REQUESTS {
            let offered = if known > wanted {
                checkpoints.newest().await?
            } else {
                checkpoints.of_size(wanted).await?
            };
            let offered = offered.ok_or(CosignError::Removed(wanted))?;
            let (size, signed) = (offered.size, offered.parse()?);
            let plan = Plan::consistency(known, size).ok_or(AskError::Ahead { known, size })?;
            let proof = self.published.tiles().hashes(&plan).await?;
            let request = AddCheckpoint::new(known, proof, signed);
            match self.witness.send(&self.client, request.to_string()).await? {
                Response::Cosigned(signatures) => {
                    // Only the cosignature of this witness is stored, whatever else it returns.
                    let own = self.witness.own(signatures);
                    let now = self.clock.now();
                    let has_quorum = checkpoints.cosign(size, &own, &self.policy, now).await?;
                    if has_quorum {
                        self.metrics.quorum(size);
                    }
                    self.known = size;
                    return Ok((size, has_quorum));
                }
                // Witnesses of version 1.0.0 of the protocol answer in this way to another root.
                Response::Conflict { size: stated } if stated == known => {
                    return Err(AskError::Inconsistent { known, size });
                }
                Response::Conflict { size: stated } => known = stated,
                Response::Unprocessable => return Err(AskError::Inconsistent { known, size }),
                other => return Err(AskError::Rejected(other.status())),
            }
        }
        Err(AskError::Rejected(Response::Conflict { size: known }.status()))
    }
}

#[cfg(test)]
mod tests;
