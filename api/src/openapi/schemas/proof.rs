//! Schemas of proofs.

use utoipa::ToSchema;

use super::Event;

/// A proof that the log contains an event (format `event-log-proof-1`).
#[derive(ToSchema)]
pub(crate) struct InclusionProof {
    #[schema(example = "event-log-proof-1")]
    format: String,
    tree: Tree,
    inclusion: Inclusion,
}

/// The log, identified by its Merkle tree (RFC 9162).
#[derive(ToSchema)]
pub(crate) struct Tree {
    /// Number of events, which is the position of the last event.
    #[schema(minimum = 1, example = 16)]
    size: i64,
    /// Root of the Merkle tree over all events, in hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    root: String,
}

/// An event, and the path from the event to the root.
#[derive(ToSchema)]
pub(crate) struct Inclusion {
    event: Event,
    /// Hash of the chain before the event, in hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    previous_hash: String,
    /// Sibling hashes from the event's leaf to the root, in hexadecimal.
    path: Vec<String>,
}
