//! The event in a proof: the extra data of a tlog-proof.

use eventstore::{EventLog, Hash, Position, RecordedEvent, chain};
use serde::{Deserialize, Serialize};
use transparency::Hash as TreeHash;
use transparency::proof::TlogProof;

use crate::error::TlogError;
use crate::published::{NoProof, PublishedLog};

/// An event as stored, with the hash before it. A tlog-proof proves only the hash of an event. With this
/// extra data, the hash can be computed from the event. Its text form is JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvedEvent {
    /// The event.
    pub event: RecordedEvent,
    /// Hash of the event before it; zeros for the first event.
    pub previous_hash: Hash,
}

/// Reason why extra data does not belong to a proof.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvedEventError {
    /// The extra data is not an event.
    #[error("the extra data is not an event with the hash before it: {0}")]
    Json(#[from] serde_json::Error),
    /// The hash of the event does not match its columns.
    #[error("the columns of the event do not match its hash")]
    Hash,
    /// The proof is for another position.
    #[error("the proof is for another position than that of the event")]
    Position,
    /// A value of the event cannot be hashed.
    #[error(transparent)]
    Event(#[from] eventstore::Error),
}

impl ProvedEvent {
    /// Reads and checks the event in the extra data of a proof. Returns `None` without extra data. The event
    /// is proved only if the proof is valid for its [leaf](Self::leaf).
    ///
    /// # Errors
    ///
    /// [`ProvedEventError`].
    pub fn of(proof: &TlogProof) -> Result<Option<Self>, ProvedEventError> {
        let Some(extra) = proof.extra().filter(|_| stated_hash(proof).is_none()) else {
            return Ok(None);
        };
        let proved: Self = serde_json::from_slice(extra)?;
        if !chain::follows(&proved.previous_hash, &proved.event)? {
            return Err(ProvedEventError::Hash);
        }
        if proved.event.position.get().checked_sub(1) != Some(proof.index()) {
            return Err(ProvedEventError::Position);
        }
        Ok(Some(proved))
    }

    /// Leaf hash of the event.
    #[must_use]
    pub fn leaf(&self) -> TreeHash {
        TreeHash::leaf(&self.event.hash.0)
    }
}

/// The extra data of a receipt: the hash of the event, without the event.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedHash {
    hash: Hash,
}

/// Returns the hash of the event that a receipt states. Nothing in the file authenticates that this is the
/// hash of a certain event.
#[must_use]
pub fn stated_hash(proof: &TlogProof) -> Option<Hash> {
    let stated: StatedHash = serde_json::from_slice(proof.extra()?).ok()?;
    Some(stated.hash)
}

impl PublishedLog {
    /// Proves the event at a position, and adds its hash as extra data: see [`stated_hash`].
    ///
    /// # Errors
    ///
    /// [`NoProof`].
    pub async fn prove_hash(&self, log: &EventLog, position: Position) -> Result<TlogProof, NoProof> {
        let proof = self.prove(position).await?;
        let events = log.at(&[position]).await.map_err(TlogError::from)?;
        let hash = events.first().map(|event| event.hash);
        let hash = hash.ok_or(TlogError::Size(position.get()))?;
        let extra = serde_json::to_vec(&StatedHash { hash }).map_err(|_| NoProof::TooLong(position))?;
        proof.with_extra(extra).map_err(|_| NoProof::TooLong(position))
    }

    /// Proves the event at a position, and adds it as extra data: see [`ProvedEvent`].
    ///
    /// # Errors
    ///
    /// [`NoProof`].
    pub async fn prove_event(&self, log: &EventLog, position: Position) -> Result<TlogProof, NoProof> {
        let proof = self.prove(position).await?;
        let before = Position::new(proof.index()).ok_or(TlogError::Size(proof.index()))?;
        let mut events = log.at(&[before, position]).await.map_err(TlogError::from)?;
        let event = events.pop().filter(|event| event.position == position);
        let previous = events.pop().map(|event| event.hash);
        let (Some(event), Some(previous_hash)) = (
            event,
            previous.or((before == Position::BEGINNING).then(Hash::default)),
        ) else {
            return Err(TlogError::Size(position.get()).into());
        };
        let proved = ProvedEvent { event, previous_hash };
        let extra = serde_json::to_vec(&proved).map_err(|_| NoProof::TooLong(position))?;
        proof.with_extra(extra).map_err(|_| NoProof::TooLong(position))
    }
}
