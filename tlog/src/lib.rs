//! The transparency log over the event log: what an outside verifier reads, in the formats of
//! [`transparency`].
//!
//! Entry `n` is the 32-byte `hash` of the event at position `n + 1`. The leaves of the tree are therefore the
//! leaves of [`eventstore::merkle`].
//!
//! # What is stored
//!
//! - Entries and the tiles of level 0 are computed from the table `events`: at most 256 hashes, which one
//!   range of the primary key contains.
//! - The table `log_tiles` has the tiles of the higher levels, one row for each tile. A row grows until its
//!   tile is full ([`Tiles::extend`]).
//! - The table `log_checkpoints` has every signed checkpoint ([`SignedCheckpoints`]).
//!
//! A root or a proof is computed from at most one tile of each level, and extending the tiles reads only new
//! events. The work therefore grows with the number of new events and the logarithm of the size of the log.
//!
//! The tiles are derived: after `DELETE FROM log_tiles`, the next extension computes all tiles again.
//!
//! # Signing
//!
//! [`Signer`] signs a checkpoint when the log has moved. It must never sign two roots of one size:
//!
//! - A lease makes one process the signer, and a lock makes one process of a machine use the state file.
//! - The state file beside the key has the last checkpoint that may have been signed. It is durable before
//!   the checkpoint is signed. A restored database does not bring an older state back.
//! - Before a checkpoint is signed, the roots at the size of the state and at the size of the newest stored
//!   checkpoint are computed again. If one differs, or if the log is shorter, nothing is signed until an
//!   operator has solved the problem.
//!
//! The tables belong to the crate `migrations`. This crate does not interpret events.

mod checkpoints;
mod error;
mod extend;
mod key_file;
pub mod metrics;
mod published;
mod signer;
mod state;
mod tiles;

pub use checkpoints::{SignedCheckpoints, StoredCheckpoint};
pub use error::TlogError;
pub use extend::PAGE;
pub use key_file::{KeyFile, KeyFileError};
pub use published::{NoProof, PublishedLog};
pub use signer::{AdoptError, Outcome, SignError, Signer, adopt};
pub use state::{LockedState, StateError, StateFile};
pub use tiles::Tiles;
